//! A backup that fails once its source has been let go of: what the source's engine takes for backed up is not.

use std::path::Path;
use std::sync::Arc;

use mantis_backup::cow::CowLimits;
use mantis_backup::engine::redb::{RedbEngine, SnapshotBackend};
use mantis_backup::engine::sqlite::{
    JournalLock, SqliteEngine, SqliteFollower, SqliteOptions, vfs,
};
use mantis_backup::jobs::{BackupJob, RestoreJob, backup, restore};
use mantis_backup::repo::{BackupInfo, Repository, RestoreOptions, UnixMillis};
use mantis_backup::sink::{Fault, FaultSink, MemorySink, Sink, SinkErrorKind};
use mantis_backup::snapshot::{Coordinator, Engine};
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, TableDefinition};
use rusqlite::Connection;

const ROWS: TableDefinition<'_, u64, u64> = TableDefinition::new("rows");

/// A database, what commits a number to it, and what reads that from a restored one.
struct Live {
    engine: Arc<dyn Engine>,
    put: Box<dyn FnMut(u64)>,
    get: fn(&Path) -> u64,
}

fn redb(folder: &Path) -> Live {
    let mut options = std::fs::File::options();
    let file = options.read(true).write(true).create_new(true).open(folder.join("live.redb"));
    let backend = FileBackend::new(file.unwrap()).unwrap();
    let backend = SnapshotBackend::new(backend, CowLimits::default());
    let database = Arc::new(Database::builder().create_with_backend(backend.clone()).unwrap());
    let engine = Arc::new(RedbEngine::new("live", Arc::clone(&database), backend));
    let put = move |value| {
        let write = database.begin_write().unwrap();
        write.open_table(ROWS).unwrap().insert(1, value).unwrap();
        write.commit().unwrap();
    };
    let get = |path: &Path| {
        let database = Database::open(path).unwrap();
        let rows = database.begin_read().unwrap().open_table(ROWS).unwrap();
        rows.get(1).unwrap().unwrap().value()
    };
    Live { engine, put: Box::new(put), get }
}

fn sqlite(folder: &Path, mode: &str, through: &str) -> (std::path::PathBuf, Live) {
    let path = folder.join("live.db");
    let flags = rusqlite::OpenFlags::default();
    let connection = match through {
        "" => Connection::open(&path),
        vfs => Connection::open_with_flags_and_vfs(&path, flags, vfs),
    };
    let connection = connection.unwrap();
    connection.pragma_update(None, "journal_mode", mode).unwrap();
    connection.execute_batch("create table t(n integer)").unwrap();
    let put = move |value: u64| {
        connection
            .execute_batch(&format!("delete from t; insert into t values ({value})"))
            .unwrap();
    };
    let get = |path: &Path| {
        let connection = Connection::open(path).unwrap();
        let n: i64 = connection.query_row("select n from t", [], |row| row.get(0)).unwrap();
        n.try_into().unwrap()
    };
    let options = SqliteOptions { journal_lock: JournalLock::Spool, ..SqliteOptions::default() };
    let follower = SqliteFollower::new(SqliteEngine::with_options(&path, options).unwrap());
    (path, Live { engine: Arc::new(follower), put: Box::new(put), get })
}

fn in_process(folder: &Path) -> Live {
    vfs::register(false, CowLimits::default()).unwrap();
    let (path, live) = sqlite(folder, "wal", vfs::VFS_NAME);
    Live { engine: Arc::new(vfs::SqliteVfsEngine::open(path).unwrap()), ..live }
}

async fn try_backup(repo: &Repository, live: &Live) -> Result<BackupInfo, mantis_backup::Error> {
    backup(BackupJob {
        repo: repo.clone(),
        coordinator: Coordinator::new(Default::default()),
        engine: Arc::clone(&live.engine),
        name: "live".into(),
        tags: Default::default(),
        write: Default::default(),
        timeout: None,
        full: false,
        looks_good_for: Default::default(),
    })
    .await
}

/// Has a backup fail at one of its calls to the store, and from there on; whether it failed.
async fn fails_at(call: u64, fault: Fault, folder: &Path, mut live: Live) -> bool {
    let sink = FaultSink::new(Arc::new(MemorySink::new()));
    let store: Arc<dyn Sink> = Arc::new(sink.clone());
    let repo = Repository::init(store, [1; 32], UnixMillis(1), None).await.unwrap();
    (live.put)(1);
    try_backup(&repo, &live).await.unwrap();
    assert!(live.engine.is_idle().unwrap());
    (live.put)(2);
    sink.fail_from(sink.calls() + call, fault);
    let failed = try_backup(&repo, &live).await.is_err();
    sink.heal();
    assert_eq!(!live.engine.is_idle().unwrap(), failed, "call {call} {fault:?}");
    let backup = try_backup(&repo, &live).await.unwrap();
    assert!(live.engine.is_idle().unwrap(), "call {call}: now there is a backup of it");
    let target = folder.join("restored");
    let job = RestoreJob {
        repo: repo.clone(),
        backup,
        target: target.clone(),
        replace: false,
        delta: false,
        check: true,
        options: RestoreOptions::default(),
    };
    restore(job).await.unwrap();
    assert_eq!((live.get)(&target), 2);
    failed
}

/// Has backups fail at each of their calls, one after the other.
async fn at_each_call(live: impl Fn(&Path) -> Live) {
    let kind = SinkErrorKind::Unavailable;
    for fault in [Fault::Before(kind), Fault::After(kind)] {
        let mut call = 0;
        let mut folder = tempfile::tempdir().unwrap();
        while fails_at(call, fault, folder.path(), live(folder.path())).await {
            call += 1;
            folder = tempfile::tempdir().unwrap();
        }
        assert!(call > 8, "{call}: up to the commit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redb_is_not_idle_before_it_is_stored() {
    at_each_call(redb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_not_idle_before_it_is_stored() {
    at_each_call(|folder| sqlite(folder, "wal", "").1).await;
    at_each_call(|folder| sqlite(folder, "delete", "").1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_in_process_is_not_idle_before_it_is_stored() {
    at_each_call(in_process).await;
}
