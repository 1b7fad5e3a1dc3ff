//! What is asked for wrongly is refused, and what is asked for seldom is done.

use std::sync::Arc;

use mantis_page::{PageNo, PageRun, PageSize};
use mantis_repo::{
    BackupMeta, BackupWriter, CompactOptions, PruneOptions, Purpose, RepoError, Repository,
    Selector, Session, UnixMillis, VerifyOptions, WriteOptions,
};
use mantis_stream::{CancellationToken, Compression};

use crate::world::{
    SIZE, backup, content, count, in_memory, incremental, meta, plain, restore, touch,
};

async fn begin(repo: &Repository, entropy: u8) -> Session {
    Session::begin(repo, Purpose::Backup, [entropy; 32], "test", UnixMillis(0)).await.unwrap()
}

fn options() -> WriteOptions {
    plain(Compression::None)
}

/// The same database, had it another page size.
fn larger(meta: &BackupMeta) -> BackupMeta {
    let size = PageSize::DEFAULT;
    let page_count = size.pages_for(meta.byte_len);
    BackupMeta { page_size: size.get(), page_count, ..meta.clone() }
}

#[test]
fn a_backup_of_what_cannot_be_is_refused() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 40);
        let made = backup(&repo, 2, meta("a", 1, &bytes), &bytes, options()).await.unwrap();
        // More pages than there can be.
        let absurd = BackupMeta { page_count: u64::MAX, ..meta("b", 1, &bytes) };
        let refused = BackupWriter::new(begin(&repo, 3).await, absurd, None, options());
        let (session, error) = *refused.map(drop).unwrap_err();
        assert!(matches!(error, RepoError::WrongPages { .. }), "{error}");
        session.abandon().await;
        // Built on a backup with other pages.
        let session = begin(&repo, 4).await;
        let parent = session.parent("a").await.unwrap();
        let refused = BackupWriter::new(session, larger(&made.meta), parent, options());
        let (session, error) = *refused.map(drop).unwrap_err();
        assert!(matches!(error, RepoError::WrongPages { .. }), "{error}");
        session.abandon().await;
        // Pages of another size, and pages past the end.
        let mut writer =
            BackupWriter::new(begin(&repo, 5).await, meta("a", 2, &bytes), None, options())
                .map_err(|failed| failed.1)
                .unwrap();
        for (page, size) in [(PageNo::FIRST, PageSize::DEFAULT), (PageNo::new(41).unwrap(), SIZE)] {
            let run = PageRun::new(page, size, vec![1; size.bytes()].into()).unwrap();
            let error = writer.push(run).await.unwrap_err();
            assert!(matches!(error, RepoError::WrongPages { .. }), "{error}");
        }
        writer.abandon().await;
        assert!(restore(&repo, &made).await.unwrap() == bytes);
        assert_eq!(count(&sink, "sess").await, 0);
    });
}

#[test]
fn other_page_sizes_share_nothing_and_are_not_compared() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(3, 64);
        let small = backup(&repo, 2, meta("a", 1, &bytes), &bytes, options()).await.unwrap();
        let session = begin(&repo, 3).await;
        let others = session.others("b", 16).await.unwrap();
        let of_b = larger(&meta("b", 2, &bytes));
        let mut writer =
            BackupWriter::new(session, of_b, None, options()).map_err(|failed| failed.1).unwrap();
        for other in &others {
            writer.learn(other).await.unwrap();
        }
        let run = PageRun::new(PageNo::FIRST, PageSize::DEFAULT, bytes.clone().into());
        writer.push(run.unwrap()).await.unwrap();
        writer.flush().await.unwrap();
        let large = writer.commit(1, None).await.unwrap();
        let manifest = repo.manifest(&large).await.unwrap();
        assert!(manifest.layers.iter().all(|layer| layer.borrows.is_empty()));
        assert!(repo.diff(&small, &large).await.is_err());
        let again = incremental(&repo, 4, meta("a", 3, &bytes), &bytes, None).await.unwrap();
        let same = repo.diff(&small, &again).await.unwrap();
        assert_eq!(same.changed.len(), 0, "{same:?}");
    });
}

#[test]
fn a_selector_means_backups_of_its_source_and_verify_those_that_are_named() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 40);
        let one = backup(&repo, 2, meta("a", 1, &bytes), &bytes, options()).await.unwrap();
        let two = backup(&repo, 3, meta("b", 2, &bytes), &bytes, options()).await.unwrap();
        let report = repo.verify(&[one.id.to_string()], &VerifyOptions::default()).await.unwrap();
        assert_eq!(report.checked, [one.id]);
        let refused = repo.verify(&["ffff".into()], &VerifyOptions::default()).await;
        assert!(matches!(refused, Err(RepoError::NoSuchBackup { .. })));
        let catalogue = repo.catalogue().await.unwrap();
        let of = |source: &str| Selector { source: Some(source.into()), ..Selector::default() };
        assert_eq!(catalogue.find(&of("b")).unwrap().id, two.id);
        let error = catalogue.find(&of("c")).unwrap_err().to_string();
        assert!(error.contains("of source \"c\""), "{error}");
        assert!(catalogue.find_unreadable("").is_err() && catalogue.find_unreadable("a").is_err());
        assert!(repo.bring_back("", [9; 32], "test", UnixMillis(1)).await.is_err());
    });
}

#[test]
fn a_compaction_that_only_tells_changes_nothing_and_so_does_a_collection_alone() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(1, 90);
        let mut made = Vec::new();
        for entropy in 2..8u8 {
            touch(&mut bytes, u64::from(entropy), entropy);
            let meta = meta("a", entropy.into(), &bytes);
            made.push(incremental(&repo, entropy, meta, &bytes, None).await.unwrap().id);
        }
        let newest = made.pop();
        let catalogue = repo.catalogue().await.unwrap();
        repo.forget(&catalogue, &made, [200; 32], UnixMillis(9)).await.unwrap();
        let before = mantis_sink::Sink::list(&sink, "").await.unwrap();
        let mut options = CompactOptions {
            max_unused: 0.0,
            dry_run: true,
            owner: "test".into(),
            cancel: CancellationToken::new(),
        };
        let would = repo.compact(&options, [50; 32], UnixMillis(9)).await.unwrap();
        assert_eq!(mantis_sink::Sink::list(&sink, "").await.unwrap(), before);
        options.dry_run = false;
        let did = repo.compact(&options, [51; 32], UnixMillis(9)).await.unwrap();
        assert_eq!((would.merges, would.backups), (did.merges, did.backups));
        // Nobody else uses it: the store is not put to the test.
        let alone = PruneOptions { grace_ms: 0, dry_run: false, exclusive: true };
        let report = repo.prune(alone, [52; 32], UnixMillis(10)).await.unwrap();
        assert!(report.freed_objects > 0);
        let backups = repo.catalogue().await.unwrap().backups;
        assert_eq!((backups.len(), Some(backups[0].id)), (1, newest));
        assert!(restore(&repo, &backups[0]).await.unwrap() == bytes);
    });
}

/// A store that lets two create one object: nothing is freed there beside others.
#[test]
fn a_store_that_promises_nothing_is_not_collected_from() {
    use mantis_sink::{Capabilities, FaultSink};
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 40);
        let made = backup(&repo, 2, meta("a", 1, &bytes), &bytes, options()).await.unwrap();
        let lax = FaultSink::new(Arc::new(sink.clone()));
        let promised = mantis_sink::Sink::capabilities(&lax);
        lax.promise(Capabilities { exclusive_create: false, ..promised });
        let through = Repository::open(Arc::new(lax), None).await.unwrap();
        let catalogue = through.catalogue().await.unwrap();
        through.forget(&catalogue, &[made.id], [9; 32], UnixMillis(3)).await.unwrap();
        let mut options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
        let refused = through.prune(options, [10; 32], UnixMillis(4)).await;
        assert!(matches!(refused, Err(RepoError::NotExclusive { .. })));
        assert!(count(&sink, "seg").await > 0);
        options.exclusive = true;
        through.prune(options, [11; 32], UnixMillis(5)).await.unwrap();
        assert_eq!(count(&sink, "seg").await, 0);
    });
}

#[test]
fn what_is_locked_is_freed_by_the_first_collection_after_its_time() {
    use mantis_sink::{FaultSink, Sink};
    use std::time::{Duration, SystemTime};
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 40);
        let made = backup(&repo, 2, meta("a", 1, &bytes), &bytes, options()).await.unwrap();
        let catalogue = repo.catalogue().await.unwrap();
        repo.forget(&catalogue, &[made.id], [9; 32], UnixMillis(3)).await.unwrap();
        let locking = FaultSink::new(Arc::new(sink.clone()));
        locking.lock_until(SystemTime::UNIX_EPOCH + Duration::from_millis(1000));
        let through = Repository::open(Arc::new(locking), None).await.unwrap();
        let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
        let early = through.prune(options, [10; 32], UnixMillis(900)).await.unwrap();
        assert_eq!((early.freed_objects, early.locked_until), (0, Some(UnixMillis(1000))));
        assert!(early.locked_bytes > 0 && count(&sink, "gc").await == 1, "{early:?}");
        // Somebody else took one away meanwhile, who was allowed to.
        let gone = sink.list("seg").await.unwrap().swap_remove(0).key;
        sink.delete(&gone).await.unwrap();
        through.prune(options, [11; 32], UnixMillis(1001)).await.unwrap();
        for folder in ["seg", "man", "gc"] {
            assert_eq!(count(&sink, folder).await, 0, "{folder}");
        }
    });
}
