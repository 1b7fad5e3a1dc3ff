//! Damage put right, or told exactly, and never passed off as whole.

use std::sync::Arc;

use bytes::Bytes;
use mantis_page::PageNo;
use mantis_repo::{
    BackupInfo, Place, PruneOptions, RepairOptions, RepairReport, Repository, Salvaged, UnixMillis,
    VerifyOptions, WriteOptions,
};
use mantis_sink::{MemorySink, ObjectKey, Sink, Span};
use mantis_stream::{CancellationToken, Compression};

use crate::world::{
    NOTHING, SIZE, backup, content, image_of, in_memory, incremental, meta, plain, restore, touch,
};

async fn repair(repo: &Repository, entropy: u8, dry_run: bool) -> RepairReport {
    let options = RepairOptions { dry_run, owner: "test".into(), cancel: CancellationToken::new() };
    repo.repair(&options, [entropy; 32], UnixMillis(5)).await.unwrap()
}

async fn prune(repo: &Repository, entropy: u8) {
    let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
    repo.prune(options, [entropy; 32], UnixMillis(9)).await.unwrap();
}

async fn bytes_of(sink: &MemorySink, key: &ObjectKey) -> Bytes {
    sink.get(key, Span::Whole { limit: 1 << 30 }).await.unwrap()
}

/// Flips a byte of an object.
async fn flip(sink: &MemorySink, key: &ObjectKey, at: usize) {
    let mut bytes = bytes_of(sink, key).await.to_vec();
    bytes[at] ^= 0x20;
    sink.replace(key, bytes.into());
}

/// The first segment of a backup.
async fn first_segment(repo: &Repository, info: &BackupInfo) -> ObjectKey {
    let first = repo.manifest(info).await.unwrap().segments().next().unwrap().clone();
    Place::Segment(first.session, first.hash).key().unwrap()
}

async fn salvage(repo: &Repository, info: &BackupInfo) -> (Vec<u8>, Salvaged) {
    let (image, give) = image_of(info);
    let manifest = repo.manifest(info).await.unwrap();
    let salvaged = repo.salvage(&manifest, give).await.unwrap();
    let image = image.lock().unwrap().clone();
    (image, salvaged)
}

#[test]
fn a_damaged_segment_is_made_anew_from_identical_pages_elsewhere() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 900);
        let one = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::Zstd(1)));
        let one = one.await.unwrap();
        let mut later = bytes.clone();
        touch(&mut later, 7, 7);
        let two = incremental(&repo, 3, meta("a", 2, &later), &later, None).await.unwrap();
        // Another database with the same pages, and one more in front.
        let mut other = vec![9; SIZE.bytes()];
        other.extend_from_slice(&bytes);
        backup(&repo, 4, meta("b", 1, &other), &other, plain(Compression::None)).await.unwrap();
        assert_eq!(repair(&repo, 9, false).await, RepairReport::default(), "nothing to do");
        let key = first_segment(&repo, &one).await;
        flip(&sink, &key, 5000).await;
        assert!(restore(&repo, &one).await.is_err());
        let would = repair(&repo, 10, true).await;
        let done = repair(&repo, 11, false).await;
        assert_eq!((&would.segments, would.backups), (&done.segments, done.backups));
        assert!(done.refilled > 0 && done.lost.is_empty() && done.backups == 2, "{done:?}");
        for (old, wanted) in [(&one, &bytes), (&two, &later)] {
            let catalogue = repo.catalogue().await.unwrap();
            let now = catalogue.backups.iter().find(|backup| backup.id == old.id).unwrap();
            assert_eq!(now.generation, 1);
            assert!(restore(&repo, now).await.unwrap() == *wanted);
        }
        assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
        prune(&repo, 12).await;
        assert!(sink.stat(&key).await.is_err(), "the damaged one is freed");
        assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
        assert!(sink.list("sess").await.unwrap().is_empty());
    });
}

#[test]
fn a_longer_segment_than_is_usual_is_made_anew_as_one() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 60_000);
        let options = WriteOptions { segment_len: 64 << 20, ..plain(Compression::Lz4) };
        let made = backup(&repo, 2, meta("a", 1, &bytes), &bytes, options).await.unwrap();
        let manifest = repo.manifest(&made).await.unwrap();
        assert_eq!(manifest.segments().count(), 1);
        // Only its header: every page of it is there.
        flip(&sink, &first_segment(&repo, &made).await, 3).await;
        let done = repair(&repo, 3, false).await;
        assert!(done.lost.is_empty() && done.segments.len() == 1, "{done:?}");
        let now = repo.catalogue().await.unwrap().backups.remove(0);
        assert!(restore(&repo, &now).await.unwrap() == bytes);
    });
}

#[test]
fn damage_to_header_and_footer_alone_loses_no_page() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 300);
        let one = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::Lz4));
        let one = one.await.unwrap();
        for (at, entropy) in [(3, 20), (40, 30), (usize::MAX, 40)] {
            let backups = repo.catalogue().await.unwrap().backups;
            let key = first_segment(&repo, &backups[0]).await;
            let len = bytes_of(&sink, &key).await.len();
            flip(&sink, &key, at.min(len - 2)).await;
            let report = repair(&repo, entropy, false).await;
            assert!(report.segments.len() == 1 && report.lost.is_empty(), "{report:?}");
            let backups = repo.catalogue().await.unwrap().backups;
            assert!(backups[0].id == one.id && restore(&repo, &backups[0]).await.unwrap() == bytes);
            prune(&repo, entropy + 1).await;
        }
    });
}

#[test]
fn what_is_lost_is_told_page_by_page_and_the_rest_is_salvaged() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 3000);
        let one = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        let one = one.await.unwrap();
        let mut later = bytes.clone();
        touch(&mut later, 3, 7);
        let two = incremental(&repo, 3, meta("a", 2, &later), &later, None).await.unwrap();
        let key = first_segment(&repo, &one).await;
        let whole = bytes_of(&sink, &key).await;
        flip(&sink, &key, 2000).await;
        let report = repair(&repo, 10, false).await;
        assert!(report.segments.is_empty() && report.backups == 0, "{report:?}");
        let lost = report.lost[0].pages.clone().unwrap();
        let count: u64 = lost.iter().map(|(first, last)| last - first + 1).sum();
        assert!(count > 0 && count <= 512, "one frame: {lost:?}");
        assert_eq!(report.lost[0].backups, [one.id, two.id]);
        for (info, wanted) in [(&one, &bytes), (&two, &later)] {
            let (image, salvaged) = salvage(&repo, info).await;
            assert_eq!(salvaged.pages + salvaged.lost.len(), info.meta.page_count);
            assert!(!salvaged.lost.is_empty() && salvaged.damaged.len() == 1);
            for (at, (got, wanted)) in (0u64..).zip(image.chunks(512).zip(wanted.chunks(512))) {
                let lost = salvaged.lost.contains(PageNo::from_index(at).unwrap());
                assert!(if lost { got == [NOTHING; 512] } else { got == wanted }, "page {at}");
            }
        }
        // The newer copy of page 4 is whole: it is not lost, whatever became of the older one.
        let (_, salvaged) = salvage(&repo, &two).await;
        assert!(!salvaged.lost.contains(PageNo::new(4).unwrap()));
        // The segment is gone altogether: nothing of it is made up from older moments.
        sink.delete(&key).await.unwrap();
        let (_, salvaged) = salvage(&repo, &two).await;
        assert_eq!(salvaged.pages, 1);
        sink.replace(&key, whole);
        let (image, salvaged) = salvage(&repo, &two).await;
        assert!(image == later && salvaged.lost.is_empty());
    });
}

#[test]
fn a_damaged_copy_of_the_parameters_is_made_anew() {
    let (runtime, sink, _) = in_memory();
    runtime.block_on(async {
        for name in ["mantis.repo", "mantis.repo.copy"] {
            let key = ObjectKey::new(name).unwrap();
            let before = bytes_of(&sink, &key).await;
            flip(&sink, &key, 70).await;
            let repo = Repository::open(Arc::new(sink.clone()), None).await.unwrap();
            assert_eq!(repair(&repo, 3, true).await.copies, [name]);
            assert_eq!(repair(&repo, 3, false).await.copies, [name]);
            assert_eq!(bytes_of(&sink, &key).await, before);
            sink.delete(&key).await.unwrap();
            let repo = Repository::open(Arc::new(sink.clone()), None).await.unwrap();
            assert_eq!(repair(&repo, 4, false).await.copies, [name]);
            assert_eq!(bytes_of(&sink, &key).await, before);
        }
    });
}

#[test]
fn a_backup_that_lost_its_outcome_is_no_garbage_and_comes_back() {
    // As it was; or without a segment, too: then it is told, and can be forgotten.
    for whole in [true, false] {
        let (runtime, sink, repo) = in_memory();
        runtime.block_on(async {
            let mut bytes = content(1, 900);
            let one = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
            let one = one.await.unwrap();
            let segment = first_segment(&repo, &one).await;
            touch(&mut bytes, 3, 7);
            let two = incremental(&repo, 3, meta("a", 2, &bytes), &bytes, None).await.unwrap();
            for info in [&one, &two] {
                sink.delete(&Place::Outcome(info.session).key().unwrap()).await.unwrap();
            }
            assert!(repo.catalogue().await.unwrap().backups.is_empty());
            if !whole {
                sink.delete(&segment).await.unwrap();
            }
            let before = sink.list("").await.unwrap();
            let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
            let error = repo.prune(options, [9; 32], UnixMillis(9)).await.unwrap_err();
            assert!(error.to_string().contains("repair"), "{error}");
            assert_eq!(sink.list("").await.unwrap(), before, "nothing was freed");
            let damaged = repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged;
            assert_eq!(damaged.len(), 2);
            assert!(damaged[0].object.starts_with("man/"), "{damaged:?}");
            assert_eq!(repair(&repo, 20, true).await.outcomes.len(), 2);
            assert!(repo.catalogue().await.unwrap().backups.is_empty(), "a dry run");
            let report = repair(&repo, 21, false).await;
            let (settled, lost) = (report.outcomes.len(), report.lost.len());
            assert_eq!((settled, lost), (2, usize::from(!whole)), "{report:?}");
            let catalogue = repo.catalogue().await.unwrap();
            assert_eq!(catalogue.backups, [one.clone(), two.clone()]);
            let damaged = repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged;
            assert_eq!(damaged.is_empty(), whole);
            if whole {
                assert!(restore(&repo, &two).await.unwrap() == bytes);
            } else {
                let ids = [one.id, two.id];
                repo.forget(&catalogue, &ids, [30; 32], UnixMillis(9)).await.unwrap();
            }
            prune(&repo, 31).await;
            assert_eq!(sink.list("man").await.unwrap().is_empty(), !whole);
            assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
        });
    }
}
