//! Backups that are stopped leave nothing behind, in the repository or beside the source.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mantis_tests::{World, make_bank, prove_bank};

fn big_bank(path: &Path) {
    make_bank(path, "delete", 4096);
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch("create table big(b blob); with recursive n(i) as (select 0 union all select i + 1 from n where i < 300) insert into big select randomblob(100000) from n").unwrap();
}

#[test]
fn a_timed_out_backup_leaves_nothing() {
    let world = World::new();
    big_bank(&world.path("bank.db"));
    let before = world.repository_files();
    let slow =
        ["backup", "bank.db", "--limit-rate", "20MB/s", "--compression", "none", "--timeout", "1s"];
    assert!(world.fails(&slow, 1).contains("help: "));
    assert_eq!(world.repository_files(), before);
    world.ok(&["backup", "bank.db"]);
}

#[test]
fn an_interrupted_backup_cleans_up_and_says_130() {
    for signal in ["INT", "TERM"] {
        let world = World::new();
        big_bank(&world.path("bank.db"));
        let before = world.repository_files();
        let slow = ["backup", "bank.db", "--limit-rate", "15MB/s", "--compression", "none"];
        let child =
            world.command(&slow).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1300));
        let kill = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(child.id().to_string())
            .status()
            .unwrap();
        assert!(kill.success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(world.repository_files(), before);
        let names: Vec<_> = std::fs::read_dir(world.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}

#[test]
fn a_killed_backup_harms_no_other() {
    let world = World::new();
    big_bank(&world.path("bank.db"));
    world.ok(&["backup", "bank.db"]);
    for wait in [200, 700, 1200, 1700] {
        let slow = ["backup", "bank.db", "--limit-rate", "8MB/s", "--compression", "none"];
        let mut child =
            world.command(&slow).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(world.ok(&["list"]).as_array().unwrap().len(), 1);
    world.ok(&["verify"]);
    world.ok(&["backup", "bank.db"]);
    world.ok(&["restore", "latest", "--to", "r.db", "--check"]);
    prove_bank(&world.path("r.db"));
}

/// A file system of a few megabytes, in a mount name space of its own; needs the right to make one.
#[test]
fn a_full_disk_fails_clearly_and_leaves_nothing() {
    let world = World::new();
    big_bank(&world.path("bank.db"));
    let script = r#"
        set -e
        mkdir small; mount -t tmpfs -o size=8m tmpfs small
        export MANTIS_REPO=small/repo
        "$0" init >/dev/null
        find small -type f | sort >before
        if "$0" backup bank.db --compression none 2>errors; then exit 9; fi
        find small -type f | sort >after
        umount small"#;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "bash", "-c", script])
        .arg(mantis_tests::mantis())
        .current_dir(world.folder.path());
    let output = command.env_remove("MANTIS_REPO").output().unwrap();
    if !output.status.success() && !world.path("before").exists() {
        eprintln!("skipped, no right to mount: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    assert_eq!(read("before"), read("after"));
    assert!(read("errors").contains("help: free some space"), "{}", read("errors"));
}

#[test]
fn a_killed_backup_is_gone_on_with() {
    let world = World::new();
    big_bank(&world.path("bank.db"));
    let slow = ["backup", "bank.db", "--limit-rate", "30MB/s", "--compression", "none"];
    let mut child =
        world.command(&slow).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    mantis_tests::wait_until("the first segment", || {
        world.repository_files().iter().any(|file| file.to_string_lossy().contains("/seg/"))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let backup = world.ok(&["backup", "bank.db", "--compression", "none"]);
    let (stored, whole) = (backup["bytes_stored"].as_u64(), backup["bytes"].as_u64());
    assert!(stored.unwrap() < whole.unwrap() * 3 / 4, "{backup}");
    world.ok(&["restore", "latest", "--to", "r.db", "--check"]);
    prove_bank(&world.path("r.db"));
    world.ok(&["prune", "--grace", "0s"]);
    world.ok(&["verify"]);
    world.ok(&["restore", "latest", "--to", "r.db", "--check", "--force"]);
}
