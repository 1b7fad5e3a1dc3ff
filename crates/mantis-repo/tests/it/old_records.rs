//! What is left of a backup that was forgotten and freed goes, too, and nothing else does.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use mantis_repo::{BackupInfo, PruneOptions, PruneReport, RepoError, Repository, UnixMillis};
use mantis_repo::{RepairOptions, VerifyOptions};
use mantis_sink::{Fault, FaultSink, MemorySink, ObjectKey, Sink, SinkErrorKind};
use mantis_stream::{CancellationToken, Compression};

use crate::world::{backup, content, count, in_memory, incremental, meta, plain, restore, touch};

const NOW: UnixMillis = UnixMillis(1 << 40);

async fn prune(repo: &Repository, entropy: u8, dry_run: bool) -> Result<PruneReport, RepoError> {
    let options = PruneOptions { grace_ms: 0, dry_run, exclusive: false };
    repo.prune(options, [entropy; 32], NOW).await
}

/// Five backups, each built on the one before, and what each holds; some are forgotten.
async fn five(repo: &Repository, forgotten: &[usize]) -> Vec<(BackupInfo, Vec<u8>)> {
    let mut bytes = content(1, 400);
    let mut made = Vec::new();
    for entropy in 2..7u8 {
        touch(&mut bytes, entropy.into(), entropy);
        let meta = meta("a", entropy.into(), &bytes);
        let info = incremental(repo, entropy, meta, &bytes, None).await.unwrap();
        made.push((info, bytes.clone()));
    }
    let ids: Vec<_> = forgotten.iter().map(|at| made[*at].0.id).collect();
    let catalogue = repo.catalogue().await.unwrap();
    repo.forget(&catalogue, &ids, [200; 32], UnixMillis(1)).await.unwrap();
    made
}

async fn records(sink: &MemorySink) -> (usize, usize) {
    (count(sink, "out").await, count(sink, "forget").await)
}

#[test]
fn records_go_in_two_more_runs_but_for_the_newest() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let made = five(&repo, &[0, 1, 4]).await;
        assert_eq!(prune(&repo, 10, false).await.unwrap().swept_records, 0, "manifests first");
        assert_eq!(records(&sink).await, (5, 3));
        assert_eq!(prune(&repo, 11, true).await.unwrap().swept_records, 2, "a dry run");
        assert_eq!(records(&sink).await, (5, 3));
        assert_eq!(prune(&repo, 12, false).await.unwrap().swept_records, 2);
        assert_eq!(records(&sink).await, (3, 3), "sessions count on from the newest");
        assert_eq!(prune(&repo, 13, false).await.unwrap().swept_records, 2);
        assert_eq!(records(&sink).await, (3, 1));
        assert_eq!(prune(&repo, 14, false).await.unwrap().swept_records, 0);
        let (info, bytes) = &made[3];
        let mut bytes = bytes.clone();
        touch(&mut bytes, 9, 9);
        let next = incremental(&repo, 15, meta("a", 9, &bytes), &bytes, None).await.unwrap();
        assert!(next.session > info.session);
        for round in 16..18 {
            assert_eq!(prune(&repo, round, false).await.unwrap().swept_records, 1);
        }
        assert_eq!(records(&sink).await, (3, 0));
        let left = repo.catalogue().await.unwrap().backups;
        assert_eq!(left.len(), 3);
        assert!(restore(&repo, &next).await.unwrap() == bytes);
        assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
    });
}

#[test]
fn records_stay_while_anything_else_is_left_of_their_backup() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let made = five(&repo, &[0, 1]).await;
        let of = |folder: &str, at: usize| {
            ObjectKey::new(format!("{folder}/{}", made[at].0.session)).unwrap()
        };
        prune(&repo, 10, false).await.unwrap();
        // The announcement of one came back: a request that was late.
        sink.put_new(&of("sess", 0), Bytes::from_static(b"late").into()).await.unwrap();
        // The outcome of the other cannot be read: nobody knows what manifest it named.
        sink.replace(&of("out", 1), Bytes::from_static(b"damaged"));
        let old = prune(&repo, 11, false).await.unwrap();
        assert_eq!(old.swept_records, 0);
        assert_eq!(records(&sink).await, (5, 2));
        // That announcement is tidied away by then.
        assert_eq!(prune(&repo, 12, false).await.unwrap().swept_records, 1);
        assert_eq!(records(&sink).await, (4, 2));
    });
}

#[test]
fn a_store_that_fails_at_any_call_loses_nothing_by_it() {
    let (runtime, ..) = in_memory();
    runtime.block_on(async {
        for fault in [Fault::Before(SinkErrorKind::Other), Fault::After(SinkErrorKind::Other)] {
            for call in 0u64.. {
                let memory = MemorySink::new();
                let init = Repository::init(Arc::new(memory.clone()), [1; 32], NOW, None);
                let repo = init.await.unwrap();
                let made = five(&repo, &[0, 2]).await;
                prune(&repo, 10, false).await.unwrap();
                let faulty = FaultSink::new(Arc::new(memory.clone()));
                let through = Repository::open(Arc::new(faulty.clone()), None).await.unwrap();
                let first = faulty.calls() + call;
                faulty.fail_from(first, fault);
                let story = format!("{fault:?} from call {call}");
                let failed = prune(&through, 11, false).await.is_err()
                    || prune(&through, 12, false).await.is_err();
                for round in 20..23 {
                    prune(&repo, round, false).await.unwrap();
                }
                assert_eq!(records(&memory).await, (3, 0), "{story}");
                for at in [1, 3, 4] {
                    let (info, bytes) = &made[at];
                    assert!(restore(&repo, info).await.unwrap() == *bytes, "{story}");
                }
                let catalogue = repo.catalogue().await.unwrap();
                assert!(catalogue.backups.len() == 3 && catalogue.unreadable.is_empty(), "{story}");
                if faulty.calls() <= first {
                    assert!(!failed, "{story}");
                    break;
                }
            }
        }
    });
}

#[test]
fn what_a_store_has_locked_stays_until_its_time() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        five(&repo, &[0, 2]).await;
        prune(&repo, 10, false).await.unwrap();
        let locking = FaultSink::new(Arc::new(sink.clone()));
        let through = Repository::open(Arc::new(locking.clone()), None).await.unwrap();
        let now = Duration::from_millis(NOW.0.unsigned_abs());
        locking.lock_until(UNIX_EPOCH + now + Duration::from_secs(1));
        assert_eq!(prune(&through, 11, false).await.unwrap().swept_records, 0);
        assert_eq!(records(&sink).await, (5, 2));
        locking.lock_until(UNIX_EPOCH + now);
        assert_eq!(prune(&through, 12, false).await.unwrap().swept_records, 2);
        assert_eq!(records(&sink).await, (3, 2));
    });
}

#[test]
fn a_lost_outcome_is_told_from_one_that_was_removed() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let made = five(&repo, &[0]).await;
        for round in 10..13 {
            prune(&repo, round, false).await.unwrap();
        }
        assert_eq!(records(&sink).await, (4, 0));
        let lost = ObjectKey::new(format!("out/{}", made[1].0.session)).unwrap();
        sink.delete(&lost).await.unwrap();
        assert!(matches!(prune(&repo, 14, false).await, Err(RepoError::Unsafe { .. })));
        let repair = RepairOptions {
            dry_run: false,
            owner: "test".into(),
            cancel: CancellationToken::new(),
        };
        repo.repair(&repair, [15; 32], NOW).await.unwrap();
        assert_eq!(records(&sink).await.0, 4);
        assert!(restore(&repo, &made[1].0).await.unwrap() == made[1].1);
    });
}

#[test]
fn an_old_full_backup_alone_is_not_missed_by_those_that_are_built_on_it() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 400);
        let full = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        let full = full.await.unwrap();
        let mut changed = bytes.clone();
        touch(&mut changed, 3, 3);
        let next = incremental(&repo, 3, meta("a", 2, &changed), &changed, None).await.unwrap();
        let catalogue = repo.catalogue().await.unwrap();
        repo.forget(&catalogue, &[full.id], [200; 32], UnixMillis(1)).await.unwrap();
        for round in 10..14 {
            prune(&repo, round, false).await.unwrap();
        }
        assert_eq!(records(&sink).await, (1, 0));
        assert!(restore(&repo, &next).await.unwrap() == changed);
        // A collector that sees segments of a session of which no record is left, and knows nothing else of it.
        touch(&mut changed, 5, 5);
        let last = incremental(&repo, 20, meta("a", 3, &changed), &changed, None).await.unwrap();
        assert!(last.pages_changed <= 2, "built on what is there");
        prune(&repo, 21, false).await.unwrap();
        assert!(restore(&repo, &last).await.unwrap() == changed);
    });
}
