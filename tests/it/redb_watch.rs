//! A live redb database, watched in its own process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mantis_backup::cow::CowLimits;
use mantis_backup::engine::redb::{RedbEngine, SnapshotBackend};
use mantis_backup::jobs::{Exposure, Turns, WatchEvent, WatchJob, watch};
use mantis_backup::repo::{BackupInfo, Repository, WriteOptions};
use mantis_backup::snapshot::Coordinator;
use mantis_backup::{init_repository, open_redb_snapshot};
use redb::backends::InMemoryBackend;
use redb::{Database, Durability, ReadableDatabase, TableDefinition};
use tokio::sync::mpsc;

const ROWS: TableDefinition<'_, u64, u64> = TableDefinition::new("rows");
const EVERY: Duration = Duration::from_millis(100);

fn put(database: &Database, durability: Durability, value: u64) {
    let mut write = database.begin_write().unwrap();
    write.set_durability(durability).unwrap();
    write.open_table(ROWS).unwrap().insert(1, value).unwrap();
    write.commit().unwrap();
}

async fn value_in(repo: &Repository, backup: &BackupInfo) -> u64 {
    let snapshot = open_redb_snapshot(repo, backup).await.unwrap();
    let read = move || {
        let rows = snapshot.begin_read().unwrap().open_table(ROWS).unwrap();
        rows.get(1).unwrap().unwrap().value()
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_redb_costs_the_repository_nothing() {
    let backend = SnapshotBackend::new(InMemoryBackend::new(), CowLimits::default());
    let database = Arc::new(Database::builder().create_with_backend(backend.clone()).unwrap());
    put(&database, Durability::Immediate, 0);
    let repo = init_repository("memory://", None).await.unwrap();
    let (write, exposure) = (WriteOptions::default(), Arc::new(Exposure::new()));
    let cancel = write.cancel.clone();
    let job = WatchJob {
        repo: repo.clone(),
        coordinator: Coordinator::new(Default::default()),
        engine: Arc::new(RedbEngine::new("live", Arc::clone(&database), backend)),
        name: "live".into(),
        tags: Default::default(),
        write,
        every: EVERY,
        max_log: 0,
        rules: None,
        admission: Turns::new().admission(false, "live".into()),
        exposure: Arc::clone(&exposure),
    };
    let (tell, mut told) = mpsc::unbounded_channel();
    let watching = tokio::spawn(async move {
        let tell = move |event| {
            if let WatchEvent::Made { info, .. } = event {
                tell.send(*info).unwrap();
            }
        };
        watch(&job, tell).await
    });
    let kinds = [Durability::Immediate, Durability::None, Durability::Immediate];
    for (value, durability) in (0..6).zip(kinds.into_iter().cycle()) {
        if value > 0 {
            put(&database, durability, value);
        }
        let made = told.recv().await.unwrap();
        assert_eq!(value_in(&repo, &made).await, value);
        // It is looked at again and again, and found as it was.
        let since = Instant::now();
        while since.elapsed() < 5 * EVERY || exposure.get().is_none_or(|at| at > 3 * EVERY) {
            tokio::time::sleep(EVERY).await;
            assert!(since.elapsed() < Duration::from_secs(60));
        }
        assert!(told.try_recv().is_err(), "there is no backup of nothing");
    }
    cancel.cancel();
    watching.await.unwrap().unwrap();
}
