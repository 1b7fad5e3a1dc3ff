//! A writer with a known history, watched while the watch, the writer and the store are killed or go away at random: every moment that was
//! kept is restored and compared with the history, and while nothing is broken no commit is in no backup for longer than the interval and two
//! seconds.
//!
//! A slice of it runs with every other test, in which the bound is told and not judged, as the machine has others to serve; `cargo xtask
//! watched --minutes N` runs more, and judges.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mantis_backup::parse_time;
use mantis_tests::{World, wait_until};
use serde_json::Value;

/// Each commit is numbered and timed, and what it writes is told by its number alone. The database knows the last thousand of them; when each was is in
/// a file, at the place of its number, so that each of the thousands of backups of an hour is proved in no time.
const WRITER: &str = r"
import os, sqlite3, struct, sys, time
times = os.open(sys.argv[1] + '-times', os.O_WRONLY | os.O_CREAT)
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
db.execute('pragma synchronous=normal')
n = db.execute('select coalesce(max(n), 0) from history').fetchone()[0]
while True:
    n += 1
    db.execute('begin immediate')
    db.execute('insert or replace into t values (?, ?, ?)', (n * 7919 % 5000, n, str(n) * (n % 40)))
    db.execute('insert into history values (?)', (n,))
    db.execute('delete from history where n <= ?', (n - 1000,))
    os.pwrite(times, struct.pack('<d', time.time()), n * 8)
    db.execute('commit')
    time.sleep(0.001)
";

const EVERY: Duration = Duration::from_secs(1);
/// The bound that is promised, beyond the interval.
const SLACK: Duration = Duration::from_secs(2);

/// A process that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// When a backup was told of, its id, and of when it is.
type Told = Arc<Mutex<Vec<(f64, String, f64)>>>;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn start_writer(db: &Path) -> Killed {
    Killed(Command::new("python3").args(["-c", WRITER]).arg(db).spawn().unwrap())
}

fn start_watch(world: &World, told: &Told) -> Killed {
    let arguments = ["--every", "1s", "--max-wal", "4MiB", "--spool-limit", "64MiB"];
    let mut command = world.command(&[&["watch", "known.db"], &arguments[..]].concat());
    let log =
        std::fs::OpenOptions::new().append(true).create(true).open(world.path("log")).unwrap();
    let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let (told, lines) = (Arc::clone(told), BufReader::new(child.stdout.take().unwrap()));
    std::thread::spawn(move || {
        let lines = lines.lines().map_while(Result::ok);
        for event in lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok()) {
            if event["event"] == "backup" {
                let id = event["backup"]["id"].as_str().unwrap().to_owned();
                let of = parse_time(event["backup"]["created_at"].as_str().unwrap()).unwrap();
                told.lock().unwrap().push((now(), id, of.0 as f64 / 1000.0));
            }
        }
    });
    Killed(child)
}

/// Proves that a restored database is the history up to one commit; which.
fn prove(path: &Path) -> i64 {
    let db = rusqlite::Connection::open(path).unwrap();
    let check: String = db.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let (count, last): (i64, i64) = db
        .query_row("select count(*), coalesce(max(n), 0) from history", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(count, last.min(1000), "the history has gaps");
    let wanted: HashMap<i64, i64> =
        (1.max(last - 4999)..=last).map(|n| (n * 7919 % 5000, n)).collect();
    let mut rows = db.prepare("select id, n, v from t").unwrap();
    let mut rows = rows.query([]).unwrap();
    let mut found = 0;
    while let Some(row) = rows.next().unwrap() {
        let (id, n): (i64, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
        assert_eq!(wanted.get(&id), Some(&n), "row {id} is not of commit {last}");
        assert_eq!(row.get::<_, String>(2).unwrap(), n.to_string().repeat((n % 40) as usize));
        found += 1;
    }
    assert_eq!(found, wanted.len());
    last
}

/// A small generator: which thing is broken when need not be good, only the same each time.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn no_kept_moment_is_another_one() {
    eprintln!("at stake for {:?} at most", live_through(Duration::from_secs(30)));
}

#[test]
#[ignore = "takes as long as told: cargo xtask watched"]
fn little_is_ever_at_stake_in_minutes_of_watching() {
    let minutes = std::env::var("MANTIS_WATCHED_MINUTES").unwrap_or_default();
    let minutes: u64 = minutes.parse().expect("MANTIS_WATCHED_MINUTES is a number");
    let longest = live_through(Duration::from_secs(60 * minutes));
    assert!(longest <= EVERY + SLACK, "{longest:?}");
}

/// Lives through so long a time and proves all that is kept of it; for how long a commit was in no backup, while nothing was broken.
fn live_through(time: Duration) -> Duration {
    let world = World::new();
    let db = world.path("known.db");
    rusqlite::Connection::open(&db)
        .unwrap()
        .execute_batch(
            "pragma journal_mode=wal;
             create table t(id integer primary key, n integer, v text);
             create table history(n integer primary key);",
        )
        .unwrap();
    let told: Told = Arc::default();
    let mut writer = start_writer(&db);
    let mut watch = start_watch(&world, &told);
    let end = Instant::now() + time;
    let mut state = 2026;
    let mut broken: Vec<(f64, f64)> = Vec::new();
    let mut kills = [0; 3];
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(3000 + next(&mut state) % 4000));
        let from = now();
        let what = (next(&mut state) % 3) as usize;
        kills[what] += 1;
        match what {
            0 => {
                drop(writer);
                writer = start_writer(&db);
            }
            1 => {
                drop(watch);
                watch = start_watch(&world, &told);
            }
            _ => {
                world.take_repository_away();
                std::thread::sleep(Duration::from_millis(next(&mut state) % 3000));
                world.bring_repository_back();
            }
        }
        if what > 0 {
            // Until the first backup of a moment after it: those that waited come before.
            let back = now();
            let after = |told: &(f64, String, f64)| told.2 >= back;
            wait_until("a backup", || told.lock().unwrap().iter().any(after));
            broken.push((from, now()));
        }
    }
    drop(writer);
    let last: i64 = rusqlite::Connection::open(&db)
        .unwrap()
        .query_row("select max(n) from history", [], |row| row.get(0))
        .unwrap();
    let times = std::fs::read(world.path("known.db-times")).unwrap();
    // Of one that was killed before it committed, the time is that of its next try.
    let time_of = |n: i64| {
        let at = usize::try_from(n).unwrap() * 8;
        f64::from_le_bytes(times[at..at + 8].try_into().unwrap())
    };
    std::thread::sleep(Duration::from_secs(3));
    drop(watch);
    let listed = world.ok(&["list"]);
    let mut held: HashMap<String, i64> = HashMap::new();
    let mut newest = 0;
    for backup in listed.as_array().unwrap() {
        let id = backup["id"].as_str().unwrap();
        world.ok(&["restore", id, "--to", "then.db"]);
        let up_to = prove(&world.path("then.db"));
        assert!(up_to >= newest, "a later backup is of an earlier moment");
        newest = up_to;
        held.insert(id.to_owned(), up_to);
        std::fs::remove_file(world.path("then.db")).unwrap();
    }
    assert_eq!(newest, last, "what was committed last is in no backup");
    let told = told.lock().unwrap().clone();
    assert!(
        told.iter().all(|(_, id, _)| held.contains_key(id)),
        "a backup that was told of is gone"
    );
    // Just before a backup is told of, the oldest commit that it has and the one before it has not was at stake.
    let mut longest = Duration::ZERO;
    for pair in told.windows(2) {
        let ((before, old, _), (at, ..)) = (&pair[0], &pair[1]);
        let apart = broken.iter().all(|(from, to)| *to < *before || *from > *at);
        if apart && held[old] < last {
            let first = time_of(held[old] + 1);
            longest = longest.max(Duration::from_secs_f64((at - first).max(0.0)));
        }
    }
    eprintln!(
        "{} backups, {last} commits; killed {} writers, {} watches, took the store away {} times; at stake for {longest:?} at most",
        held.len(),
        kills[0],
        kills[1],
        kills[2],
    );
    longest
}
