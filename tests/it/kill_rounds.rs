//! Real processes, killed and stopped at random moments, on a local disk; and disks that go away.
//!
//! `cargo xtask kills` runs thousands of rounds.

use std::process::{Command, Stdio};
use std::time::Duration;

use mantis_tests::rounds::Rounds;
use mantis_tests::{World, make_bank, wait_until};

fn rounds(seed: u64, count: u64) {
    let rounds = Rounds::new(World::empty(), seed, Vec::new(), Duration::from_millis(120));
    eprintln!("{count} rounds: {:?}", rounds.run(count));
}

#[test]
fn forty_commands_are_killed_or_stopped() {
    rounds(1, 40);
}

#[test]
#[ignore = "takes half an hour: cargo xtask kills"]
fn three_thousand_commands_are_killed_or_stopped() {
    let seed = std::env::var("MANTIS_ROUNDS_SEED").map_or(2, |seed| seed.parse().unwrap());
    rounds(seed, 3000);
}

/// A backup that takes seconds, once it has begun to write segments.
fn slow_backup(world: &World, errors: &str) -> std::process::Child {
    let errors = std::fs::File::create(world.path(errors)).unwrap();
    let slow = ["backup", "bank.db", "--limit-rate", "8MB/s", "--compression", "none"];
    let child = world.command(&slow).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
    wait_until("the first segment", || world.path("repo/seg").is_dir());
    child
}

fn big_world() -> World {
    let world = World::new();
    let bank = world.path("bank.db");
    make_bank(&bank, "delete", 4096);
    let db = rusqlite::Connection::open(bank).unwrap();
    db.execute_batch("create table big(b); with recursive n(i) as (select 0 union all select i + 1 from n where i < 300) insert into big select randomblob(100000) from n").unwrap();
    world
}

#[test]
fn a_repository_that_is_removed_underneath_fails_clearly() {
    let world = big_world();
    let mut child = slow_backup(&world, "errors");
    std::fs::rename(world.path("repo"), world.path("away")).unwrap();
    // However long the machine takes for it: nothing is told to be safe in a folder made anew.
    let status = child.wait().unwrap();
    let errors = std::fs::read_to_string(world.path("errors")).unwrap();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("help: ") && !errors.contains("panicked"), "{errors}");
    // What it could still do made no second repository in the place of the first.
    assert!(!world.path("repo/out").exists() && !world.path("repo/man").exists());
    let _ = std::fs::remove_dir_all(world.path("repo"));
    std::fs::rename(world.path("away"), world.path("repo")).unwrap();
    world.ok(&["backup", "bank.db"]);
    assert_eq!(world.ok(&["verify"])["checked"], 1);
}

/// In a mount name space of its own; needs the right to make one.
#[test]
fn a_disk_that_becomes_read_only_fails_clearly_and_is_used_again_when_it_is_not() {
    let world = big_world();
    let script = r#"
        set -e
        mkdir small; mount -t tmpfs -o size=200m tmpfs small
        export MANTIS_REPO=small/repo
        "$0" init >/dev/null
        touch begun
        "$0" backup bank.db --limit-rate 8MB/s --compression none 2>errors & backup=$!
        while ! [ -d small/repo/seg ]; do sleep 0.01; done
        until mount -o remount,ro small 2>/dev/null; do sleep 0.001; done
        if wait $backup; then exit 9; fi
        mount -o remount,rw small
        "$0" backup bank.db >/dev/null
        "$0" prune --grace 0s >/dev/null
        "$0" verify >/dev/null
        find small/repo/.tmp small/repo/sess -type f >left 2>/dev/null || true
        umount small"#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-c", script]).arg(mantis_tests::mantis());
    command.current_dir(world.folder.path()).env_remove("MANTIS_REPO");
    let output = command.output().unwrap();
    if !output.status.success() && !world.path("begun").exists() {
        eprintln!("skipped, no right to mount: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let errors = std::fs::read_to_string(world.path("errors")).unwrap();
    assert!(errors.contains("Read-only file system"), "{errors}");
    assert!(errors.contains("help: ") && !errors.contains("panicked"), "{errors}");
    assert_eq!(std::fs::read_to_string(world.path("left")).unwrap(), "");
}
