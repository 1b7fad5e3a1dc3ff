//! SQLite from outside: every page size and journal mode, through the conformance suite and through
//! the odd corners.
#![cfg(feature = "sqlite")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use mantis_engine::sqlite::{JournalLock, SqliteEngine, SqliteOptions, check_database};
use mantis_page::PageNo;
use mantis_snapshot::conformance::{Subject, check_engine};
use mantis_snapshot::{
    CancelFlag, Coordinator, Engine, Outcome, Snapshot, SnapshotConfig, SnapshotError,
    SnapshotToken,
};
use rusqlite::{Connection, params};

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(20)).unwrap();
    connection
}

fn create(path: &Path, page_size: u32, mode: &str) -> Connection {
    let connection = open(path);
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
    let transaction = connection.transaction().unwrap();
    let body = vec![seq as u8; 200 + (seq as usize * 37) % 4000];
    transaction.execute("insert into log values(?, ?)", params![seq, body]).unwrap();
    transaction.execute("delete from log where seq < ?", [seq - 40]).unwrap();
    transaction
        .execute("update state set seq = ?, total = (select sum(length(body)) from log)", [seq])
        .unwrap();
    transaction.commit().unwrap();
}

/// The last commit of a database file, its invariants checked.
fn commit_of(path: &Path) -> Result<i64, String> {
    check_database(path).map_err(|error| format!("{error:?}"))?;
    let connection = open(path);
    let read = connection.query_row(
        "select seq, total, (select sum(length(body)) from log), (select max(seq) from log) from state",
        [],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?, row.get::<_, Option<i64>>(3)?)),
    );
    let (seq, total, sum, max) = read.map_err(|error| error.to_string())?;
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
    options: SqliteOptions,
}

impl Sqlite {
    fn new(page_size: u32, mode: &str, options: SqliteOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a database \u{e9}?.db");
        let connection = create(&path, page_size, mode);
        Self { folder, path, connection, seq: 0, options }
    }
}

impl Subject for Sqlite {
    fn engine(&self) -> Box<dyn Engine> {
        Box::new(SqliteEngine::with_options(&self.path, self.options).unwrap())
    }

    fn commit(&mut self) -> u64 {
        self.seq += 1;
        commit(&mut self.connection, self.seq);
        match self.seq % 11 {
            3 => self.connection.execute_batch("pragma wal_checkpoint(passive)").unwrap(),
            7 => self.connection.execute_batch("vacuum").unwrap_or_default(),
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
        check_engine(&mut Sqlite::new(1 << bits, "wal", SqliteOptions::default()));
    }
}

#[test]
fn rollback_modes_pass_the_conformance_suite() {
    for (mode, page_size) in [("delete", 4096), ("truncate", 512), ("persist", 65536)] {
        check_engine(&mut Sqlite::new(page_size, mode, SqliteOptions::default()));
    }
}

fn begin(path: &Path, options: SqliteOptions) -> Result<Snapshot, SnapshotError> {
    let config =
        SnapshotConfig { freeze_timeout: Duration::from_millis(400), ..SnapshotConfig::default() };
    let engine = SqliteEngine::with_options(path, options)?;
    Coordinator::new(config).begin("db", &engine, None, &CancelFlag::new())
}

fn image(snapshot: &Snapshot) -> Vec<u8> {
    let geometry = snapshot.geometry();
    let mut bytes = vec![0; (geometry.page_count * u64::from(geometry.page_size.get())) as usize];
    if !bytes.is_empty() {
        snapshot.read_pages(PageNo::FIRST, &mut bytes).unwrap();
    }
    bytes
}

fn seq_of(snapshot: &Snapshot) -> i64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.db");
    std::fs::write(&path, image(snapshot)).unwrap();
    commit_of(&path).unwrap()
}

#[test]
fn holding_the_lock_keeps_writers_out_and_spooling_does_not() {
    let mut db = Sqlite::new(4096, "delete", SqliteOptions::default());
    db.commit();
    db.connection.busy_timeout(Duration::ZERO).unwrap();
    let hold = SqliteOptions { journal_lock: JournalLock::Hold, ..SqliteOptions::default() };
    let held = begin(&db.path, hold).unwrap();
    assert!(db.connection.execute("update state set seq = 99", []).is_err());
    assert_eq!(seq_of(&held), 1);
    let so_far = held.writers_held();
    std::thread::sleep(Duration::from_millis(5));
    assert!(held.writers_held() >= so_far + Duration::from_millis(5), "as long as it is read");
    held.finish(Outcome::Committed).unwrap();
    let spooled = begin(&db.path, SqliteOptions::default()).unwrap();
    db.commit();
    assert_eq!(seq_of(&spooled), 1);
    assert!(!spooled.point().writers_held.is_zero());
    assert_eq!(spooled.writers_held(), spooled.point().writers_held, "and no longer");
    let refuse = SqliteOptions { journal_lock: JournalLock::Refuse, ..SqliteOptions::default() };
    assert!(matches!(begin(&db.path, refuse), Err(SnapshotError::Unsupported { .. })));
}

#[test]
fn a_closed_wal_database_is_left_as_it_was_found() {
    let mut db = Sqlite::new(4096, "wal", SqliteOptions::default());
    db.commit();
    let (folder, path) = (db.folder, db.path);
    drop(db.connection);
    let names = || std::fs::read_dir(folder.path()).unwrap().count();
    let before = std::fs::read(&path).unwrap();
    assert_eq!(names(), 1);
    let snapshot = begin(&path, SqliteOptions::default()).unwrap();
    assert!(image(&snapshot) == before);
    snapshot.finish(Outcome::Committed).unwrap();
    assert_eq!(names(), 1, "no -wal and no -shm stay behind");
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn a_wal_left_by_a_crash_is_read_and_stays() {
    let mut db = Sqlite::new(1024, "wal", SqliteOptions::default());
    for _ in 0..5 {
        db.commit();
    }
    // What a killed process leaves: database and WAL, without the shared memory.
    let crashed = db.folder.path().join("crashed.db");
    let wal = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    std::fs::copy(&db.path, &crashed).unwrap();
    std::fs::copy(wal(&db.path), wal(&crashed)).unwrap();
    let read = |path: &Path| std::fs::read(path).unwrap();
    let before = (read(&crashed), read(&wal(&crashed)));
    let snapshot = begin(&crashed, SqliteOptions::default()).unwrap();
    assert_eq!(seq_of(&snapshot), 5);
    snapshot.finish(Outcome::Committed).unwrap();
    assert!((read(&crashed), read(&wal(&crashed))) == before, "neither file was modified");
}

#[test]
fn a_hot_journal_is_rolled_back_in_a_copy_only() {
    let mut db = Sqlite::new(4096, "delete", SqliteOptions::default());
    for _ in 0..30 {
        db.commit();
    }
    // What a killed process leaves: pages of a transaction in the file, their old content in the journal.
    db.connection.pragma_update(None, "cache_size", 1).unwrap();
    db.connection.pragma_update(None, "cache_spill", 1).unwrap();
    db.connection
        .execute_batch(
            "begin; update log set body = zeroblob(length(body)); update state set seq = 77;",
        )
        .unwrap();
    let crashed = db.folder.path().join("crashed.db");
    let journal = |path: &Path| PathBuf::from(format!("{}-journal", path.display()));
    std::fs::copy(&db.path, &crashed).unwrap();
    std::fs::copy(journal(&db.path), journal(&crashed)).unwrap();
    db.connection.execute_batch("rollback").unwrap();
    let read = |path: &Path| std::fs::read(path).unwrap();
    let before = (read(&crashed), read(&journal(&crashed)));
    assert!(before.0 != read(&db.path), "the transaction reached the file");
    let snapshot = begin(&crashed, SqliteOptions::default()).unwrap();
    assert_eq!(seq_of(&snapshot), 30);
    snapshot.finish(Outcome::Committed).unwrap();
    assert!((read(&crashed), read(&journal(&crashed))) == before, "neither file was modified");
}

#[test]
fn a_busy_database_is_waited_for_and_then_given_up() {
    let db = Sqlite::new(4096, "delete", SqliteOptions::default());
    db.connection.execute_batch("begin exclusive").unwrap();
    let error = begin(&db.path, SqliteOptions::default()).unwrap_err();
    assert!(matches!(error, SnapshotError::TimedOut { .. }), "{error:?}");
    assert!(error.is_retryable() && error.help().is_some());
    db.connection.execute_batch("rollback").unwrap();
    begin(&db.path, SqliteOptions::default()).unwrap();
}

#[test]
fn a_replaced_database_is_noticed() {
    let mut db = Sqlite::new(4096, "wal", SqliteOptions::default());
    db.commit();
    let snapshot = begin(&db.path, SqliteOptions::default()).unwrap();
    let other = db.folder.path().join("other.db");
    create(&other, 4096, "delete");
    std::fs::rename(&other, &db.path).unwrap();
    assert!(matches!(snapshot.health(), Err(SnapshotError::Lost { .. })));
    assert!(snapshot.finish(Outcome::Committed).is_err());
}

#[test]
fn odd_sources_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text"), "not a database, but long enough to look at it as if it were one")
        .unwrap();
    std::fs::write(path("cut"), b"SQLite format 3\0").unwrap();
    for name in ["none", "text", "cut", ""] {
        let error = begin(&path(name), SqliteOptions::default()).unwrap_err();
        assert!(error.help().is_some(), "{name}: {error:?}");
    }
    std::fs::write(path("empty"), "").unwrap();
    let empty = begin(&path("empty"), SqliteOptions::default()).unwrap();
    assert_eq!(empty.geometry().byte_len, 0);
}

#[test]
fn an_immutable_database_needs_no_lock_and_must_have_no_log() {
    let mut db = Sqlite::new(4096, "wal", SqliteOptions::default());
    db.commit();
    let immutable = SqliteOptions { immutable: true, ..SqliteOptions::default() };
    assert!(matches!(begin(&db.path, immutable), Err(SnapshotError::Unsupported { .. })));
    let (folder, path) = (db.folder, db.path);
    drop(db.connection);
    let snapshot = begin(&path, immutable).unwrap();
    assert_eq!(seq_of(&snapshot), 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn begin_since(path: &Path, token: Option<SnapshotToken>) -> Snapshot {
    let engine = SqliteEngine::open(path).unwrap();
    Coordinator::new(SnapshotConfig::default())
        .begin("db", &engine, token, &CancelFlag::new())
        .unwrap()
}

fn ended(snapshot: Snapshot) -> Option<SnapshotToken> {
    snapshot.finish(Outcome::Committed).unwrap()
}

/// Which road was taken is asserted: where the WAL tells what changed, it must not be the long one.
#[test]
fn the_wal_tells_what_changed_until_it_is_begun_anew() {
    let mut db = Sqlite::new(4096, "wal", SqliteOptions::default());
    db.connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    for seq in 1..50 {
        commit(&mut db.connection, seq);
    }
    let first = begin_since(&db.path, None);
    assert!(first.changed().unwrap().is_none(), "nothing to compare with");
    let token = ended(first);
    assert!(token.is_some());
    let idle = begin_since(&db.path, token.clone());
    assert!(idle.changed().unwrap().is_some_and(|changed| changed.is_empty()));
    ended(idle);
    let changed_since = |db: &mut Sqlite, token: Option<SnapshotToken>| {
        let snapshot = begin_since(&db.path, token);
        let changed = snapshot.changed().unwrap();
        (changed.map(|changed| changed.len()), ended(snapshot))
    };
    commit(&mut db.connection, 50);
    let (few, _) = changed_since(&mut db, token.clone());
    assert!(few.is_some_and(|few| few > 0 && few < 9), "{few:?}");
    // Checkpointed to the file, the frames are still there to tell.
    db.connection.execute_batch("pragma wal_checkpoint(passive)").unwrap();
    assert_eq!(changed_since(&mut db, token.clone()).0, few);
    let (none, token) = changed_since(&mut db, token)
        .1
        .map_or((None, None), |token| changed_since(&mut db, Some(token)));
    assert_eq!(none, Some(0));
    // The next commit begins the WAL anew: what it overwrote, nobody knows.
    commit(&mut db.connection, 51);
    let (unknown, token) = changed_since(&mut db, token);
    assert_eq!(unknown, None);
    commit(&mut db.connection, 52);
    assert!(changed_since(&mut db, token.clone()).0.is_some());
    // A token of another database, or of another engine, is no token.
    let other = Sqlite::new(4096, "wal", SqliteOptions::default());
    let snapshot = begin_since(&other.path, token);
    assert!(snapshot.changed().unwrap().is_none());
    ended(snapshot);
    let snapshot = begin_since(&db.path, Some(SnapshotToken(vec![1, 2, 3])));
    assert!(snapshot.changed().unwrap().is_none());
}

/// Power fails: the end of the WAL is lost, and the writer goes on from an earlier frame, with the same salts.
#[test]
fn a_wal_that_lost_its_end_and_went_on_otherwise_is_not_believed() {
    let mut db = Sqlite::new(4096, "wal", SqliteOptions::default());
    db.connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    let wal = PathBuf::from(format!("{}-wal", db.path.display()));
    for seq in 1..9 {
        commit(&mut db.connection, seq);
    }
    let synced = std::fs::metadata(&wal).unwrap().len();
    commit(&mut db.connection, 9);
    let token = ended(begin_since(&db.path, None));
    // What a power failure leaves, in another place: the synced part of both files.
    let folder = tempfile::tempdir().unwrap();
    let after = folder.path().join("after.db");
    let after_wal = folder.path().join("after.db-wal");
    std::fs::copy(&db.path, &after).unwrap();
    let bytes = std::fs::read(&wal).unwrap();
    std::fs::write(&after_wal, &bytes[..synced as usize]).unwrap();
    // The same file, as far as anyone can tell.
    drop(db.connection);
    std::fs::copy(&after, &db.path).unwrap();
    std::fs::copy(&after_wal, &wal).unwrap();
    let mut writer = open(&db.path);
    writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    for seq in 9..14 {
        let body = vec![0x77_u8; 900];
        let transaction = writer.transaction().unwrap();
        transaction.execute("insert into log values(?, ?)", params![seq, body]).unwrap();
        transaction
            .execute("update state set seq = ?, total = (select sum(length(body)) from log)", [seq])
            .unwrap();
        transaction.commit().unwrap();
    }
    let snapshot = begin_since(&db.path, token.clone());
    assert!(snapshot.changed().unwrap().is_none(), "the frames at the mark are others");
    ended(snapshot);
    writer.execute_batch("pragma wal_checkpoint(passive)").unwrap();
    let snapshot = begin_since(&db.path, token);
    assert!(snapshot.changed().unwrap().is_none());
}

/// However long a WAL has become, a snapshot takes what of it is not in the file: else longer WALs would make longer snapshots, which make
/// longer WALs, until the disk is full.
#[test]
fn what_of_the_wal_is_in_the_file_already_is_not_looked_at() {
    let mut db = Sqlite::new(4096, "wal", SqliteOptions::default());
    db.connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    for seq in 1..50 {
        commit(&mut db.connection, seq);
    }
    // It keeps the WAL from being begun anew, but not from being checkpointed.
    let reader = open(&db.path);
    reader.execute_batch("begin; select * from state").unwrap();
    db.connection.execute_batch("pragma wal_checkpoint(passive)").unwrap();
    let token = ended(begin_since(&db.path, None));
    for seq in 50..60 {
        commit(&mut db.connection, seq);
    }
    // Nobody reads this frame any more. (A snapshot that does says that its checksum is wrong.)
    let wal = PathBuf::from(format!("{}-wal", db.path.display()));
    let mut bytes = std::fs::read(&wal).unwrap();
    let frame = 32 + 3 * (24 + 4096) + 24;
    bytes[frame..frame + 100].fill(0xA5);
    std::fs::write(&wal, bytes).unwrap();
    for token in [None, token] {
        let known = token.is_some();
        let snapshot = begin_since(&db.path, token);
        assert_eq!(snapshot.changed().unwrap().is_some(), known);
        assert_eq!(seq_of(&snapshot), 59);
        ended(snapshot);
    }
}

#[test]
fn a_wal_that_says_more_than_the_database_holds_is_not_asked_what_changed() {
    let db = Sqlite::new(512, "wal", SqliteOptions::default());
    db.connection.execute_batch("pragma wal_autocheckpoint = 0; pragma synchronous = off").unwrap();
    db.connection.execute_batch("update state set seq = 1").unwrap();
    let token = ended(begin_since(&db.path, None));
    let change = |times: u32| {
        for _ in 0..times {
            db.connection.execute_batch("update state set total = total + 1").unwrap();
        }
        let snapshot = begin_since(&db.path, token.clone());
        let changed = snapshot.changed().unwrap().map(|changed| changed.len());
        ended(snapshot);
        changed
    };
    assert_eq!(change(100), Some(1));
    assert_eq!(change(4500), None, "comparing a handful of pages takes less");
}

/// Frames in a WAL that the writer below lets no snapshot make longer.
const LONG_WAL: i64 = 1000;

/// A writer that checkpoints and begins its WAL anew all the time, beside snapshots one after another:
/// the trap of a mark at which everything is in the file.
///
/// A snapshot keeps the WAL from being begun anew, and a longer WAL makes the next snapshot take longer:
/// where the machine writes faster than it scans, the two would drive each other until the disk is full.
/// So snapshots hold `turn` while they hold a mark, and a writer whose WAL got long takes it, for one
/// checkpoint without any mark.
#[test]
fn snapshots_beside_a_restarting_wal_are_moments() {
    let mut db = Sqlite::new(4096, "wal", SqliteOptions::default());
    db.commit();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let turn = std::sync::Arc::new(std::sync::Mutex::new(()));
    let (path, stopped) = (db.path.clone(), std::sync::Arc::clone(&stop));
    let writers_turn = std::sync::Arc::clone(&turn);
    let writer = std::thread::spawn(move || {
        let mut connection = open(&path);
        connection.pragma_update(None, "synchronous", "off").unwrap();
        let checkpoint = |connection: &Connection| {
            connection
                .query_row("pragma wal_checkpoint(passive)", [], |row| row.get::<_, i64>(1))
                .unwrap()
        };
        let mut seq = 1;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            for _ in 0..5 {
                seq += 1;
                commit(&mut connection, seq);
            }
            if checkpoint(&connection) > LONG_WAL {
                let _alone = writers_turn.lock().unwrap();
                checkpoint(&connection);
                seq += 1;
                commit(&mut connection, seq);
                assert!(checkpoint(&connection) < LONG_WAL, "the WAL was begun anew");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        seq
    });
    let mut last = 0;
    let check = db.folder.path().join("image.db");
    for _ in 0..200 {
        let bytes = {
            let _turn = turn.lock().unwrap();
            let snapshot = begin(&db.path, SqliteOptions::default()).unwrap();
            let bytes = image(&snapshot);
            snapshot.finish(Outcome::Committed).unwrap();
            bytes
        };
        std::fs::write(&check, bytes).unwrap();
        let seq = commit_of(&check).unwrap();
        assert!(seq >= last, "time ran backwards");
        last = seq;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(writer.join().unwrap() >= last && last > 5);
}
