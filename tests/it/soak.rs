//! The daemon for a long while: live databases, schedules of every minute, retention, freeing, proofs and drills at once. Its memory, its
//! open files, its temporary files and the repository stay as they are once it runs.
//!
//! Two minutes of it run with every other test, too few for a trend; `cargo xtask soak --minutes N` runs more.

use std::path::Path;
use std::time::{Duration, Instant};

use mantis_tests::daemon::{Daemon, history};
use mantis_tests::{World, make_bank, prove_bank, start_python};

const CONFIG: &str = r#"
state_dir = "state"
timezone = "UTC"
max_running = 3
[repositories.main]
url = "repo"
max_unused = "5%"
grace = "1m"
[repositories.replica]
url = "replica"
[sources.wal]
path = "wal.db"
[sources.journal]
path = "journal.db"
[sources.big]
path = "big.db"
[retention.few]
keep_last = 6
[schedules.save]
cron = "* * * * *"
repository = "main"
retention = "few"
copy_to = ["replica"]
[schedules.prove]
cron = "*/2 * * * *"
repository = "main"
do = "verify"
[schedules.try]
cron = "*/3 * * * *"
repository = "main"
do = "drill"
[schedules.free]
cron = "*/2 * * * *"
repository = "main"
do = "prune"
"#;

/// What is looked at, at one time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Memory of the daemon's own, without what of files is mapped, in KiB.
    memory: u64,
    /// Its open files.
    files: u64,
    /// Bytes of the repository.
    stored: u64,
}

fn bytes_of(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        // Freed a moment ago.
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

fn sample(daemon: &Daemon, world: &World) -> Sample {
    let process = format!("/proc/{}", daemon.pid());
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let files = std::fs::read_dir(format!("{process}/fd")).unwrap().count() as u64;
    Sample {
        memory: memory.trim().trim_end_matches(" kB").parse().unwrap(),
        files,
        stored: bytes_of(&world.path("repo")),
    }
}

fn median(samples: &[Sample], of: fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Lives for so many minutes; the samples.
fn live(minutes: u64) -> Vec<Sample> {
    let world = World::new();
    std::fs::write(world.path("mantis.toml"), CONFIG).unwrap();
    make_bank(&world.path("wal.db"), "wal", 4096);
    make_bank(&world.path("journal.db"), "delete", 1024);
    make_bank(&world.path("big.db"), "wal", 8192);
    rusqlite::Connection::open(world.path("big.db"))
        .unwrap()
        .execute_batch("create table big(b); insert into big values(randomblob(40000000));")
        .unwrap();
    let writers =
        ["wal.db", "journal.db", "big.db"].map(|name| start_python(&world.path(name), false));
    // A drill that is due first needs a backup.
    world.ok(&["backup", "wal.db", "journal.db", "big.db"]);
    let daemon = Daemon::start(&world);
    let (began, mut samples) = (Instant::now(), Vec::new());
    while began.elapsed() < Duration::from_secs(60 * minutes + 10) {
        std::thread::sleep(Duration::from_secs(5));
        samples.push(sample(&daemon, &world));
    }
    drop(writers);
    let records = history(&world);
    let failed: Vec<_> = records.iter().filter(|record| record["outcome"] == "failed").collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(records.len() as u64 >= minutes, "{} runs in {minutes} minutes", records.len());
    assert!(daemon.stop());
    eprintln!("{} runs", records.len());
    assert_eq!(world.ok(&["verify"])["damaged"].as_array().unwrap().len(), 0);
    for source in ["wal", "journal", "big"] {
        let to = format!("{source}.out");
        world.ok(&["restore", "latest", "--source", source, "--to", &to, "--check"]);
        assert!(prove_bank(&world.path(&to)) > 20);
    }
    world.ok(&["prune"]);
    for folder in ["state/tmp", "repo/.tmp", "replica/.tmp"] {
        let left = std::fs::read_dir(world.path(folder)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{folder} has something left in it");
    }
    samples
}

#[test]
fn two_minutes_leave_nothing_behind() {
    live(2);
}

#[test]
#[ignore = "takes as long as it is told: cargo xtask soak --minutes N"]
fn for_as_long_as_told() {
    let minutes = std::env::var("MANTIS_SOAK_MINUTES").unwrap_or_default();
    let minutes: u64 = minutes.parse().expect("MANTIS_SOAK_MINUTES is a number");
    assert!(minutes >= 12, "fewer than 12 minutes show no trend");
    let samples = live(minutes);
    // What it takes to fill caches and to reach the number of backups that are kept comes first.
    let steady = &samples[samples.len() / 3..];
    let (before, after) = steady.split_at(steady.len() / 2);
    let mut report =
        String::from("what | middle third | last third | most\n--- | --- | --- | ---\n");
    let mut check = |what: &str, of: fn(&Sample) -> u64, allowed: fn(u64) -> u64| {
        let (then, now) = (median(before, of), median(after, of));
        let most = samples.iter().map(of).max().unwrap_or(0);
        report.push_str(&format!("{what} | {then} | {now} | {most}\n"));
        (now <= allowed(then))
            .then_some(())
            .ok_or_else(|| format!("{what} grew from {then} to {now}"))
    };
    let checks = [
        check("memory of its own, KiB", |sample| sample.memory, |then| then + then / 4 + 8192),
        check("open files", |sample| sample.files, |then| then + 4),
        check("bytes stored", |sample| sample.stored, |then| then + then / 4),
    ];
    eprintln!("{minutes} minutes, {} samples\n{report}", samples.len());
    let by_minute = samples.chunks(12).map(|minute| median(minute, |sample| sample.memory) / 1024);
    eprintln!("memory of its own by the minute, MiB: {:?}", by_minute.collect::<Vec<_>>());
    for check in checks {
        check.unwrap();
    }
}
