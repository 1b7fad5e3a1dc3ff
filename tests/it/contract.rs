//! What scripts rely on: flags, JSON fields, exit codes, error and help lines.

use std::process::Command;

use mantis_tests::{World, make_bank, mantis};
use serde_json::Value;

fn keys<'a>(value: &'a Value, wanted: &[&str]) -> &'a Value {
    for key in wanted {
        assert!(value.get(key).is_some(), "{key} is missing in {value}");
    }
    value
}

const BACKUP: &[&str] = &[
    "id",
    "source",
    "engine",
    "lsn",
    "kind",
    "parent",
    "pages",
    "pages_changed",
    "bytes_read",
    "bytes_stored",
    "created_at",
    "duration_ms",
    "tags",
];

#[test]
fn every_result_has_its_fields() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    make_bank(&world.path("other.db"), "delete", 1024);
    let backup = world.ok(&[
        "backup",
        "bank.db",
        "--name",
        "orders",
        "--tag",
        "type=manual",
        "--verify",
        "--full",
    ]);
    keys(&backup, BACKUP);
    assert_eq!((&backup["source"], &backup["tags"]["type"]), (&"orders".into(), &"manual".into()));
    assert_eq!((&backup["kind"], &backup["parent"]), (&"full".into(), &Value::Null));
    let both = world.ok(&[
        "backup",
        "bank.db",
        "sqlite:other.db",
        "--jobs",
        "1",
        "--limit-rate",
        "900MB/s",
    ]);
    assert_eq!(both.as_array().unwrap().len(), 2);
    let list = world.ok(&["list"]);
    assert_eq!(list.as_array().unwrap().len(), 3);
    list.as_array().unwrap().iter().for_each(|backup| assert!(!keys(backup, BACKUP).is_null()));
    assert_eq!(list[0]["id"], backup["id"], "newest last");
    assert_eq!(world.ok(&["list", "--source", "other"]).as_array().unwrap().len(), 1);
    assert_eq!(world.ok(&["list", "--tag", "type=manual"]).as_array().unwrap().len(), 1);
    assert_eq!(world.ok(&["list", "--at", "2001-01-01T00:00:00Z"]), Value::Array(vec![]));
    keys(&world.ok(&["show", backup["id"].as_str().unwrap()]), BACKUP);
    let restored = world.ok(&["restore", "latest", "--source", "orders", "--to", "r.db"]);
    keys(&restored, &["id", "path", "pages", "bytes", "duration_ms"]);
    assert_eq!(restored["id"], backup["id"]);
    let verified = world.ok(&["verify"]);
    assert_eq!((&verified["checked"], &verified["damaged"]), (&3.into(), &Value::Array(vec![])));
    assert_eq!(world.ok(&["verify", "latest"])["checked"], 1);
    let plan = world.ok(&["backup", "bank.db", "--dry-run"]);
    assert_eq!(plan["dry_run"], true);
    assert_eq!(world.ok(&["list"]).as_array().unwrap().len(), 3, "a dry run stores nothing");
}

#[test]
fn restore_takes_the_backup_of_a_moment() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    let first = world.ok(&["backup", "bank.db"]);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let second = world.ok(&["backup", "bank.db"]);
    let at = first["created_at"].as_str().unwrap();
    assert_eq!(world.ok(&["restore", "latest", "--at", at, "--to", "a.db"])["id"], first["id"]);
    assert_eq!(world.ok(&["restore", "latest", "--to", "b.db"])["id"], second["id"]);
    // Without an id, and as people say it.
    assert_eq!(world.ok(&["restore", "--at", "now", "--to", "d.db"])["id"], second["id"]);
    let older = world.fails(&["restore", "--at", "1 hour ago", "--to", "e.db"], 1);
    assert!(older.contains("that is that old"), "{older}");
    assert!(world.fails(&["restore", "--at", "soon", "--to", "e.db"], 2).contains("minutes ago"));
    let early = ["restore", "latest", "--at", "2001-01-01T00:00:00Z", "--to", "c.db"];
    assert!(world.fails(&early, 1).contains("help: "));
}

#[test]
fn restore_goes_back_to_before_a_commit() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    // As long as it is open, its log is not begun anew.
    let bank = rusqlite::Connection::open(world.path("bank.db")).unwrap();
    let mut made = Vec::new();
    for value in 1..=3 {
        bank.execute("update account set balance = balance + ?1 where id = 1", [value]).unwrap();
        made.push(world.ok(&["backup", "bank.db"]));
    }
    let lsn = |number: usize| made[number]["lsn"].as_u64().unwrap();
    assert!(lsn(0) < lsn(1) && lsn(1) < lsn(2));
    let before = |lsn: u64| {
        let (text, to) = (lsn.to_string(), format!("{lsn}.db"));
        world.ok(&["restore", "--before-commit", &text, "--to", &to])["id"].clone()
    };
    assert_eq!(before(lsn(2)), made[1]["id"]);
    assert_eq!(before(lsn(0) + 1), made[0]["id"]);
    let halves = format!("{:X}/{:08X}", lsn(1) >> 32, lsn(1) & 0xFFFF_FFFF);
    let restored = world.ok(&["restore", "--before-commit", &halves, "--to", "halves.db"]);
    assert_eq!(restored["id"], made[0]["id"]);
    let unknown = (lsn(2) + 1).to_string();
    let told = world.fails(&["restore", "--before-commit", &unknown, "--to", "x.db"], 1);
    assert!(told.contains("none holds it") && told.contains("--at"), "{told}");
    world.ok(&["backup", "bank.db", "--name", "other"]);
    let told = world.fails(&["restore", "--before-commit", &unknown, "--to", "x.db"], 1);
    assert!(told.contains("--source"), "{told}");
}

#[test]
fn exit_codes_and_help_lines_are_as_promised() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    let list = |arguments: &[&str]| {
        Command::new(mantis()).args(arguments).env_remove("MANTIS_REPO").output().unwrap()
    };
    assert_eq!(list(&["list"]).status.code(), Some(2), "no repository named");
    assert_eq!(list(&["list", "--nonsense"]).status.code(), Some(2));
    assert_eq!(list(&["backup"]).status.code(), Some(2));
    let nowhere = world.path("nowhere");
    assert_eq!(list(&["list", "--repo", nowhere.to_str().unwrap()]).status.code(), Some(10));
    assert!(world.fails(&["backup", "none.db"], 1).contains("help: "));
    assert!(world.fails(&["init"], 1).contains("already"));
    assert!(world.fails(&["restore", "abcdef", "--to", "r.db"], 1).contains("help: "));
    assert!(world.fails(&["restore", "latest", "--to", "r.db"], 1).contains("no backup"));
    world.ok(&["backup", "bank.db"]);
    std::fs::write(world.path("there"), "precious").unwrap();
    assert!(world.fails(&["restore", "latest", "--to", "there"], 1).contains("--force"));
    assert_eq!(std::fs::read(world.path("there")).unwrap(), b"precious");
    world.ok(&["restore", "latest", "--to", "there", "--force"]);
    let in_part = world.run(&["backup", "bank.db", "none.db"]);
    assert_eq!(in_part.status.code(), Some(3));
    assert_eq!(
        serde_json::from_slice::<Value>(&in_part.stdout).unwrap().as_array().unwrap().len(),
        1
    );
}

#[test]
fn completions_and_manual_pages_come_out() {
    let world = World::new();
    let out = |arguments: &[&str]| Command::new(mantis()).args(arguments).output().unwrap().stdout;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(String::from_utf8(out(&["completions", shell])).unwrap().contains("restore"));
    }
    assert!(String::from_utf8(out(&["man"])).unwrap().contains(".TH mantis"));
    let folder = world.path("man");
    out(&["man", "--dir", folder.to_str().unwrap()]);
    assert!(folder.join("mantis-backup.1").exists());
    let help = String::from_utf8(out(&["--help"])).unwrap();
    assert!(help.contains("demo") && !help.contains("demo-writer"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let world = World::new();
    let script = format!("{} man | head -1", mantis().display());
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    drop(world);
}

#[test]
fn a_cache_of_indexes_is_used_where_it_is_asked_for_and_may_vanish() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    world.ok(&["backup", "bank.db", "--cache-dir", "cache"]);
    let listed = world.ok(&["list", "--cache-dir", "cache"]);
    assert!(world.path("cache").is_dir());
    assert_eq!(world.ok(&["list", "--cache-dir", "cache"]), listed);
    std::fs::remove_dir_all(world.path("cache")).unwrap();
    assert_eq!(world.ok(&["list", "--cache-dir", "cache"]), listed);
    std::fs::remove_dir_all(world.path("cache")).unwrap();
    assert_eq!(world.ok(&["list"]), listed);
    assert_eq!(world.ok(&["list", "--no-cache"]), listed);
    assert!(!world.path("cache").exists(), "a local repository has no use for it");
}
