//! Backups built on others: what is stored is what changed, and every one restores by itself.

use std::sync::Arc;

use mantis_page::{PageNo, PageRange, PageSet};
use mantis_repo::{
    BackupKind, BackupWriter, Purpose, Repository, Session, UnixMillis, VerifyOptions,
};
use mantis_sink::{Call, MemorySink, RecordingSink, Sink};
use mantis_stream::Compression;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::world::{SIZE, backup, content, in_memory, incremental, meta, plain, restore, touch};

#[test]
fn what_changed_is_what_is_stored() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(3, 70_000);
        let full = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::Zstd(1)));
        let full = full.await.unwrap();
        let mut before = bytes.clone();
        for (entropy, known) in [(3, false), (4, true)] {
            let mut changed = PageSet::new();
            for page in (0..700).map(|n| n * 97) {
                touch(&mut bytes, page, entropy);
                changed.insert(PageNo::from_index(page).unwrap());
            }
            // A page that was written but is as it was.
            changed.insert(PageNo::from_index(5).unwrap());
            let meta = meta("a", entropy.into(), &bytes);
            let next = incremental(&repo, entropy, meta, &bytes, known.then_some(&changed));
            let next = next.await.unwrap();
            assert_eq!(next.kind, BackupKind::Incremental);
            assert_eq!(next.pages_changed, 700);
            assert!(next.bytes_stored < 60_000, "{}", next.bytes_stored);
            assert_eq!(next.bytes_read, if known { 701 * 512 } else { 70_000 * 512 });
            assert!(restore(&repo, &next).await.unwrap() == bytes);
            let again =
                backup(&repo, entropy + 50, meta_again(&bytes), &bytes, plain(Compression::None));
            assert_eq!(again.await.unwrap().fingerprint, next.fingerprint, "whatever road it took");
        }
        assert!(restore(&repo, &full).await.unwrap() == before);
        before.clear();
        let report = repo.verify(&[], &VerifyOptions::default()).await.unwrap();
        assert_eq!(report.damaged, vec![]);
    });
}

fn meta_again(bytes: &[u8]) -> mantis_repo::BackupMeta {
    meta("again", 1, bytes)
}

#[test]
fn no_change_costs_next_to_nothing() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let sink = RecordingSink::new(Arc::new(MemorySink::new()));
        let init = Repository::init(Arc::new(sink.clone()), [1; 32], UnixMillis(1), None);
        let repo = init.await.unwrap();
        // Enough for a list of segments of its own.
        let bytes = content(1, 300_000);
        backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::Lz4)).await.unwrap();
        let _ = sink.take();
        let nothing = PageSet::new();
        let next = incremental(&repo, 3, meta("a", 2, &bytes), &bytes, Some(&nothing));
        let next = next.await.unwrap();
        assert_eq!((next.pages_changed, next.bytes_stored, next.bytes_read), (0, 0, 0));
        let put = |call: &Call| if let Call::Put(_, len) = call { *len } else { 0 };
        let calls = sink.take();
        assert!(calls.iter().map(put).sum::<u64>() < 4096, "{calls:?}");
        let reads = calls.iter().filter(|call| matches!(call, Call::Get(..))).count();
        assert!(reads < 12, "no index is read where nothing is asked for: {reads}");
        assert!(restore(&repo, &next).await.unwrap() == bytes);
    });
}

#[test]
fn stacks_stay_short_by_storing_again_what_the_newest_layers_hold() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(1, 4000);
        let mut lowest = usize::MAX;
        let mut made: Vec<(mantis_repo::BackupInfo, Vec<u8>)> = Vec::new();
        for round in 0u8..150 {
            let mut changed = PageSet::new();
            for page in (0..10).map(|n| (n * 61 + u64::from(round) * 7) % 900) {
                touch(&mut bytes, page, round ^ 0x55);
                // No page is like another one: what is borrowed would be layers of their own.
                bytes[page as usize * SIZE.bytes()] = page as u8;
                bytes[page as usize * SIZE.bytes() + 1] = (page >> 8) as u8;
                changed.insert(PageNo::from_index(page).unwrap());
            }
            // Cut off, and grown again: what was taken in may be past the end.
            let len = if round % 40 == 39 { 3950 } else { 4000 + usize::from(round) };
            bytes.resize(len * SIZE.bytes(), round);
            let parents = made.last().map_or(0, |(info, _)| info.meta.page_count);
            let past = PageNo::from_index(parents).unwrap();
            let past = PageRange::new(past, (len as u64).saturating_sub(parents));
            past.into_iter().for_each(|past| changed.insert_range(past));
            let known = (round % 3 > 0).then_some(&changed);
            let now = meta("a", round.into(), &bytes);
            let next = incremental(&repo, round + 2, now, &bytes, known).await.unwrap();
            let layers = repo.manifest(&next).await.unwrap().layers.len();
            assert!(layers <= 34, "{layers}");
            if made.len() > 1 {
                assert_eq!(next.kind, BackupKind::Incremental);
                assert!(next.pages_changed <= changed.len(), "stored again is not changed");
                lowest = lowest.min(layers);
            }
            made.push((next, bytes.clone()));
        }
        assert!(lowest <= 4, "{lowest}");
        for (info, bytes) in &made {
            assert!(restore(&repo, info).await.unwrap() == *bytes);
        }
        let (last, bytes) = made.last().unwrap();
        let again = backup(&repo, 200, meta_again(bytes), bytes, plain(Compression::None)).await;
        assert_eq!(again.unwrap().fingerprint, last.fingerprint);
        let report = repo.verify(&[], &VerifyOptions::default()).await.unwrap();
        assert_eq!(report.damaged, vec![]);
    });
}

#[test]
fn pages_to_be_stored_again_that_do_not_come_are_an_error() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(1, 400);
        for entropy in 2..40 {
            touch(&mut bytes, 7, entropy);
            let now = meta("a", entropy.into(), &bytes);
            incremental(&repo, entropy, now, &bytes, None).await.unwrap();
            let session =
                Session::begin(&repo, Purpose::Backup, [entropy + 100; 32], "test", UnixMillis(9));
            let session = session.await.unwrap();
            let parent = session.parent("a").await.unwrap().unwrap().sparse(&mut PageSet::new());
            let again = parent.to_store_again().len();
            let options = plain(Compression::None);
            let writer = BackupWriter::new(session, meta("a", 99, &bytes), Some(parent), options);
            let mut writer = writer.map_err(|failed| failed.1).unwrap();
            let flushed = writer.flush().await;
            writer.abandon().await;
            if again > 0 {
                let said = flushed.unwrap_err().to_string();
                assert!(said.contains("to be stored again"), "{said}");
                return;
            }
            flushed.unwrap();
        }
        panic!("no stack was ever full");
    });
}

#[test]
fn a_missing_segment_makes_a_full_backup() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(1, 40);
        for entropy in 2..5 {
            touch(&mut bytes, 7, entropy);
            incremental(&repo, entropy, meta("a", entropy.into(), &bytes), &bytes, None)
                .await
                .unwrap();
        }
        let backups = repo.catalogue().await.unwrap().backups;
        // Of the newest backup a segment is lost: the next one is not built on the damage.
        let newest = repo.manifest(backups.last().unwrap()).await.unwrap();
        let lost = newest.segments().last().unwrap();
        let key = mantis_repo::Place::Segment(lost.session, lost.hash).key().unwrap();
        sink.delete(&key).await.unwrap();
        // Whoever saw it not long ago takes it to be there, and looks again after a session that failed for it.
        let begin = Session::begin(&repo, Purpose::Backup, [97; 32], "test", UnixMillis(9));
        let session = begin.await.unwrap();
        assert!(session.parent("a").await.unwrap().is_some());
        session.abandon().await;
        let begin = Session::begin(&repo, Purpose::Backup, [98; 32], "test", UnixMillis(9));
        let session = begin.await.unwrap();
        assert!(session.parent("a").await.unwrap().is_none());
        session.abandon().await;
        let made = incremental(&repo, 99, meta("a", 99, &bytes), &bytes, None).await.unwrap();
        assert_eq!(made.kind, BackupKind::Full);
        assert!(restore(&repo, &made).await.unwrap() == bytes);
    });
}

#[test]
fn pages_that_were_not_said_to_change_must_come_all_the_same_past_the_parents_end() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 10);
        backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None)).await.unwrap();
        let longer = content(1, 20);
        let nothing = PageSet::new();
        let made = incremental(&repo, 3, meta("a", 2, &longer), &longer, Some(&nothing)).await;
        assert!(made.is_err(), "ten pages are in nobody's hands");
        let mut past = PageSet::new();
        past.insert_range(PageRange::new(PageNo::new(11).unwrap(), 10).unwrap());
        let mut wanted = bytes.clone();
        wanted.extend_from_slice(&longer[bytes.len()..]);
        let made =
            incremental(&repo, 4, meta("a", 3, &wanted), &wanted, Some(&past)).await.unwrap();
        assert!(restore(&repo, &made).await.unwrap() == wanted);
    });
}

#[test]
fn a_session_finds_the_newest_backup_of_its_own_source() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 9);
        for (entropy, source) in [(2, "a"), (3, "b"), (4, "a"), (5, "c")] {
            let meta = meta(source, entropy.into(), &bytes);
            backup(&repo, entropy, meta, &bytes, plain(Compression::None)).await.unwrap();
        }
        let session = Session::begin(&repo, Purpose::Backup, [9; 32], "test", UnixMillis(9));
        let session = session.await.unwrap();
        for (source, at) in [("a", Some(4)), ("b", Some(3)), ("none", None)] {
            let parent = session.parent(source).await.unwrap();
            assert_eq!(parent.map(|parent| parent.info().meta.created_at.0), at, "{source}");
        }
    });
}

/// One step in the life of a database: pages that change, and its new length.
fn any_step() -> impl Strategy<Value = (Vec<(u64, u8)>, u64, bool)> {
    (prop::collection::vec((0u64..60, 0u8..3), 0..12), 0u64..60, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// A database grows, shrinks and changes; every backup of it restores what it was, whether the engine
    /// knew what changed or not, and has the fingerprint of a full backup of the same.
    #[test]
    fn every_moment_of_a_life_comes_back(steps in prop::collection::vec(any_step(), 1..9)) {
        let (runtime, _, repo) = in_memory();
        runtime.block_on(async {
            let mut bytes = content(2, 30);
            let mut made = Vec::new();
            for (entropy, (changes, pages, known)) in (2u8..).zip(steps) {
                bytes.resize(pages as usize * SIZE.bytes(), 1);
                let mut changed = PageSet::new();
                for (page, with) in changes.into_iter().filter(|(page, _)| *page < pages) {
                    touch(&mut bytes, page, with);
                    changed.insert(PageNo::from_index(page).unwrap());
                }
                let parents = made.last().map_or(0, |(info, _): &(mantis_repo::BackupInfo, _)| info.meta.page_count);
                if let Some(past) = PageNo::from_index(parents).and_then(|first| PageRange::new(first, pages.saturating_sub(parents))) {
                    changed.insert_range(past);
                }
                let meta_now = meta("a", entropy.into(), &bytes);
                let next = incremental(&repo, entropy, meta_now, &bytes, known.then_some(&changed));
                let next = next.await.unwrap();
                let other = meta("other", entropy.into(), &bytes);
                let full = backup(&repo, entropy + 100, other, &bytes, plain(Compression::None));
                let full = full.await.unwrap();
                assert_eq!(full.fingerprint, next.fingerprint);
                assert_eq!(full.pages_zero, next.pages_zero);
                made.push((next, bytes.clone()));
            }
            for (info, wanted) in &made {
                assert!(restore(&repo, info).await.unwrap() == *wanted);
            }
            let report = repo.verify(&[], &VerifyOptions::default()).await.unwrap();
            assert_eq!(report.damaged, vec![]);
        });
    }
}
