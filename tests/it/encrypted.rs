//! The command on encrypted repositories: passwords from everywhere, exit codes, nothing that leaks.

use std::process::Output;

use mantis_tests::{World, make_bank, mantis, prove_bank};
use serde_json::Value;

/// A folder with a repository for which "first" is the password.
fn encrypted() -> World {
    let world = World::empty();
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

pub(crate) const IDENTITY: &str =
    "AGE-SECRET-KEY-1U3ES59HHG4ZZCWGWCZ3XKRLAYZ5UMCQHU42PSTHJGWALSAX39H2QEUZQ06";
pub(crate) const RECIPIENT: &str = "age19nfdm6eszune6hsar7kfetwyzrpzay85zy4q7200myhu9xvh9eksdc23e3";
const OTHER: &str = "AGE-SECRET-KEY-1VMC4DGJTMRYD5095E0PWQSUFS0T47EQCNKQ6DERWCU4WJF0N3CFS7QH793";

pub(crate) fn identity_files(world: &World) {
    std::fs::write(world.path("id"), format!("# created: now\n{IDENTITY}\n")).unwrap();
    std::fs::write(world.path("other"), OTHER).unwrap();
}

#[test]
fn an_identity_of_age_opens_what_its_recipient_was_added_to() {
    let world = encrypted();
    identity_files(&world);
    assert!(world.fails(&["list", "--identity-file", "id"], 12).contains("identity"));
    json(&with(&world, "first", &["backup", "bank.db"]));
    let added = json(&with(&world, "first", &["key", "add", "--recipient", RECIPIENT]));
    assert_eq!((&added["kind"], &added["recipient"]), (&"age".into(), &RECIPIENT.into()));
    let keys = world.ok(&["key", "list", "--identity-file", "id"]);
    let current = keys.as_array().unwrap().iter().find(|key| key["current"] == true).unwrap();
    assert_eq!(current["id"], added["id"]);
    world.ok(&["backup", "bank.db", "--identity-file", "id"]);
    let restore = ["restore", "latest", "--to", "r.db", "--check", "--identity-file", "id"];
    world.ok(&restore);
    prove_bank(&world.path("r.db"));
    assert_eq!(json(&with(&world, "first", &["verify"]))["checked"], 2);
    // An identity that opens nothing, with a password that does.
    json(&with(&world, "first", &["list", "--identity-file", "other"]));
    let wrong = world.fails(&["list", "--identity-file", "other"], 12);
    assert!(wrong.contains("help: ") && !wrong.contains("AGE-SECRET"), "{wrong}");
    let refused = world.fails(&["key", "add", "--recipient", IDENTITY, "--identity-file", "id"], 2);
    assert!(refused.contains("secret"), "{refused}");
    std::fs::write(world.path("bad"), IDENTITY.replace("U3ES", "U3EZ")).unwrap();
    let bad = world.fails(&["list", "--identity-file", "bad"], 2);
    assert!(bad.contains("line 1") && !bad.contains("HHG4"), "{bad}");
}

#[test]
fn keys_that_someone_replaced_are_not_used() {
    let world = World::empty();
    identity_files(&world);
    assert_eq!(world.ok(&["init", "--recipient", RECIPIENT])["encrypted"], true);
    make_bank(&world.path("bank.db"), "wal", 4096);
    world.ok(&["backup", "bank.db", "--identity-file", "id"]);
    // Everyone can make this: a repository of his own for the same recipient.
    std::fs::rename(world.path("repo"), world.path("away")).unwrap();
    let mut forged = world.command(&["init", "--recipient", RECIPIENT]);
    assert!(forged.env("XDG_STATE_HOME", world.path("elsewhere")).status().unwrap().success());
    for command in [&["list"][..], &["backup", "bank.db"]] {
        let mut arguments = command.to_vec();
        arguments.extend(["--identity-file", "id"]);
        let said = world.fails(&arguments, 1);
        assert!(said.contains("others than") && said.contains("help: "), "{said}");
    }
    std::fs::remove_dir_all(world.path("repo")).unwrap();
    std::fs::rename(world.path("away"), world.path("repo")).unwrap();
    world.ok(&["list", "--identity-file", "id"]);
    // Noted by the path, whichever way that is written.
    let absolute = world.path("repo");
    world.ok(&["list", "--identity-file", "id", "--repo", absolute.to_str().unwrap()]);
    assert_eq!(std::fs::read_dir(world.path("state/mantis/known-keys")).unwrap().count(), 1);
}

#[test]
fn no_command_gives_a_password_away_or_takes_one_that_is_of_no_use() {
    let world = encrypted();
    let secret = "hunter2-canary";
    std::fs::write(world.path("new"), secret).unwrap();
    json(&with(&world, "first", &["key", "add", "--new-password-file", "new"]));
    json(&with(&world, "first", &["key", "add", "--recipient", RECIPIENT]));
    identity_files(&world);
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
            .env("MANTIS_IDENTITY_FILE", "id")
            .env("XDG_STATE_HOME", world.path("state"))
            .current_dir(world.folder.path())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains(secret) && !said.contains("U3ES59"), "{arguments:?}");
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
