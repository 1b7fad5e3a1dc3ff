//! What is bounded stays within its bounds, and nothing is lost by it but space or time.

use std::sync::Arc;

use mantis_repo::{
    BackupMeta, BackupWriter, CompactOptions, Copier, CopyOptions, IndexCache, PruneOptions,
    Purpose, RepoError, Repository, Session, UnixMillis, WriteOptions,
};
use mantis_sink::{FaultSink, MemorySink, Sink};
use mantis_stream::{CancellationToken, Compression};

use crate::world::{
    backup, backup_by, content, count, in_memory, incremental, meta, plain, restore, touch, write,
};

async fn writer(
    repo: &Repository,
    entropy: u8,
    meta: BackupMeta,
    options: WriteOptions,
) -> BackupWriter {
    let session = Session::begin(repo, Purpose::Backup, [entropy; 32], "test", UnixMillis(0));
    BackupWriter::new(session.await.unwrap(), meta, None, options)
        .map_err(|failed| failed.1)
        .unwrap()
}

#[test]
fn few_known_pages_and_one_worker_store_the_same_with_less_shared() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 400);
        backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None)).await.unwrap();
        let other = content(2, 300);
        backup(&repo, 3, meta("b", 2, &other), &other, plain(Compression::None)).await.unwrap();
        let both = [&bytes[..], &other, &bytes].concat();
        let mut stored = Vec::new();
        for (entropy, known_pages) in (4u8..).zip([0, 4, 100, 1 << 18]) {
            let options = WriteOptions { known_pages, jobs: 1, ..plain(Compression::None) };
            let session =
                Session::begin(&repo, Purpose::Backup, [entropy; 32], "test", UnixMillis(0));
            let session = session.await.unwrap();
            let others = session.others("c", 16).await.unwrap();
            let writer = BackupWriter::new(session, meta("c", 3, &both), None, options);
            let mut writer = writer.map_err(|failed| failed.1).unwrap();
            for other in &others {
                writer.learn(other).await.unwrap();
            }
            write(&mut writer, &both, 64).await.unwrap();
            let made = writer.commit(1, None).await.unwrap();
            assert!(restore(&repo, &made).await.unwrap() == both, "{known_pages} known");
            stored.push(made.bytes_stored);
            repo.forget(
                &repo.catalogue().await.unwrap(),
                &[made.id],
                [90 + entropy; 32],
                UnixMillis(9),
            )
            .await
            .unwrap();
        }
        assert!(stored.windows(2).all(|pair| pair[0] > pair[1]), "{stored:?}");
    });
}

#[test]
fn a_backup_is_not_committed_before_it_is_stored() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 40);
        let writer = writer(&repo, 2, meta("a", 1, &bytes), plain(Compression::None)).await;
        let error = writer.commit(1, None).await.unwrap_err();
        assert!(matches!(error, RepoError::WrongPages { .. }), "{error}");
        assert!(repo.catalogue().await.unwrap().backups.is_empty());
        assert_eq!(count(&sink, "sess").await, 0);
    });
}

#[test]
fn what_more_killed_backups_left_than_are_looked_at_is_left_to_the_collector() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 2000);
        for entropy in 2..14 {
            let mut killed =
                writer(&repo, entropy, meta("a", 1, &bytes), plain(Compression::None)).await;
            write(&mut killed, &bytes, 100).await.unwrap();
        }
        let begun = Session::begin(&repo, Purpose::Backup, [50; 32], "alive", UnixMillis(0));
        let mut session = begun.await.unwrap();
        let left = session.leftovers(None, |owner| owner == "test").await.unwrap();
        let mut writer =
            BackupWriter::new(session, meta("a", 2, &bytes), None, plain(Compression::None))
                .map_err(|failed| failed.1)
                .unwrap();
        writer.resume(&left).await.unwrap();
        write(&mut writer, &bytes, 100).await.unwrap();
        let made = writer.commit(1, None).await.unwrap();
        assert!(made.bytes_stored < 1000, "{}: what the last one left serves", made.bytes_stored);
        let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
        let before = count(&sink, "seg").await;
        repo.prune(options, [51; 32], UnixMillis(1 << 40)).await.unwrap();
        // What was not looked at is freed, with what was and does not serve.
        assert!(before == 13 && count(&sink, "seg").await < 1 + 8);
        assert!(restore(&repo, &made).await.unwrap() == bytes);
    });
}

#[test]
fn a_layer_that_borrows_much_is_left_as_it_is() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        // Twice the same: its second half is borrowed from the first one.
        let half = content(2, 7000);
        let mut bytes = [&half[..], &half].concat();
        let mut made = Vec::new();
        for entropy in 2..8u8 {
            let meta = meta("a", entropy.into(), &bytes);
            made.push(incremental(&repo, entropy, meta, &bytes, None).await.unwrap().id);
            touch(&mut bytes, u64::from(entropy), entropy);
        }
        made.pop();
        repo.forget(&repo.catalogue().await.unwrap(), &made, [9; 32], UnixMillis(9)).await.unwrap();
        let (owner, cancel) = ("test".into(), CancellationToken::new());
        let options = CompactOptions { max_unused: 0.0, dry_run: false, owner, cancel };
        repo.compact(&options, [10; 32], UnixMillis(10)).await.unwrap();
        let backups = repo.catalogue().await.unwrap().backups;
        let manifest = repo.manifest(&backups[0]).await.unwrap();
        let borrows = manifest.layers.iter().filter(|layer| !layer.borrows.is_empty()).count();
        assert!(borrows == 1 && manifest.layers.len() == 3, "{}", manifest.layers.len());
        touch(&mut bytes, 7, 6);
        let restored = restore(&repo, &backups[0]).await.unwrap();
        let differ = restored.chunks(512).zip(bytes.chunks(512)).filter(|(a, b)| a != b).count();
        assert!(differ <= 1, "{differ} pages");
    });
}

#[test]
fn a_newer_backup_is_compared_with_sixteen_other_sources_at_most() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        for number in 0..20u8 {
            let bytes = content(number.into(), 10);
            let meta = meta(&format!("s{number}"), number.into(), &bytes);
            backup(&repo, number + 2, meta, &bytes, plain(Compression::None)).await.unwrap();
        }
        let session = Session::begin(&repo, Purpose::Backup, [50; 32], "test", UnixMillis(0));
        let session = session.await.unwrap();
        for (most, found) in [(100, 16), (16, 16), (3, 3), (0, 0)] {
            assert_eq!(session.others("new", most).await.unwrap().len(), found);
        }
        session.abandon().await;
    });
}

/// Two make a repository, or a replica, in one place: one of them wins, at whichever call the other one comes.
#[test]
fn of_two_repositories_in_one_place_one_is_made() {
    let (runtime, _, origin) = in_memory();
    for replica in [false, true] {
        for call in 0.. {
            let memory = MemorySink::new();
            let faulty = FaultSink::new(Arc::new(memory.clone()));
            let other = memory.clone();
            let init = move || {
                let init = Repository::init(Arc::new(other), [7; 32], UnixMillis(1), None);
                tokio::runtime::Runtime::new().unwrap().block_on(init).map(|repo| repo.id())
            };
            let (told, heard) = std::sync::mpsc::channel();
            faulty.act_before(call, move || {
                told.send(std::thread::spawn(init).join().unwrap()).unwrap();
            });
            let ours: Result<_, RepoError> = runtime.block_on(async {
                if replica {
                    let cache = Some(IndexCache::new(tempfile::tempdir().unwrap().path(), 1 << 20));
                    let options = CopyOptions { cache, ..CopyOptions::default() };
                    let copier =
                        Copier::begin(&origin, Arc::new(faulty.clone()), options, [8; 32], |_| {
                            false
                        });
                    let copier = copier.await?;
                    let id = copier.replica().id();
                    copier.end().await;
                    return Ok(id);
                }
                let init = Repository::init(Arc::new(faulty.clone()), [1; 32], UnixMillis(1), None);
                Ok(init.await?.id())
            });
            let Ok(theirs) = heard.try_recv() else { break };
            let there = runtime.block_on(Repository::open(Arc::new(memory.clone()), None)).unwrap();
            for id in ours.iter().chain(&theirs) {
                assert_eq!(*id, there.id(), "call {call}");
            }
            assert!(ours.is_ok() || theirs.is_ok(), "call {call}");
        }
    }
}

/// What a replica was found to have, and a collector there has listed meanwhile, is sent again.
#[test]
fn what_a_collector_of_the_replica_lists_is_not_named() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(1, 6000);
        let options = WriteOptions { segment_len: 64 << 10, ..plain(Compression::None) };
        let first = backup_by(&repo, [2; 32], meta("a", 1, &bytes), &bytes, options).await.unwrap();
        let memory = MemorySink::new();
        let options = || CopyOptions {
            owner: "c".into(),
            now: UnixMillis(1_000_000),
            ..CopyOptions::default()
        };
        let begin = |entropy| {
            Copier::begin(&repo, Arc::new(memory.clone()), options(), [entropy; 32], |_| false)
        };
        let mut copier = begin(60).await.unwrap();
        copier.copy(&first).await.unwrap();
        copier.end().await;
        touch(&mut bytes, 3, 3);
        let second = incremental(&repo, 3, meta("a", 2, &bytes), &bytes, None).await.unwrap();
        let mut before = begin(61).await.unwrap();
        // There the first one is forgotten, and a collector lists what it had; it waits for the copy.
        let replica = before.replica().clone();
        let catalogue = replica.catalogue().await.unwrap();
        let gone = catalogue.backups[0].id;
        replica.forget(&catalogue, &[gone], [9; 32], UnixMillis(5)).await.unwrap();
        let prune = |at: i64, entropy: u8, grace_ms| {
            let options = PruneOptions { grace_ms, dry_run: false, exclusive: false };
            replica.prune(options, [entropy; 32], UnixMillis(at))
        };
        let waiting = prune(1_000_000, 70, 1000).await.unwrap();
        assert!(waiting.waiting_bytes > 0 && waiting.freed_objects == 0, "{waiting:?}");
        let mut after = begin(62).await.unwrap();
        for (copier, name) in [(&mut before, "before"), (&mut after, "after")] {
            assert!(copier.copy(&second).await.unwrap(), "{name}");
        }
        let reports = [before.end().await, after.end().await];
        assert!(reports[0].bytes > 2_000_000, "{reports:?}");
        let freed = prune(2_000_000, 71, 0).await.unwrap();
        assert!(freed.freed_objects > 0, "{freed:?}");
        for backup in replica.catalogue().await.unwrap().backups {
            assert!(restore(&replica, &backup).await.unwrap() == bytes);
        }
        assert!(memory.list("gc").await.unwrap().is_empty());
    });
}
