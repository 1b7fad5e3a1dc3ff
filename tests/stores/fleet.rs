//! Two daemons share databases through nothing but a bucket, while these are written; one is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mantis_backup::repo::{BackupInfo, Repository};
use mantis_backup::{open_repository, open_snapshot};
use mantis_tests::World;
use mantis_tests::daemon::Daemon;
use mantis_tests::servers::{Kind, Server};
use rusqlite::Connection;

/// How many databases there are, unless `MANTIS_FLEET_DATABASES` says.
const DATABASES: usize = 40;
/// What anything may take; it takes a small part of it. Servers on one machine with all that they serve take their time for thousands.
const PATIENCE: Duration = Duration::from_secs(3000);

/// Looks again and again, without being in the way.
fn until(what: &str, mut done: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(500));
    }
    began.elapsed()
}

fn database(world: &World, number: usize) -> PathBuf {
    world.path(&format!("tenants/{}/{number}.db", number / 100))
}

fn open(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.busy_timeout(Duration::from_secs(60)).unwrap();
    db.pragma_update(None, "synchronous", "off").unwrap();
    db
}

fn make(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = open(path);
    db.pragma_update(None, "journal_mode", "wal").unwrap();
    db.execute_batch("create table t(id integer primary key, doc text)").unwrap();
}

/// Commits a row to one database after another, until told; how many each has then.
fn write(world: &World, count: usize, stop: &AtomicBool) -> Vec<i64> {
    let mut rows = vec![0; count];
    for turn in 0.. {
        // Some much more often than others.
        let number = (turn * turn * 31 + turn) % count;
        let db = open(&database(world, number));
        db.execute("insert into t(doc) values(hex(randomblob(200)))", []).unwrap();
        rows[number] += 1;
        drop(db);
        if stop.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    rows
}

fn member(world: &World, repo: &str, name: &str, lease: u64) -> Daemon {
    let config = format!("{name}.toml");
    let text = format!(
        "state_dir = \"state-{name}\"\nlisten = \"127.0.0.1:0\"\n[repositories.main]\nurl = \"{repo}\"\n\
        [sources.all]\npattern = \"tenants/**/*.db\"\n[schedules.live]\ncron = \"0 0 29 2 *\"\nwatch = \"2s\"\n\
        [fleet]\nlease = \"{lease}s\"\n"
    );
    std::fs::write(world.path(&config), text).unwrap();
    Daemon::start_of(world, &config, &format!("{name}.log"))
}

fn protected(daemon: &Daemon) -> usize {
    daemon.metric("mantis_fleet_protected").map_or(0, |count| count as usize)
}

/// The databases that a daemon watches.
fn watched(daemon: &Daemon) -> BTreeSet<String> {
    let (_, jobs) = daemon.page("/api/v1/jobs");
    let jobs: serde_json::Value = serde_json::from_str(&jobs).unwrap();
    let watched = jobs.as_array().unwrap().iter().filter(|job| job["watched"].is_object());
    watched.map(|job| job["source"].as_str().unwrap().to_owned()).collect()
}

/// Its resident memory, in MiB.
fn resident(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// The newest backup of each database.
async fn newest(repo: &Repository) -> BTreeMap<String, BackupInfo> {
    let catalogue = repo.catalogue_again().await.unwrap();
    assert!(catalogue.unreadable.is_empty());
    // Oldest first.
    catalogue.backups.into_iter().map(|backup| (backup.meta.source.clone(), backup)).collect()
}

/// How many rows a backup has, all of them in their order.
async fn rows(repo: &Repository, backup: &BackupInfo) -> i64 {
    let snapshot = open_snapshot(repo, backup).await.unwrap();
    let asked = tokio::task::spawn_blocking(move || {
        snapshot.query_row("select count(*), coalesce(max(id), 0) from t", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })
    });
    let (count, last) = asked.await.unwrap().unwrap();
    assert_eq!(count, last, "no row is missing in between");
    count
}

/// Waits until the newest backup of each database has all of its rows.
async fn prove(url: &str, expected: &[i64]) -> Duration {
    let began = Instant::now();
    let repo = open_repository(url, &[]).await.unwrap();
    let name = |number: usize| format!("all/{}/{number}.db", number / 100);
    let mut missing: BTreeSet<usize> = (0..expected.len()).collect();
    let mut looked_at = BTreeMap::new();
    while !missing.is_empty() {
        assert!(began.elapsed() < PATIENCE, "{missing:?} are not in backups");
        let newest = newest(&repo).await;
        for number in missing.clone() {
            let Some(backup) = newest.get(&name(number)) else { continue };
            if looked_at.insert(number, backup.id) == Some(backup.id) {
                continue;
            }
            let has = rows(&repo, backup).await;
            assert!(has <= expected[number], "{number}: a row that nobody committed");
            if has == expected[number] {
                missing.remove(&number);
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    began.elapsed()
}

#[test]
#[ignore = "cargo xtask integration, or cargo xtask fleet for as many as you like"]
fn in_s3_two_daemons_share_databases_and_one_is_killed() {
    let count =
        std::env::var("MANTIS_FLEET_DATABASES").map_or(DATABASES, |count| count.parse().unwrap());
    let lease = if count > 200 { 15 } else { 3 };
    // moto, in Python, takes a quarter of an hour for thousands.
    let server = Server::start(if count > 200 { Kind::S3s } else { Kind::Moto });
    let world = World::at(&server.url("repo"));
    world.ok(&["init"]);
    for number in 0..count {
        make(&database(&world, number));
    }
    let url = server.url("repo");
    let first = member(&world, &url, "first", lease);
    let second = member(&world, &url, "second", lease);
    let shared = until("them to share", || {
        let (one, two) = (protected(&first), protected(&second));
        one > 0 && two > 0 && one + two == count
    });
    println!("{count} databases; each has its daemon after {shared:.1?}");
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&world, count, &stop));
        let backed_up = until("a backup of each", || {
            // It reads all that there is, from a server that has others to serve.
            std::thread::sleep(Duration::from_millis(10 * count as u64));
            let status = world.ok(&["fleet", "status"]);
            status["sources"].as_array().unwrap().len() == count
        });
        println!("each has a backup after {backed_up:.1?}");
        // What both have before and after would be watched by two at once.
        let look = || (watched(&first), watched(&second));
        let (before, after) = (look(), look());
        let both = before
            .0
            .intersection(&after.0)
            .filter(|name| before.1.contains(*name) && after.1.contains(*name));
        assert_eq!(both.count(), 0, "none is watched twice");
        println!("they take {} and {} MiB", resident(&first), resident(&second));
        drop(first);
        let taken_over = until("the other to have all", || protected(&second) == count);
        println!("the other has all of them {taken_over:.1?} after one was killed");
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    println!("{} commits", written.iter().sum::<i64>());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let proved = runtime.block_on(prove(&url, &written));
    println!("all of them were in backups {proved:.1?} after the last one");
    println!("the one that is left takes {} MiB", resident(&second));
    assert!(second.stop());
    assert_eq!(world.ok(&["verify", "--metadata-only"])["damaged"].as_array().unwrap().len(), 0);
}
