//! Single pages of a backup, read in any order.

use bytes::Bytes;
use mantis_page::PageNo;
use mantis_repo::{BackupInfo, Repository};
use mantis_sink::{MemorySink, Sink, Span};

use crate::lived_in::LivedIn;
use crate::world::{SIZE, content, in_memory, incremental, make, meta, secret, touch};

fn page_of(bytes: &[u8], index: u64) -> &[u8] {
    let at = index as usize * SIZE.bytes();
    &bytes[at..at + SIZE.bytes()]
}

/// Reads every page in their order, and then in another one, with hardly any memory and with enough.
async fn read_all(repo: &Repository, info: &BackupInfo, bytes: &[u8]) {
    let count = SIZE.pages_for(bytes.len() as u64);
    for cache in [1, 1 << 20] {
        let reader = repo.page_reader(info, cache).await.unwrap();
        let shuffled = (0..count).map(|index| index * 7919 % count);
        for index in (0..count).chain(shuffled) {
            let page = PageNo::from_index(index).unwrap();
            let known = reader.at_hand(page);
            let read = reader.page(page).await.unwrap();
            assert!(read == page_of(bytes, index), "page {page} of {}", info.id);
            assert!(known.is_none_or(|known| known == read), "page {page} of {}", info.id);
        }
        let past = PageNo::from_index(count).unwrap();
        assert!(reader.page(past).await.is_err(), "it has no more");
    }
}

#[test]
fn every_page_is_the_one_that_a_restore_gives() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for encrypted in [false, true] {
            let (memory, repo) = make(encrypted).await;
            let lived = LivedIn::new(&memory, &repo).await;
            assert!(lived.made.len() > 3);
            for (info, bytes) in &lived.made {
                read_all(&repo, info, bytes).await;
            }
        }
    });
}

/// Every page is right, or told to be damaged.
async fn right_or_damaged(repo: &Repository, lived: &LivedIn) -> u64 {
    let mut damaged = 0;
    for (info, bytes) in &lived.made {
        let Ok(reader) = repo.page_reader(info, 1 << 20).await else {
            damaged += 1;
            continue;
        };
        for index in 0..SIZE.pages_for(bytes.len() as u64) {
            match reader.page(PageNo::from_index(index).unwrap()).await {
                Ok(read) => assert!(read == page_of(bytes, index), "page {index} of {}", info.id),
                Err(error) => {
                    assert!(error.is_damage() || error.to_string().contains("not"), "{error}");
                    damaged += 1;
                }
            }
        }
    }
    damaged
}

#[test]
fn a_damaged_page_is_told_and_never_given_out() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (memory, repo) = make(true).await;
        let lived = LivedIn::new(&memory, &repo).await;
        assert_eq!(right_or_damaged(&repo, &lived).await, 0);
        let password = secret().into();
        let mut found = 0;
        for object in memory.list("seg").await.unwrap() {
            let copy: MemorySink = memory.copy();
            let whole = copy.get(&object.key, Span::Whole { limit: 1 << 30 }).await.unwrap();
            let mut bytes = whole.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            copy.delete(&object.key).await.unwrap();
            copy.put_new(&object.key, Bytes::from(bytes).into()).await.unwrap();
            let repo = Repository::open(std::sync::Arc::new(copy), Some(&password)).await.unwrap();
            found += u64::from(right_or_damaged(&repo, &lived).await > 0);
        }
        assert!(found > 5, "{found}");
    });
}

#[test]
fn few_pages_cost_few_reads_and_all_of_them_in_order_not_one_each() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(3, 40_000);
        let first = incremental(&repo, 2, meta("a", 1, &bytes), &bytes, None).await.unwrap();
        assert_eq!(first.meta.page_count, 40_000);
        for entropy in 3..8 {
            touch(&mut bytes, u64::from(entropy) * 500, entropy);
            incremental(&repo, entropy, meta("a", entropy.into(), &bytes), &bytes, None)
                .await
                .unwrap();
        }
        let newest = repo.catalogue().await.unwrap().backups.last().unwrap().clone();
        let reader = repo.page_reader(&newest, 64 << 20).await.unwrap();
        for index in [0, 1, 2, 3000, 30_000] {
            let read = reader.page(PageNo::from_index(index).unwrap()).await.unwrap();
            assert!(read == page_of(&bytes, index));
        }
        let few = reader.fetched();
        assert!(few.requests <= 20 && few.pages <= 5, "{few:?}");
        let reader = repo.page_reader(&newest, 64 << 20).await.unwrap();
        for index in 0..40_000 {
            let read = reader.page(PageNo::from_index(index).unwrap()).await.unwrap();
            assert!(read == page_of(&bytes, index), "{index}");
        }
        let all = reader.fetched();
        // 20 MB, of which some is zeros: frames of 256 KiB, one by one, would be some 60.
        assert!(all.requests < 40, "{all:?}");
    });
}
