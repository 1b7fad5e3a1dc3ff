//! A database under a foreign writer backs up and restores right, every time.

use mantis_tests::{World, committed, make_bank, prove_bank, start_python, start_shell};

fn rounds(world: &World, count: usize) {
    let db = world.path("bank.db");
    for round in 0..count {
        let before = committed(&db);
        let compression = ["none", "lz4", "zstd:1", "gzip:1"][round % 4];
        let backup = world.ok(&["backup", "bank.db", "--compression", compression]);
        let after = committed(&db);
        let to = format!("restored-{round}.db");
        let id = backup["id"].as_str().unwrap();
        let restored = world.ok(&["restore", &id[..10], "--to", &to, "--check"]);
        assert_eq!(restored["bytes"], backup["bytes"]);
        let seq = prove_bank(&world.path(&to));
        assert!((before..=after).contains(&seq), "{seq} is not between {before} and {after}");
        std::fs::remove_file(world.path(&to)).unwrap();
    }
}

#[test]
fn a_hundred_of_a_hundred_in_wal_mode_under_python() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    let _writer = start_python(&world.path("bank.db"), true);
    rounds(&world, 100);
}

#[test]
fn two_python_writers_and_small_pages() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 512);
    let _one = start_python(&world.path("bank.db"), false);
    rounds(&world, 25);
}

#[test]
fn under_the_sqlite_shell() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 65536);
    let _writer = start_shell(&world.path("bank.db"));
    rounds(&world, 25);
}

#[test]
fn in_rollback_mode_under_python() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "delete", 4096);
    let _writer = start_python(&world.path("bank.db"), true);
    rounds(&world, 25);
    let held = world.ok(&["backup", "bank.db", "--journal-lock", "hold"]);
    assert_eq!(held["way"], "blocking-read-lock");
    let id = held["id"].as_str().unwrap();
    world.ok(&["restore", id, "--to", "held.db"]);
    prove_bank(&world.path("held.db"));
    assert!(world.fails(&["backup", "bank.db", "--journal-lock", "refuse"], 1).contains("help: "));
}

#[test]
fn a_writer_killed_in_the_middle_leaves_a_database_that_backs_up() {
    for mode in ["wal", "delete"] {
        let world = World::new();
        let db = world.path("bank.db");
        make_bank(&db, mode, 4096);
        for _ in 0..6 {
            drop(start_python(&db, false));
            world.ok(&["backup", "bank.db"]);
            world.ok(&["restore", "latest", "--to", "r.db", "--force", "--check"]);
            prove_bank(&world.path("r.db"));
        }
    }
}

#[test]
fn the_demo_proves_itself() {
    let world = World::new();
    let figures = world.ok(&["demo", "--seconds", "3"]);
    assert!(figures["backups"].as_u64().unwrap() > 0);
    assert_eq!(figures["backups"], figures["consistent"]);
    let kinds: Vec<&str> = figures["restores"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert!(
        kinds[0] == "full" && kinds[1..].iter().all(|kind| *kind == "incremental"),
        "{kinds:?}"
    );
    assert!(figures["writer"]["alone"]["transactions"].as_u64().unwrap() > 0);
}
