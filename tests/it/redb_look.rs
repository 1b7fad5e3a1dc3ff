//! Backups of redb databases looked at without restoring them.

use std::sync::Arc;

use mantis_backup::cow::CowLimits;
use mantis_backup::engine::redb::{RedbEngine, SnapshotBackend};
use mantis_backup::repo::{BackupInfo, Repository};
use mantis_backup::{
    BackupSystem, Error, OpenRedbSnapshot, Source, init_repository, open_redb_snapshot,
    open_repository,
};
use mantis_tests::World;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
/// Some 12 MB of rows.
const COUNT: u64 = 60_000;

fn row(key: u64, round: u64) -> Vec<u8> {
    // Of which nothing is as its neighbour, so that compression has little to save.
    (0..24u64)
        .flat_map(|n| (key * 31 + round + n).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
        .collect()
}

fn commit(database: &Database, keys: impl Iterator<Item = u64>, round: u64) {
    let write = database.begin_write().unwrap();
    {
        let mut rows = write.open_table(ROWS).unwrap();
        keys.for_each(|key| drop(rows.insert(key, row(key, round).as_slice()).unwrap()));
    }
    write.commit().unwrap();
}

/// A live database, its repository, and two backups between which the rows of every thousandth key changed.
async fn two_backups(world: &World) -> (Repository, [BackupInfo; 2]) {
    let mut options = std::fs::File::options();
    let file = options.read(true).write(true).create_new(true).open(world.path("live.redb"));
    let backend =
        SnapshotBackend::new(FileBackend::new(file.unwrap()).unwrap(), CowLimits::default());
    let database = Arc::new(Database::builder().create_with_backend(backend.clone()).unwrap());
    commit(&database, 0..COUNT, 0);
    let repo = open_repository(world.path("repo").to_str().unwrap(), &[]).await.unwrap();
    let engine = RedbEngine::new("live", Arc::clone(&database), backend);
    let system =
        BackupSystem::builder().engine("live", engine).repository(repo.clone()).build().unwrap();
    let first = system.backup("live").run().await.unwrap();
    commit(&database, (0..COUNT).step_by(1000), 1);
    let second = system.backup("live").run().await.unwrap();
    // What is not in a backup yet.
    commit(&database, 0..100, 2);
    (repo, [first, second])
}

fn read(snapshot: &OpenRedbSnapshot, key: u64) -> Result<Option<Vec<u8>>, redb::Error> {
    let rows = snapshot.begin_read()?.open_table(ROWS)?;
    Ok(rows.get(key)?.map(|row| row.value().to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_backup_answers_as_of_its_moment_for_what_little_it_takes() {
    let world = World::new();
    let (repo, backups) = two_backups(&world).await;
    for (round, backup) in (0..).zip(&backups) {
        let snapshot = open_redb_snapshot(&repo, backup).await.unwrap();
        tokio::task::spawn_blocking(move || {
            for key in [0, 59_000] {
                assert_eq!(read(&snapshot, key).unwrap(), Some(row(key, round)));
            }
            assert_eq!(read(&snapshot, 7).unwrap(), Some(row(7, 0)));
            assert_eq!(read(&snapshot, COUNT).unwrap(), None);
            let few = snapshot.fetched().bytes;
            let all = snapshot.begin_read().unwrap().open_table(ROWS).unwrap();
            let count = all.iter().unwrap().map(Result::unwrap).filter(|(key, value)| {
                let round = if key.value() % 1000 == 0 { round } else { 0 };
                value.value() == row(key.value(), round)
            });
            assert_eq!(count.count() as u64, COUNT);
            let whole = snapshot.fetched().bytes;
            assert!(few * 3 < whole, "{few} of {whole} bytes for four rows");
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_runtime_of_one_thread_can_open_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("closed.redb");
    commit(&Database::create(&path).unwrap(), 0..100, 0);
    let repo = init_repository("memory://", None).await.unwrap();
    let system = BackupSystem::builder().source("closed", Source::detect(&path).unwrap()).unwrap();
    let system = system.repository(repo.clone()).build().unwrap();
    let backup = system.backup("closed").run().await.unwrap();
    let snapshot = open_redb_snapshot(&repo, &backup).await.unwrap();
    let found = tokio::task::spawn_blocking(move || read(&snapshot, 99).unwrap());
    assert_eq!(found.await.unwrap(), Some(row(99, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told_as_what_it_is() {
    let world = World::new();
    let (repo, [first, _]) = two_backups(&world).await;
    let snapshot = open_redb_snapshot(&repo, &first).await.unwrap();
    for segment in world.repository_files() {
        if segment.display().to_string().contains("/seg/") {
            let len = std::fs::metadata(&segment).unwrap().len();
            std::fs::File::options().write(true).open(&segment).unwrap().set_len(len / 2).unwrap();
        }
    }
    let error = tokio::task::spawn_blocking(move || {
        let failed = (0..COUNT).step_by(500).find_map(|key| read(&snapshot, key).err());
        snapshot.explain(failed.unwrap())
    });
    let error = error.await.unwrap();
    assert!(matches!(error, Error::Repo(_)), "{error:?}");

    let sqlite = world.path("a.db");
    rusqlite::Connection::open(&sqlite).unwrap().execute_batch("create table t(a)").unwrap();
    let system = BackupSystem::builder().source("a", Source::detect(&sqlite).unwrap()).unwrap();
    let repo = init_repository("memory://", None).await.unwrap();
    let system = system.repository(repo.clone()).build().unwrap();
    let backup = system.backup("a").run().await.unwrap();
    let error = open_redb_snapshot(&repo, &backup).await.unwrap_err();
    assert!(error.to_string().contains("engine sqlite"), "{error}");
}
