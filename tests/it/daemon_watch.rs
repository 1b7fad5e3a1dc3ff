//! Schedules with `watch`: what the daemon does between their runs, and what it tells.

use mantis_tests::daemon::{Daemon, history, is};
use mantis_tests::{
    World, committed, make_bank, prove_bank, start_paced_python, start_python, wait_until,
};
use serde_json::Value;

/// A world whose daemon watches `bank.db` into `repo`; its schedule's runs are due in years.
fn watched(rest: &str) -> World {
    let world = World::empty();
    write(&world, rest);
    world.ok(&["init"]);
    make_bank(&world.path("bank.db"), "wal", 4096);
    world
}

fn write(world: &World, rest: &str) {
    let text = format!(
        "state_dir = \"state\"\nlisten = \"127.0.0.1:0\"\n[repositories.main]\nurl = \"repo\"\n[sources.bank]\npath = \"bank.db\"\n\
         [schedules.live]\ncron = \"0 0 29 2 *\"\n{rest}"
    );
    std::fs::write(world.path("mantis.toml"), text).unwrap();
}

fn backups(world: &World) -> usize {
    world.ok(&["list"]).as_array().unwrap().len()
}

/// The only job, as the list has it.
fn job(world: &World) -> Value {
    world.ok(&["schedule", "list"])[0].clone()
}

/// Restores every backup and proves it; the transaction that the last one ends with.
fn prove_all(world: &World) -> i64 {
    let mut found = Vec::new();
    for backup in world.ok(&["list"]).as_array().unwrap() {
        world.ok(&["restore", backup["id"].as_str().unwrap(), "--to", "then.db"]);
        found.push(prove_bank(&world.path("then.db")));
        std::fs::remove_file(world.path("then.db")).unwrap();
    }
    assert!(found.is_sorted(), "{found:?}");
    *found.last().unwrap()
}

#[test]
fn what_is_committed_between_runs_is_backed_up_and_seen() {
    let world = watched("watch = \"200ms\"\nmax_wal = \"2MiB\"\ntags = { by = \"{schedule}\" }\n");
    let db = world.path("bank.db");
    let writer = start_paced_python(&db);
    let daemon = Daemon::start(&world);
    wait_until("some backups", || backups(&world) >= 5);
    wait_until("that it is told", || history(&world).iter().any(|it| is(it, "live/bank", "done")));
    assert_eq!(world.ok(&["list"])[0]["tags"]["by"], "live");
    let of = "{schedule=\"live\",source=\"bank\"";
    assert_eq!(daemon.metric(&format!("mantis_rpo_limit_seconds{of}")), Some(60.0));
    assert!(daemon.metric(&format!("mantis_rpo_seconds{of}")).is_some_and(|rpo| rpo >= 0.0));
    assert_eq!(daemon.metric(&format!("mantis_watch_failures_total{of}")), Some(0.0));
    let listed = job(&world);
    assert_eq!(listed["watch"], "200ms");
    assert_eq!(listed["watched"]["limit_ms"], 60_000, "{listed:#}");
    assert!(listed["watched"]["backups"].as_u64() >= Some(4), "{listed:#}");
    wait_until("the pages to show it", || {
        daemon.page("/").1.contains("watched: all that was committed until ")
    });
    assert!(daemon.page("/").1.contains("At stake"));
    assert!(daemon.page("/schedules").1.contains("watched every 200ms"));
    let jobs: Value = serde_json::from_str(&daemon.page("/api/v1/jobs").1).unwrap();
    assert_eq!(
        (&jobs[0]["watch"], &jobs[0]["watched"]["limit_ms"]),
        (&"200ms".into(), &60_000.into())
    );
    let overview: Value = serde_json::from_str(&daemon.page("/api/v1/overview").1).unwrap();
    assert_eq!(overview["sources"][0]["standing"], "protected", "{overview:#}");
    // A run by hand takes what the watch knows, and the watch goes on from there.
    world.ok(&["schedule", "run", "live", "--detach"]);
    wait_until("its end", || history(&world).iter().any(|it| it["manual"] == true));
    let made = backups(&world);
    wait_until("more backups", || backups(&world) > made + 3);
    let sizes = world.ok(&["list"]);
    let read_all = |it: &&Value| it["bytes_read"] == it["bytes"];
    let all = sizes.as_array().unwrap();
    let gaps = daemon.metric(&format!("mantis_watch_gaps_total{of}")).unwrap() as usize;
    // The first one, and those that put a stack's layers together.
    assert!(all.iter().filter(read_all).count() <= gaps + 2 + all.len() / 4, "{sizes:#}");

    world.ok(&["schedule", "pause", "live"]);
    wait_until("that it stands still", || job(&world)["watched"].is_null());
    let made = backups(&world);
    let there = committed(&db);
    wait_until("transactions", || committed(&db) > there + 200);
    assert_eq!((backups(&world), &job(&world)["paused"]), (made, &Value::Bool(true)));
    world.ok(&["schedule", "resume", "live"]);
    wait_until("that it goes on", || backups(&world) > made);
    drop(writer);
    let last = committed(&db);
    // Once what is at stake is less than the time since, all of it is in a backup.
    wait_until("the last one", || {
        let _ = std::fs::remove_file(world.path("now.db"));
        world.ok(&["restore", "latest", "--to", "now.db"]);
        prove_bank(&world.path("now.db")) == last
    });
    assert!(daemon.stop());
    assert_eq!(prove_all(&world), last);
}

#[test]
fn too_much_at_stake_is_told_and_so_is_the_recovery() {
    let told = "[notifications.n]\non = [\"failure\", \"recovery\"]\n\
         command = { run = 'echo \"$MANTIS_EVENT $MANTIS_SOURCE $MANTIS_MESSAGE\" >> told' }\n";
    let world = watched(&format!(
        "watch = \"200ms\"\nrpo = \"2s\"\nmax_wal = \"4MiB\"\nspool_limit = \"64MiB\"\n{told}"
    ));
    let db = world.path("bank.db");
    let _writer = start_paced_python(&db);
    let daemon = Daemon::start(&world);
    wait_until("a backup", || history(&world).iter().any(|it| is(it, "live/bank", "done")));
    world.take_repository_away();
    // Where the machine is busy, it may have been late before.
    let newest_is =
        |outcome: &str| history(&world).last().is_some_and(|it| is(it, "live/bank", outcome));
    let ok = || daemon.metric("mantis_job_ok{schedule=\"live\"");
    wait_until("that it is told", || newest_is("failed") && ok() == Some(0.0));
    wait_until("that someone is told", || world.path("told").exists());
    let failures = || daemon.metric("mantis_watch_failures_total{schedule=\"live\"");
    wait_until("that a backup fails", || failures() >= Some(1.0));
    let shown = job(&world);
    assert!(shown["watched"]["error"].is_string(), "{shown:#}");
    wait_until("that it counts", || job(&world)["watched"]["exposed_ms"].as_u64() > Some(2000));
    let waiting = || daemon.metric("mantis_watch_queued_moments{schedule=\"live\"");
    let takes = || daemon.metric("mantis_watch_queued_bytes{schedule=\"live\"");
    wait_until("moments to wait", || waiting() >= Some(2.0) && takes() >= Some(1000.0));
    assert!(job(&world)["watched"]["waiting"].as_u64() >= Some(2));
    assert!(daemon.page("/schedules").1.contains(" moments waiting for the store"));
    let there = committed(&db);
    world.bring_repository_back();
    wait_until("that none waits", || waiting() == Some(0.0) && takes() == Some(0.0));
    wait_until("that it is well again", || newest_is("done") && ok() == Some(1.0));
    wait_until("that someone is told of that", || {
        std::fs::read_to_string(world.path("told")).unwrap().contains("recovery bank watched")
    });
    assert!(daemon.stop());
    let told = std::fs::read_to_string(world.path("told")).unwrap();
    assert!(told.starts_with("failure bank what was committed within the last "), "{told}");
    assert!(told.contains("2.0 s are allowed"), "{told}");
    assert!(prove_all(&world) >= there);
}

#[test]
fn a_changed_configuration_begins_and_ends_watches_and_leaves_the_others_alone() {
    let world = watched("sources = [\"bank\"]\n");
    make_bank(&world.path("till.db"), "wal", 4096);
    let daemon = Daemon::start(&world);
    let of = |source: &str| {
        let listed = world.ok(&["list"]);
        listed.as_array().unwrap().iter().filter(|it| it["source"] == source).count()
    };
    let reload = |rest: &str| {
        write(&world, rest);
        daemon.signal("-HUP");
    };
    let _writers = ["bank.db", "till.db"].map(|name| start_python(&world.path(name), false));
    reload("watch = \"200ms\"\nsources = [\"bank\"]\n");
    wait_until("a backup of bank", || of("bank") >= 2);
    let made = || job(&world)["watched"]["backups"].as_u64();
    let before = made();
    let both =
        "watch = \"200ms\"\nsources = [\"bank\", \"till\"]\n[sources.till]\npath = \"till.db\"\n";
    reload(both);
    wait_until("a backup of till", || of("till") >= 1);
    assert!(made() >= before, "the watch of bank went on: {before:?} {:?}", made());
    reload("sources = [\"bank\"]\n");
    wait_until("the end of all watches", || job(&world)["watched"].is_null());
    assert!(
        daemon
            .metric("mantis_rpo_seconds{schedule=\"live\",source=\"bank\"")
            .is_none_or(f64::is_nan)
    );
    // What is killed begins again with the next daemon.
    reload(both);
    wait_until("it to go on", || !job(&world)["watched"].is_null());
    daemon.signal("-KILL");
    drop(daemon);
    let made = of("till");
    let daemon = Daemon::start(&world);
    wait_until("a backup of till", || of("till") > made);
    assert!(daemon.stop());
    world.ok(&["verify"]);
}

#[test]
fn a_database_that_is_not_there_yet_is_watched_once_it_is() {
    let world = watched("watch = \"200ms\"\nrpo = \"1s\"\n");
    std::fs::rename(world.path("bank.db"), world.path("later.db")).unwrap();
    let daemon = Daemon::start(&world);
    wait_until("that it is told", || {
        history(&world).iter().any(|it| is(it, "live/bank", "failed"))
    });
    std::fs::rename(world.path("later.db"), world.path("bank.db")).unwrap();
    wait_until("a backup", || history(&world).iter().any(|it| is(it, "live/bank", "done")));
    assert!(daemon.stop());
    prove_all(&world);
}
