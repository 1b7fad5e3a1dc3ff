//! The command on encrypted repositories: passwords from everywhere, exit codes, nothing that leaks.

use std::process::Output;

use mantis_tests::{World, make_bank, mantis, prove_bank};
use serde_json::Value;

/// A folder with a repository for which "first" is the password.
fn encrypted() -> World {
    let world = World { folder: tempfile::tempdir().unwrap() };
    let made = with(&world, "first", &["init"]);
    assert!(made.status.success());
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["encrypted"], true);
    make_bank(&world.path("bank.db"), "wal", 4096);
    world
}

fn with(world: &World, password: &str, arguments: &[&str]) -> Output {
    world.command(arguments).env("MANTIS_PASSWORD", password).output().unwrap()
}

fn json(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_password_comes_from_variable_file_or_command_and_must_be_right() {
    let world = encrypted();
    json(&with(&world, "first", &["backup", "bank.db"]));
    std::fs::write(world.path("pw"), "first\n").unwrap();
    world.ok(&["list", "--password-file", "pw"]);
    world.ok(&["list", "--password-command", "echo first"]);
    let from_variable =
        world.command(&["list"]).env("MANTIS_PASSWORD_FILE", "pw").output().unwrap();
    assert!(from_variable.status.success());
    for wrong in ["wrong", "First", "first "] {
        let output = with(&world, wrong, &["list"]);
        assert_eq!(output.status.code(), Some(12));
        assert!(String::from_utf8_lossy(&output.stderr).contains("help: "));
    }
    assert!(world.fails(&["list"], 12).contains("help: "), "no password at all");
    assert!(world.fails(&["list", "--password-command", "exit 1"], 1).contains("help: "));
    assert!(world.fails(&["list", "--password-file", "nowhere"], 1).contains("help: "));
    std::fs::write(world.path("empty"), "\n").unwrap();
    assert!(world.fails(&["list", "--password-file", "empty"], 2).contains("empty"));
    let restored = with(&world, "first", &["restore", "latest", "--to", "r.db", "--check"]);
    json(&restored);
    prove_bank(&world.path("r.db"));
}

#[test]
fn keys_are_listed_added_removed_and_rotated() {
    let world = encrypted();
    std::fs::write(world.path("new"), "second").unwrap();
    let add = ["key", "add", "--new-password-file", "new", "--label", "laptop"];
    let added = json(&with(&world, "first", &add));
    let keys = json(&with(&world, "second", &["key", "list"]));
    let keys = keys.as_array().unwrap();
    assert_eq!(keys.len(), 2);
    for field in ["id", "created_at", "label", "current"] {
        assert!(keys.iter().all(|key| key.get(field).is_some()), "{field}");
    }
    let second = keys.iter().find(|key| key["id"] == added["id"]).unwrap();
    assert_eq!((&second["label"], &second["current"]), (&"laptop".into(), &true.into()));
    let first = keys.iter().find(|key| key["id"] != added["id"]).unwrap();
    json(&with(&world, "second", &["backup", "bank.db"]));
    json(&with(&world, "second", &["key", "rotate"]));
    json(&with(&world, "second", &["backup", "bank.db"]));
    json(&with(&world, "second", &["key", "remove", first["id"].as_str().unwrap()]));
    assert_eq!(with(&world, "first", &["list"]).status.code(), Some(12));
    let last = with(&world, "second", &["key", "remove", added["id"].as_str().unwrap()]);
    assert_eq!(last.status.code(), Some(1));
    assert_eq!(json(&with(&world, "second", &["verify"]))["checked"], 2);
}

#[test]
fn no_command_gives_a_password_away_or_takes_one_that_is_of_no_use() {
    let world = encrypted();
    let secret = "hunter2-canary";
    std::fs::write(world.path("new"), secret).unwrap();
    json(&with(&world, "first", &["key", "add", "--new-password-file", "new"]));
    for arguments in [
        &["-vv", "backup", "bank.db"][..],
        &["-vv", "list"],
        &["-vv", "verify"],
        &["-vv", "key", "list"],
        &["-vv", "restore", "none", "--to", "x"],
        &["--help"],
    ] {
        let mut command = std::process::Command::new(mantis());
        command.args(arguments).env("MANTIS_REPO", world.path("repo"));
        let output = command
            .env("MANTIS_PASSWORD", secret)
            .current_dir(world.folder.path())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&said).contains(secret), "{arguments:?}");
    }
    let plain = World::new();
    assert_eq!(with(&plain, "p", &["list"]).status.code(), Some(12), "it is not encrypted");
    for file in world.repository_files() {
        let bytes = std::fs::read(&file).unwrap();
        for word in [&b"bank"[..], b"SQLite", secret.as_bytes()] {
            assert!(!bytes.windows(word.len()).any(|window| window == word), "{}", file.display());
        }
    }
}
