//! Backups copied to a replica: nothing decoded, nothing sent twice, nothing lost beside collectors.

use std::sync::Arc;

use mantis_repo::{
    BackupInfo, Copier, CopyOptions, PruneOptions, RepoError, Repository, UnixMillis, VerifyOptions,
};
use mantis_sink::{Fault, FaultSink, MemorySink, Sink, SinkErrorKind};
use mantis_stream::Compression;

use crate::world::{backup, content, in_memory, incremental, meta, plain, restore, touch};

fn options() -> CopyOptions {
    CopyOptions { owner: "copier".into(), now: UnixMillis(5), ..CopyOptions::default() }
}

async fn begin(from: &Repository, to: Arc<dyn Sink>, entropy: u8) -> Result<Copier, RepoError> {
    Copier::begin(from, to, options(), [entropy; 32], |owner| owner == "copier").await
}

/// Backups of two sources, built on each other.
async fn filled(repo: &Repository) -> Vec<(BackupInfo, Vec<u8>)> {
    let mut made = Vec::new();
    let mut bytes = content(1, 900);
    let options = mantis_repo::WriteOptions { segment_len: 32 << 10, ..plain(Compression::Lz4) };
    let first = backup(repo, 2, meta("a", 1, &bytes), &bytes, options).await.unwrap();
    made.push((first, bytes.clone()));
    for entropy in 3..6 {
        touch(&mut bytes, u64::from(entropy) * 7, entropy);
        let next = incremental(repo, entropy, meta("a", entropy.into(), &bytes), &bytes, None);
        made.push((next.await.unwrap(), bytes.clone()));
    }
    let other = content(9, 300);
    let last = backup(repo, 7, meta("b", 9, &other), &other, plain(Compression::Zstd(1)));
    made.push((last.await.unwrap(), other));
    made
}

async fn is_whole(repo: &Repository, made: &[(BackupInfo, Vec<u8>)]) {
    let backups = repo.catalogue().await.unwrap().backups;
    assert_eq!(backups.len(), made.len());
    for (info, bytes) in made {
        let there = backups.iter().find(|backup| backup.id == info.id).unwrap();
        assert_eq!((&there.meta, there.fingerprint), (&info.meta, info.fingerprint));
        assert!(restore(repo, there).await.unwrap() == *bytes);
    }
    let report = repo.verify(&[], &VerifyOptions::default()).await.unwrap();
    assert!(report.damaged.is_empty(), "{report:?}");
}

async fn copy_all(copier: &mut Copier, made: &[(BackupInfo, Vec<u8>)]) -> Result<u64, RepoError> {
    let mut copied = 0;
    for (info, _) in made {
        copied += u64::from(copier.copy(info).await?);
    }
    Ok(copied)
}

#[test]
fn all_backups_arrive_and_nothing_is_sent_twice() {
    let (runtime, source, repo) = in_memory();
    runtime.block_on(async {
        let made = filled(&repo).await;
        let target = MemorySink::new();
        let mut copier = begin(&repo, Arc::new(target.clone()), 50).await.unwrap();
        assert_eq!(copy_all(&mut copier, &made).await.unwrap(), 5);
        let replica = copier.replica().clone();
        let report = copier.end().await;
        assert_eq!((report.backups, replica.id()), (5, repo.id()));
        is_whole(&replica, &made).await;
        assert!(target.list("sess").await.unwrap().is_empty());
        // Again: nothing. One more backup: what it added.
        let mut copier = begin(&repo, Arc::new(target.clone()), 51).await.unwrap();
        assert_eq!(copy_all(&mut copier, &made).await.unwrap(), 0);
        let mut bytes = made[3].1.clone();
        touch(&mut bytes, 500, 77);
        let next = incremental(&repo, 20, meta("a", 20, &bytes), &bytes, None).await.unwrap();
        assert!(copier.copy(&next).await.unwrap());
        let report = copier.end().await;
        assert_eq!((report.backups, report.segments), (1, 1));
        assert!(report.bytes_there > 10 * report.bytes, "{report:?}");
        let mut all = made;
        all.push((next, bytes));
        is_whole(&replica, &all).await;
        // A backup made straight to the replica is built on what was copied, and comes back.
        let mut bytes = all[5].1.clone();
        touch(&mut bytes, 600, 78);
        let direct = incremental(&replica, 30, meta("a", 30, &bytes), &bytes, None).await.unwrap();
        assert_eq!((direct.parent, direct.pages_changed), (Some(all[5].0.id), 1));
        let mut back = begin(&replica, Arc::new(source), 52).await.unwrap();
        assert!(back.copy(&direct).await.unwrap());
        assert_eq!(back.end().await.segments, 1);
        all.push((direct, bytes));
        is_whole(&repo, &all).await;
    });
}

/// The target fails at each call in turn, before and after it took effect; the next run makes it whole and sends no
/// segment again.
#[test]
fn an_interrupted_copy_is_gone_on_with_at_whichever_call_it_stopped() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let made = filled(&repo).await;
        let calls = {
            let target = FaultSink::new(Arc::new(MemorySink::new()));
            let mut copier = begin(&repo, Arc::new(target.clone()), 50).await.unwrap();
            copy_all(&mut copier, &made).await.unwrap();
            copier.end().await;
            target.calls()
        };
        for at in 0..calls {
            for fault in [Fault::Before(SinkErrorKind::Other), Fault::After(SinkErrorKind::Other)] {
                let memory = MemorySink::new();
                let target = FaultSink::new(Arc::new(memory.clone()));
                target.fail_from(at, fault);
                if let Ok(mut copier) = begin(&repo, Arc::new(target.clone()), 50).await {
                    // Killed: nothing is cleaned up.
                    let _ = copy_all(&mut copier, &made).await;
                    std::mem::forget(copier);
                }
                let sent = memory.list("seg").await.unwrap_or_default().len();
                let mut copier = begin(&repo, Arc::new(memory.clone()), 51).await.unwrap();
                copy_all(&mut copier, &made).await.unwrap();
                let replica = copier.replica().clone();
                copier.end().await;
                is_whole(&replica, &made).await;
                let total = memory.list("seg").await.unwrap().len();
                assert!(total <= 1 + needed(&made, &repo).await, "{total} after {sent} at {at}");
            }
        }
    });
}

/// The segments that backups need.
async fn needed(made: &[(BackupInfo, Vec<u8>)], repo: &Repository) -> usize {
    let mut names = std::collections::HashSet::new();
    for (info, _) in made {
        let manifest = repo.manifest(info).await.unwrap();
        names.extend(manifest.segments().map(|segment| segment.hash.to_string()));
    }
    names.len()
}

#[test]
fn a_collector_of_the_replica_frees_nothing_that_a_copy_names() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let made = filled(&repo).await;
        let target = MemorySink::new();
        let mut copier = begin(&repo, Arc::new(target.clone()), 50).await.unwrap();
        copier.copy(&made[0].0).await.unwrap();
        let replica = copier.replica().clone();
        copier.end().await;
        let at_replica = replica.catalogue().await.unwrap();
        let mut copier = begin(&repo, Arc::new(target.clone()), 51).await.unwrap();
        // Forgotten and collected between the look and the copy: patiently, and without any patience.
        replica.forget(&at_replica, &[made[0].0.id], [52; 32], UnixMillis(6)).await.unwrap();
        let patient = PruneOptions { grace_ms: 1 << 40, dry_run: false, exclusive: false };
        replica.prune(patient, [53; 32], UnixMillis(7)).await.unwrap();
        assert!(copier.copy(&made[1].0).await.unwrap());
        let there = replica.catalogue().await.unwrap().backups;
        assert!(restore(&replica, &there[0]).await.unwrap() == made[1].1);
        let hasty = PruneOptions { grace_ms: 0, ..patient };
        replica.prune(hasty, [54; 32], UnixMillis(1 << 50)).await.unwrap();
        assert!(matches!(copier.copy(&made[2].0).await, Err(RepoError::Fenced)));
        copier.end().await;
        let mut copier = begin(&repo, Arc::new(target.clone()), 55).await.unwrap();
        copy_all(&mut copier, &made).await.unwrap();
        copier.end().await;
        is_whole(&replica, &made).await;
    });
}

/// What the replica lost is sent again, and the backup that needed it is made whole.
#[test]
fn a_segment_that_the_replica_lost_is_not_relied_on() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let made = filled(&repo).await;
        let target = MemorySink::new();
        let mut copier = begin(&repo, Arc::new(target.clone()), 50).await.unwrap();
        assert_eq!(copy_all(&mut copier, &made[..3]).await.unwrap(), 3);
        let replica = copier.replica().clone();
        copier.end().await;
        let first = replica.catalogue().await.unwrap().backups.remove(0);
        let shared = replica.manifest(&first).await.unwrap().segments().next().unwrap().clone();
        let lost = mantis_repo::Place::Segment(shared.session, shared.hash).key().unwrap();
        target.delete(&lost).await.unwrap();
        let mut copier = begin(&repo, Arc::new(target.clone()), 51).await.unwrap();
        copy_all(&mut copier, &made).await.unwrap();
        copier.end().await;
        is_whole(&replica, &made).await;
    });
}

#[test]
fn another_repository_is_no_replica_and_is_left_alone() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let target = MemorySink::new();
        let init = Repository::init(Arc::new(target.clone()), [9; 32], UnixMillis(1), None);
        init.await.unwrap();
        let before = target.list("").await.unwrap();
        let refused = begin(&repo, Arc::new(target.clone()), 50).await;
        assert!(matches!(refused, Err(RepoError::OtherRepository { .. })));
        assert_eq!(target.list("").await.unwrap(), before);
    });
}

#[cfg(feature = "encryption")]
#[test]
fn a_replica_of_an_encrypted_repository_opens_with_the_same_keys() {
    use mantis_repo::{KeyLock, NewKey, Password};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let password = Password::new("p".into());
        let key = NewKey { lock: KeyLock::Password(password.clone()), label: String::new() };
        let init = Repository::init(Arc::new(MemorySink::new()), [1; 32], UnixMillis(1), Some(key));
        let repo = init.await.unwrap();
        let bytes = content(1, 100);
        let old =
            backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None)).await.unwrap();
        let target = MemorySink::new();
        let mut copier = begin(&repo, Arc::new(target.clone()), 50).await.unwrap();
        copier.copy(&old).await.unwrap();
        copier.end().await;
        let (repo, _) = repo.rotate([8; 32]).await.unwrap();
        let new =
            backup(&repo, 3, meta("b", 2, &bytes), &bytes, plain(Compression::None)).await.unwrap();
        let mut copier = begin(&repo, Arc::new(target.clone()), 51).await.unwrap();
        copier.copy(&new).await.unwrap();
        copier.end().await;
        let opened = Repository::open(Arc::new(target), Some(&password.into())).await.unwrap();
        is_whole(&opened, &[(old, bytes.clone()), (new, bytes)]).await;
    });
}
