//! Forgetting, freeing and bringing back, beside sessions that are under way.

use mantis_repo::{
    BackupId, PruneOptions, PruneReport, Purpose, RepoError, Repository, Session, UnixMillis,
    VerifyOptions, WriteOptions,
};
use mantis_sink::{MemorySink, Sink};
use mantis_stream::Compression;

use crate::world::{backup, content, count, in_memory, incremental, meta, plain, restore, touch};

const HOUR: i64 = 3_600_000;

async fn prune(repo: &Repository, entropy: u8, grace_ms: u64, now: i64) -> PruneReport {
    let options = PruneOptions { grace_ms, dry_run: false, exclusive: false };
    repo.prune(options, [entropy; 32], UnixMillis(now)).await.unwrap()
}

async fn forget(repo: &Repository, ids: &[BackupId], now: i64) {
    let catalogue = repo.catalogue().await.unwrap();
    repo.forget(&catalogue, ids, [200; 32], UnixMillis(now)).await.unwrap();
}

#[test]
fn what_no_backup_needs_is_freed_and_nothing_else() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(1, 400);
        let mut made = Vec::new();
        for entropy in 2..8 {
            touch(&mut bytes, u64::from(entropy), entropy);
            let meta = meta("a", entropy.into(), &bytes);
            let info = incremental(&repo, entropy, meta, &bytes, None).await.unwrap();
            made.push((info, bytes.clone()));
        }
        assert_eq!(prune(&repo, 50, 0, HOUR).await.freed_objects, 0);
        // The first one's segments carry all the others: only its manifest goes.
        forget(&repo, &[made[0].0.id, made[5].0.id], HOUR).await;
        let plan = PruneOptions { grace_ms: 0, dry_run: true, exclusive: false };
        let planned = repo.prune(plan, [51; 32], UnixMillis(HOUR)).await.unwrap();
        let report = prune(&repo, 52, 0, HOUR).await;
        assert_eq!(
            (planned.freed_bytes, planned.freed_objects),
            (report.freed_bytes, report.freed_objects),
            "a dry run tells the truth"
        );
        assert_eq!(report.freed_objects, 3, "two manifests, and the last one's segment");
        assert_eq!(
            prune(&repo, 53, 0, HOUR).await.freed_objects,
            0,
            "a second run has nothing to do"
        );
        for (info, wanted) in &made[1..5] {
            assert!(restore(&repo, info).await.unwrap() == *wanted);
        }
        assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
        let all: Vec<BackupId> = made.iter().map(|(info, _)| info.id).collect();
        forget(&repo, &all, HOUR).await;
        prune(&repo, 54, 0, HOUR).await;
        for folder in ["seg", "man", "lay", "gc", "sess"] {
            assert_eq!(count(&sink, folder).await, 0, "{folder}");
        }
        assert!(repo.catalogue().await.unwrap().backups.is_empty());
    });
}

#[test]
fn a_forgotten_backup_comes_back_within_its_grace_and_not_after() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 400);
        let made = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        let made = made.await.unwrap();
        let id = made.id.to_string();
        let undo =
            async |entropy, now| repo.bring_back(&id, [entropy; 32], "test", UnixMillis(now)).await;
        assert!(matches!(undo(3, 0).await, Err(RepoError::NoSuchBackup { .. })), "not forgotten");
        for round in 0..3u8 {
            let now = i64::from(round) * HOUR;
            forget(&repo, &[made.id], now).await;
            assert!(repo.catalogue().await.unwrap().backups.is_empty());
            let report = prune(&repo, 10 + round, 24 * HOUR as u64, now + HOUR).await;
            assert_eq!(report.freed_bytes, 0);
            assert!(report.graced_bytes > 0);
            let back = undo(20 + round, now).await.unwrap();
            assert_eq!((back.id, back.generation), (made.id, u32::from(round) + 1));
            let backups = repo.catalogue().await.unwrap().backups;
            assert_eq!(backups.len(), 1);
            assert!(restore(&repo, &backups[0]).await.unwrap() == bytes);
        }
        forget(&repo, &[made.id], 2 * HOUR).await;
        let report = prune(&repo, 40, HOUR as u64, 4 * HOUR).await;
        assert!(report.freed_bytes > 0);
        let late = undo(41, 0).await;
        assert!(matches!(late, Err(RepoError::NoSuchBackup { .. })), "gone for good: {late:?}");
    });
}

#[test]
fn what_a_shorter_grace_freed_is_no_matter_to_a_longer_one() {
    // As a whole, or up to where it was interrupted: the objects go in the order of their names.
    for interrupted in [false, true] {
        let (runtime, sink, repo) = in_memory();
        runtime.block_on(async {
            let options = || WriteOptions { segment_len: 8 << 10, ..plain(Compression::None) };
            let (first, second) = (content(1, 3000), content(2, 3000));
            let made = backup(&repo, 2, meta("a", 1, &first), &first, options()).await.unwrap();
            let kept = backup(&repo, 3, meta("a", 2, &second), &second, options()).await.unwrap();
            assert_eq!(count(&sink, "lay").await, 2, "long enough for lists of their own");
            forget(&repo, &[made.id], HOUR).await;
            if interrupted {
                let list = sink.list("lay").await.unwrap().swap_remove(0).key;
                let of_made = list.as_str().contains(&made.session.to_string());
                assert!(of_made, "{list} is not of the older one");
                sink.delete(&list).await.unwrap();
            } else {
                assert!(prune(&repo, 10, 0, 2 * HOUR).await.freed_bytes > 0);
            }
            let report = prune(&repo, 11, 24 * HOUR as u64, 2 * HOUR).await;
            assert_eq!(report.freed_bytes > 0, interrupted, "{report:?}");
            for folder in ["man", "lay"] {
                assert_eq!(count(&sink, folder).await, 1, "{folder}");
            }
            assert!(restore(&repo, &kept).await.unwrap() == second);
            // What is missing of a backup that nobody forgot is a reason to free nothing, and told.
            let list = sink.list("lay").await.unwrap().swap_remove(0).key;
            sink.delete(&list).await.unwrap();
            let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
            let error = repo.prune(options, [12; 32], UnixMillis(2 * HOUR)).await.unwrap_err();
            assert!(matches!(error, RepoError::Unsafe { .. }), "{error}");
            assert!(error.to_string().contains(list.as_str()), "{error}");
        });
    }
}

#[test]
fn a_session_under_way_is_waited_for_and_then_fenced() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(1, 400);
        let base = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        let base = base.await.unwrap();
        // A backup is under way that builds on the one that is then forgotten.
        let session = Session::begin(&repo, Purpose::Backup, [3; 32], "test", UnixMillis(HOUR));
        let session = session.await.unwrap();
        let parent = session.parent("a").await.unwrap();
        assert!(parent.is_some());
        forget(&repo, &[base.id], HOUR).await;
        let report = prune(&repo, 10, HOUR as u64 / 2, HOUR + HOUR / 4).await;
        assert_eq!((report.freed_bytes, report.waiting_bytes), (0, 0), "within its grace");
        let report = prune(&repo, 11, HOUR as u64 / 2, 2 * HOUR).await;
        assert!(report.fenced.len() == 1 && report.freed_bytes > 0, "{report:?}");
        // The sleeper wakes up: its parent is gone, and it cannot commit.
        touch(&mut bytes, 3, 3);
        let meta_now = meta("a", 2, &bytes);
        let writer =
            mantis_repo::BackupWriter::new(session, meta_now, parent, plain(Compression::None));
        let mut writer = writer.unwrap();
        let run = mantis_page::PageRun::new(
            mantis_page::PageNo::FIRST,
            crate::world::SIZE,
            bytes.clone().into(),
        );
        let pushed = writer.push(run.unwrap()).await;
        let ended = match pushed {
            Ok(()) => match writer.flush().await {
                Ok(()) => writer.commit(1, None).await.map(|_| ()),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        assert!(ended.is_err());
        assert!(repo.catalogue().await.unwrap().backups.is_empty());
        assert!(repo.catalogue().await.unwrap().unreadable.is_empty());
        prune(&repo, 12, 0, 3 * HOUR).await;
        assert_eq!(count(&sink, "seg").await, 0);
    });
}

#[test]
fn a_session_that_commits_while_a_collector_waits_keeps_what_it_needs() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(1, 400);
        let base = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        let base = base.await.unwrap();
        let session = Session::begin(&repo, Purpose::Backup, [3; 32], "test", UnixMillis(HOUR));
        let session = session.await.unwrap();
        let parent = session.parent("a").await.unwrap();
        forget(&repo, &[base.id], -24 * HOUR).await;
        let report = prune(&repo, 10, HOUR as u64, HOUR).await;
        assert!(report.waiting_for.len() == 1 && report.freed_bytes == 0, "{report:?}");
        assert_eq!(count(&sink, "gc").await, 1, "the list stands");
        // Another backup that starts now does not touch what is condemned.
        let other = Session::begin(&repo, Purpose::Backup, [4; 32], "test", UnixMillis(HOUR));
        let other = other.await.unwrap();
        assert!(other.parent("a").await.unwrap().is_none());
        other.abandon().await;
        touch(&mut bytes, 3, 3);
        let meta_now = meta("a", 2, &bytes);
        let writer =
            mantis_repo::BackupWriter::new(session, meta_now, parent, plain(Compression::None));
        let mut writer = writer.unwrap();
        let run = mantis_page::PageRun::new(
            mantis_page::PageNo::FIRST,
            crate::world::SIZE,
            bytes.clone().into(),
        );
        writer.push(run.unwrap()).await.unwrap();
        writer.flush().await.unwrap();
        let made = writer.commit(1, None).await.unwrap();
        let report = prune(&repo, 11, HOUR as u64, HOUR).await;
        assert_eq!(report.freed_objects, 1, "the forgotten one's manifest");
        assert!(restore(&repo, &made).await.unwrap() == bytes);
        // The list stands for what was spared: nobody builds on that any more.
        assert_eq!(count(&sink, "gc").await, 1);
        let next = incremental(&repo, 5, meta("a", 3, &bytes), &bytes, None).await.unwrap();
        assert_eq!(next.kind, mantis_repo::BackupKind::Full);
        forget(&repo, &[made.id], 0).await;
        assert!(prune(&repo, 12, HOUR as u64, 2 * HOUR).await.freed_bytes > 0);
        assert_eq!(count(&sink, "gc").await, 0);
        assert!(restore(&repo, &next).await.unwrap() == bytes);
        assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
    });
}

#[test]
fn nothing_is_freed_beside_a_manifest_that_cannot_be_read_or_a_store_that_hides_outcomes() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 400);
        let one = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        let one = one.await.unwrap();
        backup(&repo, 3, meta("b", 1, &bytes), &bytes, plain(Compression::None)).await.unwrap();
        forget(&repo, &[one.id], 0).await;
        let manifest = sink.list("man").await.unwrap().pop().unwrap().key;
        let span = mantis_sink::Span::Whole { limit: 1 << 20 };
        let whole = sink.get(&manifest, span).await.unwrap();
        sink.replace(&manifest, whole.slice(..whole.len() / 2));
        let objects = sink.list("seg").await.unwrap();
        let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
        let pruned = repo.prune(options, [9; 32], UnixMillis(HOUR)).await;
        assert!(matches!(pruned, Err(RepoError::Unsafe { .. })), "{pruned:?}");
        sink.replace(&manifest, whole);
        for outcome in sink.list("out").await.unwrap() {
            sink.delete(&outcome.key).await.unwrap();
        }
        let pruned = repo.prune(options, [10; 32], UnixMillis(HOUR)).await;
        assert!(matches!(pruned, Err(RepoError::Unsafe { .. })), "{pruned:?}");
        assert_eq!(sink.list("seg").await.unwrap(), objects);
    });
}

#[test]
fn a_crash_at_any_call_of_a_collection_loses_nothing_and_the_next_one_finishes() {
    use mantis_sink::{Fault, FaultSink, SinkErrorKind};
    use std::sync::Arc;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for fault in [Fault::Before(SinkErrorKind::Other), Fault::After(SinkErrorKind::Other)] {
            for call in 0.. {
                let memory = MemorySink::new();
                let init = Repository::init(Arc::new(memory.clone()), [1; 32], UnixMillis(1), None);
                let repo = init.await.unwrap();
                let mut bytes = content(1, 60);
                let mut made = Vec::new();
                for entropy in 2..5 {
                    touch(&mut bytes, entropy.into(), entropy);
                    let meta = meta("a", entropy.into(), &bytes);
                    made.push(incremental(&repo, entropy, meta, &bytes, None).await.unwrap());
                }
                forget(&repo, &[made[0].id, made[1].id], 0).await;
                let orphan = Session::begin(&repo, Purpose::Backup, [6; 32], "t", UnixMillis(0));
                orphan.await.unwrap();
                let faulty = FaultSink::new(Arc::new(memory.clone()));
                let through = Repository::open(Arc::new(faulty.clone()), None).await.unwrap();
                let first = faulty.calls() + call;
                faulty.fail_from(first, fault);
                let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
                let pruned = through.prune(options, [9; 32], UnixMillis(HOUR)).await;
                let calls = faulty.calls();
                let story = format!("{fault:?} from call {call}");
                assert!(restore(&repo, &made[2]).await.unwrap() == bytes, "{story}");
                prune(&repo, 10, 0, HOUR).await;
                assert!(restore(&repo, &made[2]).await.unwrap() == bytes, "{story}");
                assert_eq!(count(&memory, "gc").await, 0, "{story}");
                assert_eq!(count(&memory, "man").await, 1, "{story}");
                touch(&mut bytes, 9, 9);
                let next =
                    incremental(&repo, 11, meta("a", 9, &bytes), &bytes, None).await.unwrap();
                assert!(restore(&repo, &next).await.unwrap() == bytes, "{story}");
                if calls <= first {
                    pruned.unwrap();
                    break;
                }
            }
        }
    });
}

#[test]
fn a_backup_that_cannot_be_read_can_be_forgotten_and_stops_no_collector_then() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 400);
        for (entropy, source) in [(2, "a"), (3, "b")] {
            let meta = meta(source, 1, &bytes[..200 * usize::from(entropy - 1) * 512]);
            let bytes = &bytes[..meta.byte_len as usize];
            backup(&repo, entropy, meta, bytes, plain(Compression::None)).await.unwrap();
        }
        let backups = repo.catalogue().await.unwrap().backups;
        let manifests = sink.list("man").await.unwrap();
        let of_a = backups.iter().find(|backup| backup.meta.source == "a").unwrap();
        let key = manifests
            .iter()
            .find(|object| object.key.as_str().contains(&of_a.session.to_string()))
            .unwrap();
        sink.replace(&key.key, bytes::Bytes::from_static(b"damaged"));
        let catalogue = repo.catalogue().await.unwrap();
        let found = catalogue.find_unreadable(&of_a.id.short()).unwrap();
        assert_eq!(found.id(), of_a.id);
        let options = PruneOptions { grace_ms: HOUR as u64, dry_run: false, exclusive: false };
        let refused = async |entropy, now| {
            let pruned = repo.prune(options, [entropy; 32], UnixMillis(now)).await;
            matches!(pruned, Err(RepoError::Unsafe { .. }))
        };
        assert!(refused(10, HOUR).await);
        forget(&repo, &[of_a.id], HOUR).await;
        assert!(repo.catalogue().await.unwrap().unreadable.is_empty());
        assert!(refused(11, HOUR).await, "within its grace it may be put right");
        let report = repo.prune(options, [12; 32], UnixMillis(3 * HOUR)).await.unwrap();
        assert!(report.freed_objects >= 2, "{report:?}");
        let left = repo.catalogue().await.unwrap().backups;
        assert!(left.len() == 1 && restore(&repo, &left[0]).await.unwrap() == bytes);
    });
}
