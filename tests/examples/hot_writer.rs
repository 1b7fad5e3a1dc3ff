//! A database that is written without a pause, and what its writer sees: alone, or beside backups from this process.
//!
//! `hot_writer ENGINE PATH SECONDS [REPOSITORY CODEC [RATE]]`: ENGINE is `sqlite` or `sqlite-vfs`, of a database that has a table
//! `t(id integer primary key, k integer, …)`, or `redb`, which is filled first where it is new. With a repository, full backups are made
//! in it, one after another, at RATE MB/s at most. Prints transactions a second, p50, p99, p99.9 and max in milliseconds, the longest WAL in MiB, and how many
//! backups were made.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark that fails has nothing to say")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mantis_backup::cow::CowLimits;
use mantis_backup::engine::redb::{RedbEngine, SnapshotBackend};
use mantis_backup::engine::sqlite::vfs::{SqliteVfsEngine, VFS_NAME, register};
use mantis_backup::{BackupSystem, Builder, init_repository};
use mantis_sink::Chance;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use rusqlite::{Connection, OpenFlags};

/// How long it writes before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);
/// Updates of a transaction.
const UPDATES: usize = 5;
const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("t");
/// Rows of 512 bytes of a redb that is made here.
const ROWS: u64 = 500_000;

/// Commits a transaction.
type Commit = Box<dyn FnMut(&mut Chance) + Send>;
/// What makes a backup of the database, if this process does.
type System = Option<Box<dyn Fn() -> Builder + Send>>;

fn sqlite(path: &Path, vfs: bool) -> (Commit, System) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if vfs {
        register(false, CowLimits::default()).unwrap();
        Connection::open_with_flags_and_vfs(path, flags, VFS_NAME).unwrap()
    } else {
        Connection::open_with_flags(path, flags).unwrap()
    };
    connection.busy_timeout(Duration::from_secs(60)).unwrap();
    connection.pragma_update(None, "synchronous", "normal").unwrap();
    let rows: i64 = connection.query_row("select max(id) from t", [], |row| row.get(0)).unwrap();
    let engine = SqliteVfsEngine::open(path).unwrap();
    let system = move || BackupSystem::builder().engine("hot", engine.clone());
    let commit = move |chance: &mut Chance| {
        connection.execute_batch("begin immediate").unwrap();
        let mut update = connection.prepare_cached("update t set k = ? where id = ?").unwrap();
        for _ in 0..UPDATES {
            let row = chance.index(usize::try_from(rows).unwrap()) as i64 + 1;
            update.execute(((chance.next() >> 32) as i64, row)).unwrap();
        }
        drop(update);
        connection.execute_batch("commit").unwrap();
    };
    (Box::new(commit), if vfs { Some(Box::new(system)) } else { None })
}

fn redb(path: &Path) -> (Commit, System) {
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path).unwrap();
    let backend = SnapshotBackend::new(FileBackend::new(file).unwrap(), CowLimits::default());
    let database = Arc::new(Database::builder().create_with_backend(backend.clone()).unwrap());
    let filled = |database: &Database| {
        let read = database.begin_read().unwrap();
        read.open_table(TABLE).is_ok_and(|table| table.len().unwrap() == ROWS)
    };
    if !filled(&database) {
        let mut chance = Chance::new(1);
        let write = database.begin_write().unwrap();
        let mut table = write.open_table(TABLE).unwrap();
        for row in 0..ROWS {
            table.insert(row, &content(&mut chance)[..]).unwrap();
        }
        drop(table);
        write.commit().unwrap();
    }
    let live = Arc::clone(&database);
    let system = move || {
        let engine = RedbEngine::new("hot", Arc::clone(&live), backend.clone());
        BackupSystem::builder().engine("hot", engine)
    };
    let mut durable_at = Instant::now();
    let commit = move |chance: &mut Chance| {
        let mut write = database.begin_write().unwrap();
        // As SQLite's `normal`: what a crash of the machine takes is the newest commits, those of a second here.
        if durable_at.elapsed() < Duration::from_secs(1) {
            write.set_durability(redb::Durability::None).unwrap();
        } else {
            durable_at = Instant::now();
        }
        let mut table = write.open_table(TABLE).unwrap();
        for _ in 0..UPDATES {
            let row = chance.index(ROWS as usize) as u64;
            table.insert(row, &content(chance)[..]).unwrap();
        }
        drop(table);
        write.commit().unwrap();
    };
    (Box::new(commit), Some(Box::new(system)))
}

/// 512 bytes, half of them like others.
fn content(chance: &mut Chance) -> [u8; 512] {
    let mut bytes = [7; 512];
    for word in bytes[..256].chunks_exact_mut(8) {
        word.copy_from_slice(&chance.next().to_le_bytes());
    }
    bytes
}

fn wal_len(path: &Path) -> u64 {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    std::fs::metadata(wal).map_or(0, |wal| wal.len())
}

/// Writes until it is told to stop; the time of each transaction in milliseconds, but for those at first, and the longest WAL.
fn write(mut commit: Commit, path: PathBuf, stop: &AtomicBool) -> (Vec<f64>, u64) {
    let (mut chance, mut times, mut longest) = (Chance::new(3), Vec::new(), 0);
    let started = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        commit(&mut chance);
        if began.duration_since(started) < WARM_UP {
            continue;
        }
        times.push(began.elapsed().as_secs_f64() * 1e3);
        if times.len() % 128 == 0 {
            longest = longest.max(wal_len(&path));
        }
    }
    (times, longest)
}

/// Makes full backups for some time, one after another, each in a repository of its own below a folder; how many.
fn back_up(system: &dyn Fn() -> Builder, inside: &[String], time: Duration) -> u32 {
    let [folder, codec, rate @ ..] = inside else { panic!("a repository needs a codec") };
    // The backups' threads give way to the writer's, and so does this one, which is one of them.
    mantis_backup::give_way();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .on_thread_start(mantis_backup::give_way)
        .enable_all()
        .build()
        .unwrap();
    let until = Instant::now() + time;
    let mut backups = 0;
    while Instant::now() < until {
        runtime.block_on(async {
            let repo = init_repository(&format!("{folder}/{backups}"), None).await.unwrap();
            let codec = codec.parse().unwrap();
            let mut system = system().repository(repo).compression(codec);
            if let Some(rate) = rate.first() {
                system = system.limit_rate(rate.parse::<u64>().unwrap() * 1_000_000);
            }
            let system = system.build().unwrap();
            system.backup("hot").run().await.unwrap();
        });
        backups += 1;
    }
    backups
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [engine, path, seconds, ..] = words[..] else {
        panic!("hot_writer ENGINE PATH SECONDS [REPOSITORY CODEC [RATE]]")
    };
    let (path, time) = (PathBuf::from(path), Duration::from_secs(seconds.parse().unwrap()));
    let (commit, system) = match engine {
        "sqlite" => sqlite(&path, false),
        "sqlite-vfs" => sqlite(&path, true),
        "redb" => redb(&path),
        _ => panic!("sqlite, sqlite-vfs or redb"),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, written) = (Arc::clone(&stop), path);
    let writer = std::thread::spawn(move || write(commit, written, &stopped));
    std::thread::sleep(WARM_UP);
    let inside = arguments[3..].to_vec();
    let backups = if inside.is_empty() {
        std::thread::sleep(time);
        0
    } else {
        let system = system.unwrap_or_else(|| panic!("{engine} is backed up from outside"));
        let backing_up = std::thread::spawn(move || back_up(&*system, &inside, time));
        backing_up.join().unwrap()
    };
    stop.store(true, Ordering::Relaxed);
    let (mut times, longest) = writer.join().unwrap();
    let took = times.iter().sum::<f64>() / 1e3;
    times.sort_by(f64::total_cmp);
    // In a short time on a slow disk none may have ended.
    let last = times.len().saturating_sub(1);
    let at = |share: f64| {
        let place = ((times.len() as f64 * share) as usize).min(last);
        times.get(place).copied().unwrap_or(f64::NAN)
    };
    println!(
        "{:.0} {:.4} {:.4} {:.4} {:.2} {} {backups}",
        times.len() as f64 / took,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        longest >> 20
    );
}
