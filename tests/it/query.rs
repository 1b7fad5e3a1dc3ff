//! `mantis query`: backups looked at without restoring them.

use mantis_tests::{World, make_bank, mantis, start_python};
use serde_json::{Value, json};

/// The only value of the only row.
fn one(world: &World, id: &str, sql: &str) -> Value {
    let rows = world.ok(&["query", id, sql]);
    let row = rows.as_array().unwrap().first().unwrap().as_object().unwrap();
    row.values().next().unwrap().clone()
}

#[test]
fn each_backup_answers_as_of_its_moment_while_the_database_goes_on() {
    for mode in ["wal", "delete"] {
        let world = World::new();
        make_bank(&world.path("bank.db"), mode, 4096);
        let _writer = start_python(&world.path("bank.db"), false);
        for _ in 0..3 {
            world.ok(&["backup", "bank.db"]);
        }
        let before = world.repository_files();
        let mut newest = 0;
        for backup in world.ok(&["list"]).as_array().unwrap() {
            let id = backup["id"].as_str().unwrap();
            let seq = one(&world, id, "select seq from state").as_i64().unwrap();
            assert!(seq >= newest, "{seq} after {newest}");
            newest = seq;
            // Each is one moment.
            assert_eq!(one(&world, id, "select sum(balance) from account"), 2_000_000);
            assert_eq!(one(&world, id, "select max(seq) from ledger"), seq);
            assert_eq!(one(&world, id, "pragma integrity_check"), "ok");
        }
        let named = one(&world, "latest", "select seq from state");
        assert_eq!(named, newest);
        let of_source = world.ok(&["query", "latest", "select seq from state", "--source", "bank"]);
        assert_eq!(of_source, json!([{ "seq": newest }]));
        assert_eq!(world.repository_files(), before, "nothing is written");
    }
}

#[test]
fn values_come_as_they_are() {
    let world = World::new();
    let db = rusqlite::Connection::open(world.path("a.db")).unwrap();
    db.execute_batch(
        "create table t(id integer primary key, a, b);
         insert into t values(1, null, x'00ff'), (2, 1.5, 'two
lines'), (3, 9007199254740993, '\u{1b}[31m');",
    )
    .unwrap();
    world.ok(&["backup", "a.db"]);
    let rows = world.ok(&["query", "latest", "select * from t"]);
    let expected = json!([
        { "id": 1, "a": null, "b": "00ff" },
        { "id": 2, "a": 1.5, "b": "two\nlines" },
        { "id": 3, "a": 9_007_199_254_740_993_i64, "b": "\u{1b}[31m" },
    ]);
    assert_eq!(rows, expected);
    assert_eq!(world.ok(&["query", "latest", "select * from t where id > 5"]), json!([]));
    // For people: a table, and beside it what it cost.
    let mut command = std::process::Command::new(mantis());
    command.current_dir(world.path("")).env("MANTIS_REPO", world.path("repo"));
    let shown = command.args(["query", "latest", "select * from t"]).output().unwrap();
    let table = "id  a                 b\n 1  NULL              x'00ff'\n 2  1.5               two\\nlines\n 3  9007199254740993  \\u{1b}[31m\n";
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), table);
    let beside = String::from_utf8(shown.stderr).unwrap();
    assert!(beside.starts_with("3 rows; ") && beside.contains(" pages fetched in "), "{beside}");
}

#[test]
fn what_cannot_be_answered_is_told_with_what_to_do() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    world.ok(&["backup", "bank.db"]);
    let ask = |sql: &str| world.fails(&["query", "latest", sql], 1);
    for write in ["delete from account", "drop table account", "create table x(a)", "vacuum"] {
        let errors = ask(write);
        assert!(errors.contains("never changed"), "{write}: {errors}");
    }
    let errors = ask("select * from accounts");
    assert!(
        errors.contains("no such table: accounts") && errors.contains("sqlite_schema"),
        "{errors}"
    );
    assert!(ask("select from where").contains("syntax error"));
    let errors = world.fails(&["query", "no-such-id", "select 1"], 1);
    assert!(errors.contains("no-such-id"), "{errors}");
    std::fs::write(world.path("raw"), vec![7; 8192]).unwrap();
    let raw = world.ok(&["backup", "file:raw"]);
    let errors = world.fails(&["query", raw["id"].as_str().unwrap(), "select 1"], 2);
    assert!(errors.contains("engine file"), "{errors}");
    // A segment that is damaged is told as that, and not as a fault of the database.
    let segments = world.repository_files().into_iter();
    let segments: Vec<_> =
        segments.filter(|file| file.display().to_string().contains("/seg/")).collect();
    for segment in &segments {
        let mut bytes = std::fs::read(segment).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle] ^= 1;
        std::fs::write(segment, bytes).unwrap();
    }
    let errors = world
        .fails(&["query", "latest", "--source", "bank", "select sum(balance) from account"], 1);
    assert!(errors.contains("frame") || errors.contains("damaged"), "{errors}");
}
