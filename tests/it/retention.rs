//! Incrementals, forgetting and freeing, by the command, beside a live writer.

use mantis_tests::{World, make_bank, prove_bank, start_python};
use serde_json::Value;

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

#[test]
fn backups_build_on_each_other_unless_told_otherwise() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    let full = world.ok(&["backup", "bank.db"]);
    assert_eq!((&full["kind"], &full["parent"]), (&"full".into(), &Value::Null));
    let idle = world.ok(&["backup", "bank.db"]);
    assert_eq!((&idle["kind"], &idle["parent"]), (&"incremental".into(), &full["id"]));
    assert_eq!((&idle["pages_changed"], &idle["bytes_stored"]), (&0.into(), &0.into()));
    assert_eq!(idle["fingerprint"], full["fingerprint"]);
    let db = rusqlite::Connection::open(world.path("bank.db")).unwrap();
    db.execute("update account set balance = balance + 1 where id = 7", []).unwrap();
    db.execute("update account set balance = balance - 1 where id = 8", []).unwrap();
    let changed = world.ok(&["backup", "bank.db"]);
    let pages = changed["pages_changed"].as_u64().unwrap();
    assert!((1..5).contains(&pages), "{changed}");
    let again = world.ok(&["backup", "bank.db", "--full"]);
    assert_eq!((&again["kind"], &again["parent"]), (&"full".into(), &Value::Null));
    assert_eq!(again["fingerprint"], changed["fingerprint"]);
    let other = world.ok(&["backup", "bank.db", "--name", "other"]);
    assert_eq!(other["kind"], "full", "another source has no parent");
    for backup in world.ok(&["list"]).as_array().unwrap() {
        world.ok(&["restore", id(backup), "--to", "r.db", "--force", "--check"]);
    }
    world.ok(&["verify"]);
    assert_eq!(world.ok(&["verify", "--restore-check"])["restored"], 5);
    assert_eq!(world.ok(&["verify", "--metadata-only"])["segments"], 0);
    world.ok(&["verify", "--sample", "50%"]);
}

#[test]
fn under_a_writer_what_is_kept_restores_and_what_is_forgotten_is_freed() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    let _writer = start_python(&world.path("bank.db"), true);
    let mut last = 0;
    for _ in 0..12 {
        world.ok(&["backup", "bank.db"]);
        let done = world.ok(&["forget", "--keep-last", "4", "--prune", "--grace", "0s"]);
        let kept = done["keep"].as_array().unwrap();
        assert!(
            kept.len() <= 4
                && kept.iter().all(|kept| !kept["reasons"].as_array().unwrap().is_empty())
        );
        for backup in world.ok(&["list"]).as_array().unwrap() {
            world.ok(&["restore", id(backup), "--to", "r.db", "--force"]);
            last = last.max(prove_bank(&world.path("r.db")));
        }
    }
    assert!(last > 20);
    world.ok(&["verify"]);
    assert_eq!(world.ok(&["prune", "--grace", "0s"])["freed_bytes"], 0, "nothing is left to do");
}

#[test]
fn forgetting_says_what_it_does_and_can_be_undone() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    let backups: Vec<Value> = (0..3).map(|_| world.ok(&["backup", "bank.db", "--full"])).collect();
    let plan = world.ok(&["forget", "--keep-last", "1", "--dry-run"]);
    let removed = plan["remove"].as_array().unwrap();
    assert_eq!((removed.len(), plan["keep"].as_array().unwrap().len()), (2, 1));
    assert_eq!(world.ok(&["list"]).as_array().unwrap().len(), 3, "a dry run forgets nothing");
    assert!(world.fails(&["forget"], 2).contains("help: "));
    assert!(world.fails(&["forget", "--keep-last", "0"], 2).contains("error: "));
    assert!(world.fails(&["forget", "zz"], 1).contains("help: "));
    world.ok(&["forget", id(&backups[1])]);
    assert_eq!(world.ok(&["list"]).as_array().unwrap().len(), 2);
    let waiting = world.ok(&["prune"]);
    assert_eq!(waiting["freed_bytes"], 0);
    assert!(waiting["graced_bytes"].as_u64().unwrap() > 0);
    world.ok(&["forget", "--undo", &id(&backups[1])[..9]]);
    assert_eq!(world.ok(&["list"]).as_array().unwrap().len(), 3);
    world.ok(&["restore", id(&backups[1]), "--to", "r.db", "--check"]);
    world.ok(&["forget", id(&backups[1])]);
    let would = world.ok(&["prune", "--grace", "0s", "--dry-run"]);
    let freed = world.ok(&["prune", "--grace", "0s"]);
    assert_eq!(would["freed_bytes"], freed["freed_bytes"]);
    assert!(freed["freed_bytes"].as_u64().unwrap() > 0);
    assert!(world.fails(&["forget", "--undo", id(&backups[1])], 1).contains("help: "));
    world.ok(&["verify"]);
}
