//! SQLite in process: snapshots by before-images, checkpoints that go on, changed pages that are never
//! missed, and foreign writers that are noticed.
#![cfg(feature = "sqlite")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mantis_cow::CowLimits;
use mantis_engine::sqlite::check_database;
use mantis_engine::sqlite::vfs::{SqliteVfsEngine, VFS_NAME, register};
use mantis_page::PageNo;
use mantis_snapshot::conformance::{Subject, check_engine};
use mantis_snapshot::{
    CancelFlag, Coordinator, Engine, FreezeWay, Outcome, Snapshot, SnapshotConfig, SnapshotError,
    SnapshotToken,
};
use rusqlite::{Connection, OpenFlags, params};

fn open(path: &Path, vfs: &str) -> Connection {
    // Little memory, so that some images are spilled.
    register(false, CowLimits { memory: 256 << 10, ..CowLimits::default() }).unwrap();
    let connection = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), vfs).unwrap();
    connection.busy_timeout(Duration::from_secs(20)).unwrap();
    connection
}

fn create(path: &Path, page_size: u32, mode: &str) -> Connection {
    let connection = open(path, VFS_NAME);
    connection.pragma_update(None, "page_size", page_size).unwrap();
    connection.pragma_update(None, "journal_mode", mode).unwrap();
    connection
        .execute_batch(
            "create table log(seq integer primary key, body blob);
             create table state(seq integer, total integer);
             insert into state values(0, 0);",
        )
        .unwrap();
    connection
}

fn commit(connection: &mut Connection, seq: i64) {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let body = vec![seq as u8; 200 + (seq as usize * 37) % 4000];
    transaction.execute("insert into log values(?, ?)", params![seq, body]).unwrap();
    transaction.execute("delete from log where seq < ?", [seq - 60]).unwrap();
    transaction.execute("update log set body = ? where seq = ?", params![body, seq - 30]).unwrap();
    transaction
        .execute("update state set seq = ?, total = (select sum(length(body)) from log)", [seq])
        .unwrap();
    transaction.commit().unwrap();
}

fn commit_of(path: &Path) -> Result<i64, String> {
    check_database(path).map_err(|error| format!("{error:?}"))?;
    let connection = Connection::open(path).unwrap();
    let read = connection.query_row(
        "select seq, total, (select sum(length(body)) from log), (select max(seq) from log) from state",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?, row.get::<_, Option<i64>>(3)?)),
    );
    let (seq, total, sum, max): (i64, i64, _, _) = read.map_err(|error| error.to_string())?;
    let right = sum.unwrap_or(0) == total && max.unwrap_or(0) == seq;
    if right {
        Ok(seq)
    } else {
        Err(format!("state says {seq} and {total}, the rows {max:?} and {sum:?}"))
    }
}

struct Sqlite {
    folder: tempfile::TempDir,
    path: PathBuf,
    connection: Connection,
    seq: i64,
}

impl Sqlite {
    fn new(page_size: u32, mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let connection = create(&path, page_size, mode);
        Self { folder, path, connection, seq: 0 }
    }
}

impl Subject for Sqlite {
    fn engine(&self) -> Box<dyn Engine> {
        Box::new(SqliteVfsEngine::open(&self.path).unwrap())
    }

    fn commit(&mut self) -> u64 {
        self.seq += 1;
        commit(&mut self.connection, self.seq);
        match self.seq % 11 {
            2 => self.connection.execute_batch("pragma wal_checkpoint(passive)").unwrap(),
            5 => self.connection.execute_batch("vacuum").unwrap(),
            8 => self.connection.execute_batch("pragma wal_checkpoint(truncate)").unwrap(),
            9 => self
                .connection
                .execute_batch("begin; update log set body = zeroblob(9000); update state set seq = -1; rollback")
                .unwrap(),
            _ => {}
        }
        self.seq as u64
    }

    fn commit_of(&self, image: &[u8]) -> Result<u64, String> {
        let path = self.folder.path().join("image.db");
        std::fs::write(&path, image).unwrap();
        commit_of(&path).map(|seq| seq as u64)
    }
}

#[test]
fn wal_mode_passes_the_conformance_suite_at_every_page_size() {
    for bits in 9..=16 {
        check_engine(&mut Sqlite::new(1 << bits, "wal"));
    }
}

#[test]
fn rollback_modes_pass_the_conformance_suite() {
    for (mode, page_size) in [("delete", 4096), ("truncate", 512), ("persist", 65536)] {
        check_engine(&mut Sqlite::new(page_size, mode));
    }
}

fn begin(path: &Path, baseline: Option<SnapshotToken>) -> Result<Snapshot, SnapshotError> {
    let engine = SqliteVfsEngine::open(path)?;
    Coordinator::new(SnapshotConfig::default()).begin("db", &engine, baseline, &CancelFlag::new())
}

fn read(snapshot: &Snapshot) -> Result<Vec<u8>, SnapshotError> {
    let geometry = snapshot.geometry();
    let mut bytes = vec![0; geometry.byte_len as usize];
    for (at, page) in bytes.chunks_mut(geometry.page_size.bytes()).enumerate() {
        snapshot.read_pages(PageNo::from_index(at as u64).unwrap(), page)?;
    }
    Ok(bytes)
}

fn seq_of(bytes: &[u8]) -> i64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.db");
    std::fs::write(&path, bytes).unwrap();
    commit_of(&path).unwrap()
}

#[test]
fn checkpoints_go_on_and_the_wal_stays_small_while_a_snapshot_is_held() {
    let mut db = Sqlite::new(4096, "wal");
    db.connection.pragma_update(None, "wal_autocheckpoint", 50).unwrap();
    for _ in 0..50 {
        db.commit();
    }
    let snapshot = begin(&db.path, None).unwrap();
    assert_eq!(snapshot.point().way, FreezeWay::CopyOnWrite);
    for _ in 0..1500 {
        db.seq += 1;
        commit(&mut db.connection, db.seq);
    }
    let wal = std::fs::metadata(db.path.with_extension("db-wal")).unwrap().len();
    assert!(wal < 4 << 20, "the WAL grew to {wal} bytes");
    assert_eq!(seq_of(&read(&snapshot).unwrap()), 50);
    snapshot.finish(Outcome::Committed).unwrap();
}

#[test]
fn an_incremental_knows_its_pages_and_they_are_few() {
    let mut db = Sqlite::new(4096, "wal");
    db.connection
        .execute_batch("create table big(b); with recursive n(i) as (select 0 union all select i+1 from n where i < 2000) insert into big select randomblob(2000) from n")
        .unwrap();
    db.commit();
    let token = begin(&db.path, None).unwrap().finish(Outcome::Committed).unwrap();
    db.commit();
    let snapshot = begin(&db.path, token).unwrap();
    let changed = snapshot.changed().unwrap().expect("changes are known");
    assert!(
        changed.len() < 20 && snapshot.geometry().page_count > 900,
        "{} pages changed",
        changed.len()
    );
}

/// A connection that is not of the VFS is to us what another process is.
fn stranger(path: &Path) -> Connection {
    open(path, "unix")
}

#[test]
fn a_foreign_commit_or_checkpoint_loses_the_snapshot_and_the_next_is_right() {
    for mode in ["wal", "delete"] {
        for checkpoint in [false, true] {
            let mut db = Sqlite::new(4096, mode);
            for _ in 0..5 {
                db.commit();
            }
            let token = begin(&db.path, None).unwrap().finish(Outcome::Committed).unwrap();
            let snapshot = begin(&db.path, token.clone()).unwrap();
            let mut foreign = stranger(&db.path);
            if checkpoint && mode == "wal" {
                foreign.execute_batch("pragma wal_checkpoint(passive)").unwrap();
            } else {
                db.seq += 1;
                commit(&mut foreign, db.seq);
            }
            drop(foreign);
            // Ours go on after it, and must not cover it up.
            db.commit();
            db.commit();
            assert!(
                matches!(snapshot.finish(Outcome::Committed), Err(SnapshotError::Lost { .. })),
                "{mode} {checkpoint}"
            );
            let next = begin(&db.path, token).unwrap();
            assert_eq!(
                next.changed().unwrap(),
                None,
                "nothing is known of what the stranger changed"
            );
            assert_eq!(seq_of(&read(&next).unwrap()), db.seq);
            next.finish(Outcome::Committed).unwrap();
            let after = begin(&db.path, None).unwrap();
            assert_eq!(after.point().way, FreezeWay::CopyOnWrite, "the stranger is gone");
        }
    }
}

#[test]
fn without_the_vfs_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    std::fs::write(&path, "").unwrap();
    register(false, CowLimits::default()).unwrap();
    assert!(SqliteVfsEngine::open(folder.path().join("none")).is_err());
    begin(&path, None).unwrap();
}

#[test]
fn snapshots_beside_threads_that_write_and_checkpoint_are_moments() {
    for mode in ["wal", "delete"] {
        let db = Sqlite::new(1024, mode);
        let stop = Arc::new(AtomicBool::new(false));
        let spawn = |work: fn(&mut Connection, &mut i64)| {
            let (path, stop) = (db.path.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut connection = open(&path, VFS_NAME);
                let mut seq = 0;
                while !stop.load(Ordering::Relaxed) {
                    work(&mut connection, &mut seq);
                }
                seq
            })
        };
        let writer = spawn(|connection, seq| {
            *seq += 1;
            commit(connection, *seq);
        });
        let checkpointer = spawn(|connection, turn| {
            *turn += 1;
            let how = ["passive", "full", "restart", "truncate"][*turn as usize % 4];
            let _ = connection.execute_batch(&format!("pragma wal_checkpoint({how})"));
            std::thread::sleep(Duration::from_millis(3));
        });
        let (mut last, mut old, mut token) = (0, Vec::new(), None);
        for _ in 0..80 {
            let snapshot = begin(&db.path, token.clone()).unwrap();
            assert_eq!(snapshot.point().way, FreezeWay::CopyOnWrite);
            let new = read(&snapshot).unwrap();
            let seq = seq_of(&new);
            assert!(seq >= last, "time ran backwards");
            if let Some(changed) = snapshot.changed().unwrap() {
                let pages = old.chunks(1024).zip(new.chunks(1024)).zip(1u64..);
                for ((old, new), page) in pages {
                    let page = PageNo::new(page).unwrap();
                    assert!(old == new || changed.contains(page), "page {page} changed unseen");
                }
            } else {
                assert!(token.is_none());
            }
            token = snapshot.finish(Outcome::Committed).unwrap();
            (last, old) = (seq, new);
        }
        stop.store(true, Ordering::Relaxed);
        checkpointer.join().unwrap();
        assert!(writer.join().unwrap() >= last && last > 0);
    }
}

#[test]
fn whether_something_was_committed_since_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut connection = create(&path, 4096, "wal");
    commit(&mut connection, 1);
    let engine = SqliteVfsEngine::open(&path).unwrap();
    let idle = || engine.is_idle().unwrap();
    let take = |outcome| {
        let coordinator = Coordinator::new(SnapshotConfig::default());
        let snapshot = coordinator.begin("a", &engine, None, &CancelFlag::new()).unwrap();
        read(&snapshot).unwrap();
        snapshot.finish(outcome).unwrap();
    };
    assert!(!idle(), "nothing is stored yet");
    take(Outcome::Committed);
    assert!(idle());
    connection.execute_batch("pragma wal_checkpoint(passive)").unwrap();
    assert!(idle(), "a checkpoint commits nothing");
    commit(&mut connection, 2);
    assert!(!idle());
    take(Outcome::Aborted);
    assert!(!idle(), "it is not stored");
    take(Outcome::Committed);
    assert!(idle());
    connection.execute_batch("pragma wal_checkpoint(restart)").unwrap();
    commit(&mut connection, 3);
    assert!(!idle(), "in a WAL that was begun anew");
    take(Outcome::Committed);
    let stranger = stranger(&path);
    stranger.execute("update state set total = total + 1", []).unwrap();
    assert!(!idle(), "another process commits");
    connection.pragma_update(None, "wal_autocheckpoint", 1000).unwrap();
}
