//! `mantis watch`: every moment that it keeps comes back, whatever happens to it, to the store and to the writer.

use std::path::Path;
use std::time::Duration;

use mantis_tests::watch::Watch;
use mantis_tests::{
    World, committed, make_bank, prove_bank, start_paced_python, start_python, wait_until,
};
use serde_json::Value;

const WATCH: [&str; 4] = ["watch", "bank.db", "--every", "200ms"];

/// Restores every backup and proves it; the transactions that they end with, oldest first.
fn prove_all(world: &World) -> Vec<i64> {
    let listed = world.ok(&["list"]);
    let mut found = Vec::new();
    for backup in listed.as_array().unwrap() {
        let id = backup["id"].as_str().unwrap();
        world.ok(&["restore", id, "--to", "then.db"]);
        found.push(prove_bank(&world.path("then.db")));
        std::fs::remove_file(world.path("then.db")).unwrap();
    }
    assert!(found.is_sorted(), "{found:?}");
    found
}

fn wal_len(path: &Path) -> u64 {
    std::fs::metadata(format!("{}-wal", path.display())).map_or(0, |wal| wal.len())
}

#[test]
fn every_moment_under_a_writer_comes_back() {
    let world = World::new();
    let db = world.path("bank.db");
    make_bank(&db, "wal", 4096);
    let writer = start_paced_python(&db);
    let watch = Watch::start(&world, &[&WATCH[..], &["--max-wal", "2MiB"]].concat());
    watch.until("backup", 40);
    watch.until("relieved", 3);
    drop(writer);
    // The last interval is stored, and the idle ones behind it do nothing.
    let last = committed(&db);
    std::thread::sleep(Duration::from_secs(2));
    let files = world.repository_files();
    let told = watch.count("backup");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(
        (world.repository_files(), watch.count("backup")),
        (files, told),
        "nothing was committed"
    );
    let events = watch.events.lock().unwrap().clone();
    assert_eq!(watch.stop(), Some(0));
    let backups: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "backup")
        .map(|event| &event["backup"])
        .collect();
    let full = backups.iter().filter(|backup| backup["kind"] == "full").count();
    // Of so small a database some stacks are layers of one size, and putting them together is a full backup.
    assert!(full <= 3, "{full}");
    let read_all =
        backups[1..].iter().filter(|backup| backup["bytes_read"] == backup["bytes"]).count();
    let gaps = events.iter().filter(|event| event["event"] == "gap").count();
    assert!(
        read_all <= gaps + backups.len() / 4,
        "{read_all} of {} read all, {gaps} gaps",
        backups.len()
    );
    assert_eq!(prove_all(&world).last(), Some(&last), "what was committed last is in the last one");
}

#[test]
fn a_watch_that_is_killed_again_and_again_loses_no_moment_that_it_told_of() {
    let world = World::new();
    let db = world.path("bank.db");
    make_bank(&db, "wal", 1024);
    let _writer = start_python(&db, true);
    let mut told = 0;
    for round in 0..6 {
        let mut watch = Watch::start(&world, &[&WATCH[..], &["--max-wal", "1MiB"]].concat());
        watch.until("backup", 3);
        std::thread::sleep(Duration::from_millis(37 * round));
        watch.child.kill().unwrap();
        watch.child.wait().unwrap();
        told += watch.count("backup");
    }
    // One may have been committed and not told of before each kill.
    let found = prove_all(&world).len();
    assert!((told..=told + 6).contains(&found), "{found} of {told}");
    world.ok(&["verify"]);
}

#[test]
fn a_store_that_is_gone_for_a_while_is_caught_up_with_and_the_wal_stays_short() {
    let world = World::new();
    let db = world.path("bank.db");
    make_bank(&db, "wal", 4096);
    let _writer = start_paced_python(&db);
    let watch = Watch::start(&world, &[&WATCH[..], &["--max-wal", "4MiB"]].concat());
    watch.until("backup", 2);
    world.take_repository_away();
    let before = committed(&db);
    watch.until("failed", 3);
    // Some 24 kB of WAL each.
    wait_until("transactions", || committed(&db) > before + 10_000);
    let len = wal_len(&db);
    assert!(len < 160_000_000, "{len}");
    world.bring_repository_back();
    let (made, there) = (watch.count("backup"), committed(&db));
    watch.until("backup", made + 3);
    let events = watch.events.lock().unwrap().clone();
    assert_eq!(watch.stop(), Some(0));
    assert!(prove_all(&world).last() >= Some(&there));
    let behind = events.iter().filter_map(|event| event["exposed_ms"].as_u64()).max();
    assert!(behind > Some(400), "{behind:?}: the time without the store is told");
}

/// Removes what is beside a database that nobody writes, once all of it is in the file: without its log it would be damaged otherwise.
fn remove_log(db: &Path) {
    let connection = rusqlite::Connection::open(db).unwrap();
    wait_until("all of the log to be in the file", || {
        let figures = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (busy, frames, put): (i64, i64, i64) =
            connection.query_row("pragma wal_checkpoint(passive)", [], figures).unwrap();
        busy == 0 && frames == put
    });
    for end in ["-wal", "-shm"] {
        std::fs::remove_file(format!("{}{end}", db.display())).unwrap();
    }
}

#[test]
fn another_database_put_in_the_place_of_one_is_noticed_and_watched() {
    let world = World::new();
    let db = world.path("bank.db");
    make_bank(&db, "wal", 4096);
    let writer = start_paced_python(&db);
    let watch = Watch::start(&world, &WATCH);
    watch.until("backup", 3);
    drop(writer);
    let other = world.path("other.db");
    make_bank(&other, "wal", 4096);
    drop(start_paced_python(&other));
    let there = committed(&other);
    // As people do it: over the old file, whose log is removed, so that not even its number changes.
    remove_log(&db);
    std::fs::copy(&other, &db).unwrap();
    let _writer = start_paced_python(&db);
    watch.until("gap", 1);
    let made = watch.count("backup");
    let at_least = committed(&db);
    watch.until("backup", made + 3);
    assert_eq!(watch.stop(), Some(0));
    let listed = world.ok(&["list"]);
    let newest = listed.as_array().unwrap().last().unwrap()["id"].as_str().unwrap();
    world.ok(&["restore", newest, "--to", "now.db"]);
    assert!(prove_bank(&world.path("now.db")) >= at_least.max(there));
}

#[test]
fn a_database_copied_over_one_that_is_watched_is_backed_up_whole() {
    let world = World::new();
    let db = world.path("bank.db");
    make_bank(&db, "wal", 4096);
    let other = world.path("other.db");
    make_bank(&other, "wal", 4096);
    drop(start_paced_python(&other));
    let writer = start_paced_python(&db);
    let watch = Watch::start(&world, &WATCH);
    watch.until("backup", 3);
    drop(writer);
    remove_log(&db);
    // Who copies by hand takes longer than the watch does to open the old database again.
    watch.until("gap", 1);
    wait_until("the watch to have it open again", || world.path("bank.db-shm").exists());
    // Some ticks, at which it finds nothing new. Were it slower than that, what comes must be right all the same.
    std::thread::sleep(Duration::from_secs(1));
    std::fs::copy(&other, &db).unwrap();
    let _writer = start_paced_python(&db);
    let made = watch.count("backup");
    watch.until("backup", made + 3);
    assert_eq!(watch.stop(), Some(0));
    world.ok(&["restore", "latest", "--to", "now.db"]);
    prove_bank(&world.path("now.db"));
}

#[test]
fn many_databases_are_watched_by_one_command_and_take_turns() {
    let world = World::new();
    let names: Vec<String> = (0..24).map(|number| format!("d{number}.db")).collect();
    names.iter().for_each(|name| make_bank(&world.path(name), "wal", 512));
    let mut arguments = vec!["watch", "--every", "300ms"];
    arguments.extend(names.iter().map(String::as_str));
    let watch = Watch::start(&world, &arguments);
    watch.until("backup", names.len());
    let writer = start_paced_python(&world.path("d7.db"));
    watch.until("backup", names.len() + 3);
    drop(writer);
    let last = committed(&world.path("d7.db"));
    std::thread::sleep(Duration::from_secs(2));
    let events = watch.events.lock().unwrap().clone();
    assert_eq!(watch.stop(), Some(0));
    let of = |name: &str| events.iter().filter(|event| event["backup"]["source"] == name).count();
    assert!((0..24).all(|number| number == 7 || of(&format!("d{number}")) == 1), "one each");
    world.ok(&["restore", "latest", "--source", "d7", "--to", "now.db"]);
    assert_eq!(prove_bank(&world.path("now.db")), last);
}

#[test]
fn rules_thin_what_a_watch_makes_and_what_is_kept_comes_back() {
    let world = World::new();
    let db = world.path("bank.db");
    make_bank(&db, "wal", 4096);
    let writer = start_paced_python(&db);
    let watch = Watch::start(&world, &WATCH);
    watch.until("backup", 45);
    assert_eq!(watch.stop(), Some(0));
    drop(writer);
    world.ok(&["forget", "--keep-last", "3"]);
    let before = world.repository_files().len();
    world.ok(&["prune", "--grace", "0s"]);
    assert!(world.repository_files().len() < before);
    let kept = prove_all(&world);
    assert_eq!(kept.len(), 3);
    assert!(kept.last() <= Some(&committed(&db)));
    world.ok(&["verify"]);
}

#[test]
fn what_cannot_be_watched_is_refused_with_what_to_do() {
    let world = World::new();
    make_bank(&world.path("old.db"), "delete", 4096);
    let said = world.fails(&["watch", "old.db"], 1);
    assert!(said.contains("PRAGMA journal_mode=WAL"), "{said}");
    std::fs::write(world.path("raw"), "x").unwrap();
    let said = world.fails(&["watch", "file:raw"], 2);
    assert!(said.contains("cannot be watched"), "{said}");
    let said = world.fails(&["watch", "nowhere.db"], 1);
    assert!(said.contains("nowhere.db"), "{said}");
    make_bank(&world.path("a.db"), "wal", 4096);
    assert!(world.fails(&["watch", "a.db", "--every", "1ms"], 2).contains("100ms"));
    assert!(world.fails(&["watch", "a.db", "sqlite:a.db"], 2).contains("named a"));
    assert!(world.fails(&["watch", "a.db", "--max-wal", "5"], 2).contains("1MiB"));
}
