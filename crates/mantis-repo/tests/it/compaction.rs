//! Layers put together: every backup restores as before, stacks are short, what nobody needs is freed.

use mantis_repo::{
    BackupId, BackupInfo, CompactOptions, CompactReport, PruneOptions, Repository, UnixMillis,
    VerifyOptions,
};
use mantis_sink::Sink;
use mantis_stream::{CancellationToken, Compression};
use proptest::prelude::*;

use crate::world::{SIZE, backup, content, in_memory, incremental, meta, plain, restore, touch};

async fn compact(repo: &Repository, entropy: u8, max_unused: f64) -> CompactReport {
    let options = CompactOptions {
        max_unused,
        dry_run: false,
        owner: "test".into(),
        cancel: CancellationToken::new(),
    };
    repo.compact(&options, [entropy; 32], UnixMillis(i64::from(entropy))).await.unwrap()
}

async fn prune(repo: &Repository, entropy: u8) -> u64 {
    // A long time of grace: what a later generation took the place of does not wait for it.
    let options = PruneOptions { grace_ms: 1 << 40, dry_run: false, exclusive: false };
    let report = repo.prune(options, [entropy; 32], UnixMillis(1 << 41)).await.unwrap();
    report.freed_bytes
}

async fn forget(repo: &Repository, ids: &[BackupId]) {
    let catalogue = repo.catalogue().await.unwrap();
    repo.forget(&catalogue, ids, [250; 32], UnixMillis(0)).await.unwrap();
}

async fn stacks(repo: &Repository) -> Vec<usize> {
    let mut heights = Vec::new();
    for backup in repo.catalogue().await.unwrap().backups {
        heights.push(repo.manifest(&backup).await.unwrap().layers.len());
    }
    heights
}

#[test]
fn what_lies_between_kept_backups_goes_together() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(1, 900);
        let mut made: Vec<(BackupInfo, Vec<u8>)> = Vec::new();
        for entropy in 2..17u8 {
            for page in 0..20 {
                touch(&mut bytes, (u64::from(entropy) * 7 + page * 31) % 900, entropy);
            }
            let meta = meta("a", entropy.into(), &bytes);
            let info = incremental(&repo, entropy, meta, &bytes, None).await.unwrap();
            made.push((info, bytes.clone()));
        }
        assert_eq!(compact(&repo, 100, 0.05).await.merges, 0, "every moment is kept");
        let kept: Vec<(BackupInfo, Vec<u8>)> = made.iter().skip(4).step_by(5).cloned().collect();
        let gone: Vec<BackupId> = made
            .iter()
            .map(|(info, _)| info.id)
            .filter(|id| kept.iter().all(|(kept, _)| kept.id != *id))
            .collect();
        forget(&repo, &gone).await;
        let before = sink.list("seg").await.unwrap().iter().map(|object| object.len).sum::<u64>();
        let report = compact(&repo, 101, 0.05).await;
        assert!(report.merges >= 3 && report.backups >= 3, "{report:?}");
        assert_eq!(stacks(&repo).await, [1, 2, 3]);
        assert!(prune(&repo, 102).await > 0);
        let after = sink.list("seg").await.unwrap().iter().map(|object| object.len).sum::<u64>();
        assert!(after < before, "{after} of {before}");
        let backups = repo.catalogue().await.unwrap().backups;
        assert_eq!(backups.len(), kept.len());
        for (backup, (old, wanted)) in backups.iter().zip(&kept) {
            assert_eq!((backup.id, backup.fingerprint), (old.id, old.fingerprint));
            assert!(restore(&repo, backup).await.unwrap() == *wanted);
        }
        assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
        assert_eq!(compact(&repo, 103, 0.05).await.merges, 0, "a second run has nothing to do");
        assert_eq!(prune(&repo, 104).await, 0);
        // The next backup builds on the newest one, whatever generation that is.
        touch(&mut bytes, 3, 77);
        let next = incremental(&repo, 105, meta("a", 105, &bytes), &bytes, None).await.unwrap();
        assert_eq!((next.parent, next.pages_changed), (Some(kept[2].0.id), 1));
        assert!(restore(&repo, &next).await.unwrap() == bytes);
    });
}

#[test]
fn segments_that_nothing_touched_are_not_written_again() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        // Several segments, of which the changes touch the first one only.
        let mut bytes = content(1, 150_000);
        backup(&repo, 2, meta("a", 2, &bytes), &bytes, plain(Compression::Zstd(1))).await.unwrap();
        for entropy in 3..9u8 {
            touch(&mut bytes, u64::from(entropy), entropy);
            let meta = meta("a", entropy.into(), &bytes);
            incremental(&repo, entropy, meta, &bytes, None).await.unwrap();
        }
        let backups = repo.catalogue().await.unwrap().backups;
        let (newest, older) = backups.split_last().unwrap();
        let older: Vec<BackupId> = older.iter().map(|backup| backup.id).collect();
        let full = backups[0].bytes_stored;
        forget(&repo, &older).await;
        let report = compact(&repo, 100, 0.0).await;
        assert!(report.written_bytes < full / 3, "{report:?} of {full}");
        assert_eq!(stacks(&repo).await, [1]);
        let backup = &repo.catalogue().await.unwrap().backups[0];
        assert_eq!(backup.id, newest.id);
        assert!(restore(&repo, backup).await.unwrap() == bytes);
        prune(&repo, 101).await;
        assert!(restore(&repo, backup).await.unwrap() == bytes);
    });
}

#[test]
fn a_backup_that_was_forgotten_meanwhile_stays_forgotten() {
    use mantis_sink::{Fault, FaultSink, SinkErrorKind};
    use std::sync::Arc;
    let (runtime, memory, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(1, 90);
        let mut made = Vec::new();
        for entropy in 2..9u8 {
            touch(&mut bytes, u64::from(entropy), entropy);
            let meta = meta("a", entropy.into(), &bytes);
            made.push(incremental(&repo, entropy, meta, &bytes, None).await.unwrap());
        }
        let (newest, older) = made.split_last().unwrap();
        let older: Vec<BackupId> = older.iter().map(|backup| backup.id).collect();
        forget(&repo, &older).await;
        // A crash at every call of a compaction: the backup is there, whole, once.
        for call in 0.. {
            let memory = memory.copy();
            let repo = Repository::open(Arc::new(memory.clone()), None).await.unwrap();
            let faulty = FaultSink::new(Arc::new(memory.clone()));
            let through = Repository::open(Arc::new(faulty.clone()), None).await.unwrap();
            let first = faulty.calls() + call;
            faulty.fail_from(first, Fault::After(SinkErrorKind::Other));
            let options = CompactOptions {
                max_unused: 0.0,
                dry_run: false,
                owner: "test".into(),
                cancel: CancellationToken::new(),
            };
            let entropy = blake3_like(call);
            let compacted = through.compact(&options, entropy, UnixMillis(5)).await;
            let backups = repo.catalogue().await.unwrap().backups;
            assert_eq!(backups.len(), 1, "call {call}");
            assert_eq!(backups[0].id, newest.id);
            assert!(restore(&repo, &backups[0]).await.unwrap() == bytes, "call {call}");
            // After a crash it runs again; with no crash any more, all calls were tried.
            let done = compacted.is_ok();
            let again =
                repo.compact(&options, blake3_like(call + 1000), UnixMillis(6)).await.unwrap();
            assert!(again.merges == 0 || !done, "call {call}");
            assert!(restore(&repo, &backups[0]).await.unwrap() == bytes, "call {call}");
            let backups = repo.catalogue().await.unwrap().backups;
            assert!(restore(&repo, &backups[0]).await.unwrap() == bytes, "call {call}");
            forget(&repo, &[newest.id]).await;
            assert!(repo.catalogue().await.unwrap().backups.is_empty(), "call {call}");
            if done {
                break;
            }
        }
    });
}

fn blake3_like(call: u64) -> [u8; 32] {
    let mut entropy = [9; 32];
    entropy[..8].copy_from_slice(&call.to_le_bytes());
    entropy
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]
    /// Whatever is kept, and however often layers are put together in between, every kept backup restores.
    #[test]
    fn every_kept_moment_survives(
        steps in prop::collection::vec((prop::collection::vec((0u64..50, 0u8..3), 0..6), 0u64..50, any::<bool>(), 0u8..4), 3..14),
        share in 0.0f64..0.3,
    ) {
        let (runtime, _, repo) = in_memory();
        runtime.block_on(async {
            let mut bytes = content(2, 30);
            let mut kept: Vec<(BackupInfo, Vec<u8>)> = Vec::new();
            for (entropy, (changes, pages, keep, what)) in (2u8..).zip(steps) {
                bytes.resize(pages as usize * SIZE.bytes(), 1);
                for (page, with) in changes.into_iter().filter(|(page, _)| *page < pages) {
                    touch(&mut bytes, page, with);
                }
                let meta = meta("a", entropy.into(), &bytes);
                let next = incremental(&repo, entropy, meta, &bytes, None).await.unwrap();
                if let Some(last) = kept.last().filter(|_| !keep).map(|(info, _)| info.id) {
                    forget(&repo, &[last]).await;
                    kept.pop();
                }
                kept.push((next, bytes.clone()));
                if what == 0 {
                    compact(&repo, entropy + 100, share).await;
                }
                if what == 1 {
                    prune(&repo, entropy + 50).await;
                }
            }
            compact(&repo, 98, share).await;
            prune(&repo, 99).await;
            let backups = repo.catalogue().await.unwrap().backups;
            assert_eq!(backups.len(), kept.len());
            for (backup, (old, wanted)) in backups.iter().zip(&kept) {
                assert_eq!((backup.id, backup.fingerprint), (old.id, old.fingerprint));
                assert!(restore(&repo, backup).await.unwrap() == *wanted);
            }
            assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
        });
    }
}
