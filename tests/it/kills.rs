//! `mantis serve` for real, killed again and again while a database is written: nothing is missed that the policy for missed runs
//! promises, every backup that it says it made is there, and restores.
//!
//! A slice of it runs with every other test; `cargo xtask kills` runs ten minutes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mantis_tests::daemon::{Daemon, history};
use mantis_tests::{World, make_bank, prove_bank, start_python, wait_until};
use serde_json::Value;

const CONFIG: &str = r#"
state_dir = "state"
timezone = "UTC"
max_running = 4
[repositories.main]
url = "repo"
[sources.bank]
path = "bank.db"
[schedules.all]
cron = "* * * * *"
missed = "all"
name = "all"
full = true
limit_rate = "2MB/s"
compression = "none"
[schedules.once]
cron = "* * * * *"
missed = "once"
name = "once"
full = true
limit_rate = "1MB/s"
compression = "none"
[schedules.skip]
cron = "* * * * *"
missed = "skip"
name = "skip"
[schedules.verify]
cron = "* * * * *"
do = "verify"
[schedules.drill]
cron = "* * * * *"
do = "drill"
name = "all"
attempts = 1
[schedules.prune]
cron = "*/2 * * * *"
do = "prune"
"#;

/// The minute of a time in RFC 3339, since 1970.
fn minute(time: &Value) -> i64 {
    let time = mantis_backup::parse_time(time.as_str().unwrap()).unwrap();
    time.0.div_euclid(60_000)
}

fn now() -> i64 {
    mantis_backup::now().0.div_euclid(60_000)
}

/// Minutes whose run of a job was done.
fn done(records: &[Value], job: &str) -> BTreeSet<i64> {
    let of_job =
        records.iter().filter(|record| record["job"] == job && record["outcome"] == "done");
    of_job.map(|record| minute(&record["scheduled"])).collect()
}

fn sleep(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}

/// Lives through `seconds`, in which the daemon is killed so often; then lets it make up for what it owes, and looks.
fn live(seconds: u64, kills: u32) {
    let world = World::new();
    std::fs::write(world.path("mantis.toml"), CONFIG).unwrap();
    let bank = world.path("bank.db");
    make_bank(&bank, "wal", 4096);
    rusqlite::Connection::open(&bank)
        .unwrap()
        .execute_batch("create table big(b); insert into big values(randomblob(12000000));")
        .unwrap();
    let writer = start_python(&bank, false);
    let (began, first) = (Instant::now(), now() + 1);
    let mut daemon = Daemon::start(&world);
    let period = seconds as f64 / f64::from(kills);
    for kill in 0..kills {
        // Somewhere in its share of the time, so that some kills hit runs and some hit nothing; down for up to 70 seconds.
        let share = f64::from(kill * 37 % 100) / 100.0;
        let at = period * (f64::from(kill) + 0.15 + 0.5 * share);
        sleep((at - began.elapsed().as_secs_f64()).max(1.0));
        let pid = daemon.pid();
        daemon.signal("-KILL");
        drop(daemon);
        sleep(2.0 + (period * 0.3).min(68.0) * share);
        daemon = Daemon::start(&world);
        assert_ne!(daemon.pid(), pid);
    }
    sleep((seconds as f64 - began.elapsed().as_secs_f64()).max(0.0));
    // What was due until now is owed.
    let last = now();
    let jobs = ["all/bank", "once/bank", "skip/bank"];
    wait_until_owed(&world, "all/bank", first, last);
    wait_until("the last of once", || done(&history(&world), "once/bank").last() >= Some(&last));
    assert!(daemon.stop());
    drop(writer);

    let records = history(&world);
    let interrupted = records.iter().filter(|record| record["outcome"] == "interrupted").count();
    eprintln!("{} records, {interrupted} interrupted, minutes {first} to {last}", records.len());
    let expected: BTreeSet<i64> = (first..=last).collect();
    let of_all: BTreeSet<i64> =
        done(&records, "all/bank").into_iter().filter(|at| *at <= last).collect();
    assert_eq!(of_all, expected, "missed = all: every minute has its backup");
    // What has no run of its own was missed or dropped, and each gap of `once` ends with a run.
    for job in &jobs[1..] {
        let of_job: Vec<&Value> = records.iter().filter(|record| record["job"] == *job).collect();
        for at in first..=last {
            let accounted = of_job.iter().any(|record| match record["outcome"].as_str() {
                Some("missed") => {
                    minute(&record["scheduled"]) <= at && minute(&record["began"]) >= at
                }
                Some(_) => minute(&record["scheduled"]) == at,
                None => false,
            });
            assert!(accounted, "{job}: nothing is known of minute {at}: {of_job:#?}");
        }
    }
    let missed: Vec<&Value> = records
        .iter()
        .filter(|record| record["job"] == "once/bank" && record["outcome"] == "missed")
        .collect();
    for gap in missed {
        let from = minute(&gap["scheduled"]);
        assert!(
            done(&records, "once/bank").range(from..).next().is_some(),
            "a gap of once stays open: {gap:#}"
        );
    }
    prove(&world, &records);
}

/// Waits until every minute has its run: as long as that goes forward.
fn wait_until_owed(world: &World, job: &str, first: i64, last: i64) {
    let owed = |world: &World| {
        (first..=last).filter(|at| !done(&history(world), job).contains(at)).count()
    };
    let mut left = owed(world);
    while left > 0 {
        wait_until("one more of what is owed", || owed(world) < left);
        left = owed(world);
    }
}

/// Every backup that the history has is in the repository, all of which is whole; each source's newest one is one moment.
fn prove(world: &World, records: &[Value]) {
    let list = world.ok(&["list"]);
    let there: BTreeSet<&str> =
        list.as_array().unwrap().iter().filter_map(|backup| backup["id"].as_str()).collect();
    let made =
        records.iter().filter(|record| record["do"] == "backup" && record["outcome"] == "done");
    for id in made.filter_map(|record| record["backup"].as_str()) {
        assert!(there.contains(id), "{id} was made and is not there");
    }
    assert_eq!(world.ok(&["verify"])["damaged"].as_array().unwrap().len(), 0);
    for source in ["all", "once", "skip"] {
        let target = format!("{source}.out");
        world.ok(&["restore", "latest", "--source", source, "--to", &target, "--check"]);
        assert!(prove_bank(&world.path(&target)) > 20);
    }
    assert_eq!(
        std::fs::read_dir(world.path("state/tmp")).unwrap().count(),
        0,
        "a drill left something"
    );
}

#[test]
fn a_daemon_that_is_killed_misses_nothing_that_it_owes() {
    live(130, 2);
}

#[test]
#[ignore = "takes more than ten minutes: cargo xtask kills"]
fn ten_minutes_and_five_kills() {
    live(600, 5);
}
