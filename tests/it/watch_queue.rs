//! A store that is gone: moments of a watched database wait on the local disk, and become backups once it is back.

use mantis_tests::watch::Watch;
use mantis_tests::{
    World, Writer, committed, make_bank, prove_bank, start_paced_python, wait_until,
};
use serde_json::Value;

/// A bank that is written, and watched with so much room for what waits.
fn begin(room: &str) -> (World, Writer, Watch) {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    let writer = start_paced_python(&world.path("bank.db"));
    let watch =
        Watch::start(&world, &["watch", "bank.db", "--every", "200ms", "--spool-limit", room]);
    watch.until("backup", 2);
    (world, writer, watch)
}

fn backups(world: &World) -> Vec<Value> {
    world.ok(&["list"]).as_array().unwrap().clone()
}

/// Restores a backup; the last transaction in it.
fn last_of(world: &World, backup: &Value) -> i64 {
    world.ok(&["restore", backup["id"].as_str().unwrap(), "--to", "then.db"]);
    let seq = prove_bank(&world.path("then.db"));
    std::fs::remove_file(world.path("then.db")).unwrap();
    seq
}

/// Takes the store away until so many moments were kept, and waits until all that was committed is in backups; those that were made since.
fn through_an_outage(world: &World, watch: &Watch, kept: usize, between: impl Fn()) -> Vec<Value> {
    let before: Vec<Value> = backups(world).iter().map(|backup| backup["id"].clone()).collect();
    let queued = watch.count("queued");
    world.take_repository_away();
    watch.until("queued", queued + kept);
    between();
    let gone = committed(&world.path("bank.db"));
    world.bring_repository_back();
    let mut since = Vec::new();
    wait_until("all of it to be in backups", || {
        since = backups(world);
        since.retain(|backup| !before.contains(&backup["id"]));
        since.last().is_some_and(|newest| last_of(world, newest) >= gone)
    });
    since
}

#[test]
fn moments_wait_while_the_store_is_gone_and_all_become_backups() {
    let (world, writer, watch) = begin("200MB");
    for _ in 0..2 {
        let since = through_an_outage(&world, &watch, 5, || {});
        assert!(since.len() >= 5, "{}", since.len());
        // Each is a moment of its own, in their order, by their times too.
        let seqs: Vec<i64> = since.iter().map(|backup| last_of(&world, backup)).collect();
        assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
        let times: Vec<&str> =
            since.iter().map(|backup| backup["created_at"].as_str().unwrap()).collect();
        assert!(times.is_sorted(), "{times:?}");
        // Only on a full stack, of 32 layers of one size, every page is stored again: on a busy machine there are as many.
        let all = backups(&world);
        let full: Vec<usize> = (0..all.len()).filter(|at| all[*at]["kind"] == "full").collect();
        assert!(full.windows(2).all(|two| two[1] - two[0] >= 32), "{full:?}");
    }
    let log = std::fs::read_to_string(world.path("watch.log")).unwrap();
    assert_eq!(watch.count("gap"), 0, "{log}");
    drop(writer);
    let there = committed(&world.path("bank.db"));
    wait_until("the rest", || last_of(&world, backups(&world).last().unwrap()) == there);
    assert_eq!(watch.stop(), Some(0));
    world.ok(&["verify"]);
    world.ok(&["prune", "--grace", "0s"]);
    assert_eq!(last_of(&world, backups(&world).last().unwrap()), there);
}

#[test]
fn where_there_is_no_room_moments_become_fewer_and_nothing_is_lost() {
    let (world, writer, watch) = begin("1MB");
    let since = through_an_outage(&world, &watch, 12, || {});
    assert!(since.len() > 1, "{}", since.len());
    let seqs: Vec<i64> = since.iter().map(|backup| last_of(&world, backup)).collect();
    assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
    drop(writer);
    assert_eq!(watch.stop(), Some(0));
    world.ok(&["verify"]);
}

#[test]
fn what_waits_survives_checkpoints_and_a_database_that_grows_and_shrinks() {
    let (world, writer, watch) = begin("200MB");
    let since = through_an_outage(&world, &watch, 3, || {
        let db = rusqlite::Connection::open(world.path("bank.db")).unwrap();
        db.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
        let run = |sql: &str| {
            db.execute_batch(sql).unwrap();
            let queued = watch.count("queued");
            watch.until("queued", queued + 2);
        };
        run("create table big as select zeroblob(5000) as z from account");
        run("update big set z = randomblob(3000) where rowid % 5 = 0");
        run("drop table big; vacuum");
        run("create table big as select randomblob(900) as z from account limit 900");
        let _ = db.execute_batch("pragma wal_checkpoint(passive)");
    });
    for backup in &since {
        last_of(&world, backup);
    }
    drop(writer);
    assert_eq!(watch.stop(), Some(0));
    world.ok(&["verify"]);
}
