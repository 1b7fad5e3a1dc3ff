//! Restores in all their ways: over what is there, to standard output, on from where one was killed.

use std::process::Command;

use mantis_tests::{World, make_bank, mantis, prove_bank};
use serde_json::Value;

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// Two backups of a bank with a change in between.
fn two_backups() -> (World, Value, Value) {
    let world = World::new();
    make_bank(&world.path("bank.db"), "delete", 1024);
    let first = world.ok(&["backup", "bank.db"]);
    let db = rusqlite::Connection::open(world.path("bank.db")).unwrap();
    db.execute_batch("update account set balance = balance + 5 where id = 3; update account set balance = balance - 5 where id = 1900; create table blob(b); insert into blob values(zeroblob(50000));").unwrap();
    let second = world.ok(&["backup", "bank.db"]);
    (world, first, second)
}

fn same(world: &World, a: &str, b: &str) -> bool {
    std::fs::read(world.path(a)).unwrap() == std::fs::read(world.path(b)).unwrap()
}

#[test]
fn with_delta_only_what_differs_is_fetched() {
    let (world, first, second) = two_backups();
    world.ok(&["restore", &id(&first), "--to", "plain.db"]);
    let fetched = world.ok(&["restore", &id(&second), "--to", "r.db"]);
    let again = world.ok(&["restore", &id(&second), "--to", "r.db", "--delta", "--check"]);
    assert_eq!((&again["pages_reused"], &again["bytes_fetched"]), (&again["pages"], &0.into()));
    let back = world.ok(&["restore", &id(&first), "--to", "r.db", "--delta"]);
    assert!(back["pages_reused"].as_u64().unwrap() > 20, "{back}");
    assert!(same(&world, "r.db", "plain.db"), "shorter again, and bit for bit");
    prove_bank(&world.path("r.db"));
    // Over something else altogether, and over nothing.
    std::fs::write(world.path("r.db"), vec![0xA5; 300_000]).unwrap();
    world.ok(&["restore", &id(&first), "--to", "r.db", "--delta"]);
    assert!(same(&world, "r.db", "plain.db"), "pages of zeros are zeros again");
    let new = world.ok(&["restore", &id(&second), "--to", "new.db", "--delta"]);
    assert_eq!(new["bytes_fetched"], fetched["bytes_fetched"]);
}

#[test]
fn a_killed_restore_is_gone_on_with() {
    let (world, first, second) = two_backups();
    world.ok(&["restore", &id(&second), "--to", "whole.db"]);
    // What a killed restore leaves: some pages, and zeros where the others would have come.
    let mut left = std::fs::read(world.path("whole.db")).unwrap();
    left[4096..20_480].fill(0);
    for backup in [&second, &first] {
        std::fs::write(world.path(".r.db.mantis-restore"), &left).unwrap();
        let restored = world.ok(&["restore", &id(backup), "--to", "r.db", "--force"]);
        let reused = restored["pages_reused"].as_u64().unwrap();
        assert!(reused > 5 && reused < restored["pages"].as_u64().unwrap(), "{restored}");
        assert!(!world.path(".r.db.mantis-restore").exists());
        prove_bank(&world.path("r.db"));
    }
}

#[test]
fn to_standard_output_comes_the_file_and_nothing_else() {
    let (world, _, second) = two_backups();
    world.ok(&["restore", &id(&second), "--to", "whole.db"]);
    let restore = |arguments: &[&str]| {
        let mut command = Command::new(mantis());
        command.args(["restore", "latest", "--to", "-"]).args(arguments);
        command.env("MANTIS_REPO", world.path("repo")).current_dir(world.folder.path());
        command.output().unwrap()
    };
    let output = restore(&["--check"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == std::fs::read(world.path("whole.db")).unwrap());
    assert_eq!(restore(&["--json"]).status.code(), Some(2));
    // Damaged, nothing comes out, rather than half a file.
    for file in world.repository_files() {
        if file.to_string_lossy().contains("/seg/") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let output = restore(&[]);
    assert!(output.status.code() == Some(1) && output.stdout.is_empty());
}

#[test]
fn diff_tells_what_changed() {
    let (world, first, second) = two_backups();
    let diff = world.ok(&["diff", &id(&first), &id(&second)]);
    let pages = |value: &Value, key: &str| value[key].as_u64().unwrap();
    assert!((2..9).contains(&pages(&diff, "pages_changed")), "{diff}");
    assert!(pages(&diff, "pages_added") >= 49, "{diff}");
    let listed: u64 = diff["ranges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|range| pages(range, "last") - pages(range, "first") + 1)
        .sum();
    assert_eq!(listed, pages(&diff, "pages_changed"));
    let back = world.ok(&["diff", &id(&second), &id(&first)]);
    assert_eq!(back["pages_removed"], diff["pages_added"]);
    let none = world.ok(&["diff", "latest", &id(&second)]);
    assert_eq!((&none["identical"], &none["pages_changed"]), (&true.into(), &0.into()));
    assert!(world.fails(&["diff", &id(&first), "zz"], 1).contains("help: "));
}
