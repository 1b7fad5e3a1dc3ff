//! The library as an author of an application uses it.

use std::sync::Arc;

use mantis_backup::cow::CowLimits;
use mantis_backup::engine::redb::{RedbEngine, SnapshotBackend, check_database};
use mantis_backup::jobs::{RestoreJob, restore};
use mantis_backup::repo::RestoreOptions;
use mantis_backup::{BackupSystem, Error, init_repository};
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("t");
const TOTAL: TableDefinition<'_, &str, u64> = TableDefinition::new("total");

fn open(path: &std::path::Path) -> (Arc<Database>, SnapshotBackend) {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap();
    let backend = SnapshotBackend::new(FileBackend::new(file).unwrap(), CowLimits::default());
    (Arc::new(Database::builder().create_with_backend(backend.clone()).unwrap()), backend)
}

/// One commit whose rows and sum agree.
fn commit(database: &Database, seq: u64) {
    let write = database.begin_write().unwrap();
    {
        let mut table = write.open_table(TABLE).unwrap();
        let mut total = write.open_table(TOTAL).unwrap();
        let mut sum = total.get("sum").unwrap().map_or(0, |sum| sum.value());
        for n in 0..20 {
            let key = (seq * 7919 + n * 104_729) % 5000;
            let old = table.insert(key, seq).unwrap().map_or(0, |old| old.value());
            sum = sum + seq - old;
        }
        total.insert("sum", sum).unwrap();
        total.insert("seq", seq).unwrap();
    }
    write.commit().unwrap();
}

/// The last commit that is in a restored database, whose sums must be right; and whether it needed no repair.
fn prove(path: &std::path::Path) -> (u64, bool) {
    check_database(path).unwrap();
    // A child that another test starts holds our files, locks and all, from its fork to its exec.
    let mut opened = None;
    mantis_tests::wait_until("the lock of redb", || {
        // Opened read-only, redb refuses a file that needs a repair.
        opened = match redb::ReadOnlyDatabase::open(path) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => None,
            Err(redb::DatabaseError::RepairAborted) => Some(None),
            database => Some(Some(database.unwrap())),
        };
        opened.is_some()
    });
    let clean = opened.unwrap();
    // Whoever reads needs the database to stay open.
    let repaired;
    let read = match &clean {
        Some(database) => database.begin_read(),
        None => {
            repaired = Database::open(path).unwrap();
            repaired.begin_read()
        }
    };
    let read = read.unwrap();
    let rows = read.open_table(TABLE).unwrap();
    let sum: u64 = rows.iter().unwrap().map(|row| row.unwrap().1.value()).sum();
    let total = read.open_table(TOTAL).unwrap();
    assert_eq!(sum, total.get("sum").unwrap().unwrap().value());
    (total.get("seq").unwrap().unwrap().value(), clean.is_some())
}

#[test]
fn a_live_redb_is_backed_up_between_its_commits() {
    let folder = tempfile::tempdir().unwrap();
    let (database, backend) = open(&folder.path().join("live.redb"));
    commit(&database, 1);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (writing, stopped) = (Arc::clone(&database), Arc::clone(&stop));
    let writer = std::thread::spawn(move || {
        let mut seq = 1;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            seq += 1;
            commit(&writing, seq);
        }
        seq
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let last = runtime.block_on(async {
        let repo =
            init_repository(folder.path().join("repo").to_str().unwrap(), None).await.unwrap();
        let engine = RedbEngine::new("live", database, backend);
        let system = BackupSystem::builder()
            .engine("live", engine)
            .repository(repo.clone())
            .build()
            .unwrap();
        let (mut last, mut cleans) = (0, 0);
        let rounds = 40;
        for round in 0..rounds {
            let backup = system.backup("live").tag("round", round.to_string()).run().await.unwrap();
            let target = folder.path().join(format!("r{round}.redb"));
            let options = RestoreOptions::default();
            let job = RestoreJob {
                repo: repo.clone(),
                backup,
                target: target.clone(),
                replace: false,
                delta: false,
                check: true,
                options,
            };
            restore(job).await.unwrap();
            let (seq, clean) = prove(&target);
            assert!(seq >= last);
            (last, cleans) = (seq, cleans + u32::from(clean));
        }
        // A writer that leaves no moment between its commits gets one that redb repairs when it opens it.
        assert!(cleans > rounds / 2, "{cleans} of {rounds}: a moment without a repair is the rule");
        last
    });
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(writer.join().unwrap() >= last && last > 1);
}

#[test]
fn an_unknown_name_and_a_missing_repository_are_errors() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        assert!(matches!(BackupSystem::builder().build(), Err(Error::Usage { .. })));
        let system = BackupSystem::builder()
            .repository(init_repository("memory://", None).await.unwrap())
            .build()
            .unwrap();
        assert!(matches!(system.backup("none").run().await, Err(Error::Usage { .. })));
    });
}

#[test]
fn a_dropped_backup_cleans_up_after_itself() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    std::fs::write(&image, vec![5; 60 << 20]).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let repo =
            init_repository(folder.path().join("repo").to_str().unwrap(), None).await.unwrap();
        let engine = mantis_backup::engine::file::FileEngine::open(&image).unwrap();
        let system = BackupSystem::builder()
            .engine("image", engine)
            .repository(repo)
            .limit_rate(30 << 20)
            .build()
            .unwrap();
        let dropped = tokio::time::timeout(
            std::time::Duration::from_millis(800),
            system.backup("image").run(),
        )
        .await;
        assert!(dropped.is_err());
        mantis_tests::wait_until("cleaning up", || {
            system.snapshots().list().iter().all(|s| s.state.is_final())
        });
        let sessions = folder.path().join("repo/sess");
        mantis_tests::wait_until("the end of the session", || !sessions.exists());
        assert!(!folder.path().join("repo/seg").join("x").exists());
        assert!(
            std::fs::read_dir(folder.path().join("repo/seg"))
                .map_or(true, |mut seg| seg.next().is_none())
        );
    });
}
