//! Restores that give out what is oldest first, and those that give out every page once: the same in the end.

use std::sync::{Arc, Mutex};

use mantis_page::PageSet;
use mantis_repo::{BackupInfo, RepoError, Repository, RestoreOptions, Restored};
use mantis_sink::{MemorySink, ObjectKey, Sink, Span};
use mantis_stream::{Compression, ProgressTracker};
use proptest::prelude::*;

use crate::world::{SIZE, backup, content, image_of, in_memory, incremental, meta, plain, touch};

/// What is given out of a backup, and the pages that were given, again or not, in their order; what the progress says in the end.
async fn given(repo: &Repository, info: &BackupInfo, rewrites: bool) -> (Vec<u8>, Vec<u64>, u64) {
    let manifest = repo.manifest(info).await.unwrap();
    let (image, give) = image_of(info);
    let pages = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&pages);
    let note_and_give = move |restored: Restored| {
        let range = match &restored {
            Restored::Pages(run) => run.range(),
            Restored::Zeros(range) => *range,
        };
        noting.lock().unwrap().extend(range.pages().map(mantis_page::PageNo::get));
        give(restored)
    };
    let progress = Arc::new(ProgressTracker::new());
    let (jobs, counted) = (2, Arc::clone(&progress));
    let options = RestoreOptions { jobs, rewrites, progress, ..RestoreOptions::default() };
    repo.restore(&manifest, &options, Arc::new(note_and_give)).await.unwrap();
    let (image, pages) = (image.lock().unwrap().clone(), pages.lock().unwrap().clone());
    (image, pages, counted.get().items)
}

fn once_each(mut pages: Vec<u64>) -> bool {
    let count = pages.len();
    pages.sort_unstable();
    pages.dedup();
    pages.len() == count
}

#[test]
fn a_large_oldest_layer_comes_whole_and_then_what_is_newer() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(3, 4000);
        let full = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        full.await.unwrap();
        for page in (0..40).map(|n| n * 97) {
            touch(&mut bytes, page, 7);
        }
        let newest = incremental(&repo, 3, meta("a", 2, &bytes), &bytes, None).await.unwrap();
        let (image, pages, counted) = given(&repo, &newest, true).await;
        assert!(image == bytes);
        assert_eq!((pages.len(), counted), (4040, 4000), "forty pages come again");
        assert!(once_each(pages[..4000].to_vec()) && once_each(pages[4000..].to_vec()));
        let (image, pages, counted) = given(&repo, &newest, false).await;
        assert!(image == bytes && once_each(pages));
        assert_eq!(counted, 4000);
    });
}

#[test]
fn where_most_is_newer_nothing_is_given_twice() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(3, 4000);
        let full = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        full.await.unwrap();
        let bytes = content(4, 4000);
        let newest = incremental(&repo, 3, meta("a", 2, &bytes), &bytes, None).await.unwrap();
        let (image, pages, _) = given(&repo, &newest, true).await;
        assert!(image == bytes && once_each(pages));
    });
}

async fn segments(sink: &MemorySink) -> Vec<ObjectKey> {
    let mut keys = sink.list("seg").await.unwrap();
    keys.sort_by(|a, b| a.key.cmp(&b.key));
    keys.into_iter().map(|entry| entry.key).collect()
}

/// Flips a bit of an object, or takes the object away.
async fn damage(sink: &MemorySink, key: &ObjectKey, at: Option<usize>) {
    let bytes = sink.get(key, Span::Whole { limit: u64::MAX }).await.unwrap();
    let Some(at) = at else { return sink.delete(key).await.unwrap() };
    let mut bytes = bytes.to_vec();
    let at = at % bytes.len();
    bytes[at] ^= 1;
    sink.replace(key, bytes.into());
}

async fn restored(
    repo: &Repository,
    info: &BackupInfo,
    rewrites: bool,
) -> Result<(Vec<u8>, u64), RepoError> {
    let manifest = repo.manifest(info).await?;
    let (image, give) = image_of(info);
    let progress = Arc::new(ProgressTracker::new());
    let counted = Arc::clone(&progress);
    let options = RestoreOptions { jobs: 2, rewrites, progress, ..RestoreOptions::default() };
    repo.restore(&manifest, &options, give).await?;
    let image = image.lock().unwrap().clone();
    Ok((image, counted.get().items))
}

#[test]
fn damage_to_old_pages_that_newer_ones_replace_stops_nobody() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(3, 4000);
        let full = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        let full = full.await.unwrap();
        let old = segments(&sink).await;
        for page in 0..600 {
            touch(&mut bytes, page, 7);
        }
        let newest = incremental(&repo, 3, meta("a", 2, &bytes), &bytes, None).await.unwrap();
        for key in &old {
            // In the first frame, all of whose pages are replaced.
            damage(&sink, key, Some(300)).await;
        }
        let why = restored(&repo, &full, true).await.map(drop).unwrap_err();
        assert!(why.is_damage(), "{why}");
        for rewrites in [false, true] {
            let (image, counted) = restored(&repo, &newest, rewrites).await.unwrap();
            assert!(image == bytes, "{rewrites}");
            assert_eq!(counted, 4000, "each page counts once");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Whatever of a stack is damaged or lost: rewriting restores what giving every page once restores, and nothing else.
    #[test]
    fn damage_stops_both_or_none(
        seed in any::<u64>(),
        layers in prop::collection::vec((200u64..300, 0u64..200, 1u64..90), 1..6),
        hit in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(0usize..20_000)), 1..2),
    ) {
        let (runtime, sink, repo) = in_memory();
        runtime.block_on(async {
            let mut bytes = content(seed, 300);
            let full = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::Zstd(1)));
            let mut all = vec![(full.await.unwrap(), bytes.clone())];
            for (number, (pages, first, count)) in (3u8..).zip(layers) {
                bytes.resize(pages as usize * SIZE.bytes(), 0);
                for page in first..(first + count).min(pages) {
                    touch(&mut bytes, page, number);
                }
                let meta = meta("a", number.into(), &bytes);
                all.push((incremental(&repo, number, meta, &bytes, None).await.unwrap(), bytes.clone()));
            }
            for (which, at) in hit {
                let keys = segments(&sink).await;
                damage(&sink, &keys[which.index(keys.len())], at).await;
            }
            for (info, wanted) in &all {
                let once = restored(&repo, info, false).await;
                let again = restored(&repo, info, true).await;
                match (&once, &again) {
                    (Ok(once), Ok(again)) => {
                        assert!(once.0 == *wanted && again.0 == *wanted);
                        assert_eq!((once.1, again.1), (info.meta.page_count, info.meta.page_count));
                    }
                    (Err(once), Err(again)) => {
                        assert!(once.is_damage() && again.is_damage(), "{once}; {again}");
                    }
                    _ => panic!("{:?} but {:?}", once.map(drop), again.map(drop)),
                }
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Of random stacks, whose pages change, become zeros, and whose ends come and go.
    #[test]
    fn both_give_the_same(
        seed in any::<u64>(),
        layers in prop::collection::vec((1u64..300, prop::collection::vec((0u64..300, 0u8..3), 0..40)), 1..6),
    ) {
        let (runtime, _, repo) = in_memory();
        runtime.block_on(async {
            let mut bytes = content(seed, 300);
            let full = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::Zstd(1)));
            let mut all = vec![(full.await.unwrap(), bytes.clone())];
            for (number, (pages, touched)) in (3u8..).zip(layers) {
                bytes.resize(pages as usize * SIZE.bytes(), 0);
                for (page, with) in touched.into_iter().filter(|(page, _)| *page < pages) {
                    touch(&mut bytes, page, with);
                }
                let meta = meta("a", number.into(), &bytes);
                all.push((incremental(&repo, number, meta, &bytes, None).await.unwrap(), bytes.clone()));
            }
            for (info, wanted) in &all {
                for rewrites in [false, true] {
                    let (image, pages, counted) = given(&repo, info, rewrites).await;
                    assert!(image == *wanted, "{info:?}, {rewrites}");
                    assert_eq!(counted, info.meta.page_count);
                    assert!(rewrites || once_each(pages));
                }
                // Pages that the target has are given by nobody.
                let have: PageSet = (1..=info.meta.page_count).step_by(3).filter_map(mantis_page::PageNo::new).collect();
                let manifest = repo.manifest(info).await.unwrap();
                let (image, give) = image_of(info);
                let options = RestoreOptions { rewrites: true, have: have.clone(), ..RestoreOptions::default() };
                repo.restore(&manifest, &options, give).await.unwrap();
                let image = image.lock().unwrap().clone();
                for (at, (got, wanted)) in (0u64..).zip(image.chunks(512).zip(wanted.chunks(512))) {
                    let had = have.contains(mantis_page::PageNo::from_index(at).unwrap());
                    assert!(if had { got == [0xEE; 512] } else { got == wanted }, "page {at}");
                }
            }
        });
    }
}
