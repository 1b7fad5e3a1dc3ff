//! Random writes and snapshots of a page store, backed up, forgotten, put together and freed; against plain copies of its bytes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use mantis_cow::{EpochTable, PageView};
use mantis_repo::{BackupId, CompactOptions, PruneOptions, RepoError, Repository, UnixMillis};
use mantis_sink::MemorySink;

use crate::take::Take;
use crate::template::{RUNTIME, SIZE, back_up, contents};

/// The most pages that the store grows to.
const MAX_PAGES: usize = 48;
/// Steps of one input.
const STEPS: usize = 64;

pub(crate) fn differential(bytes: &[u8]) {
    let mut take = Take(bytes);
    RUNTIME.block_on(live(&mut take)).unwrap();
}

pub(crate) fn options() -> CompactOptions {
    let cancel = tokio_util::sync::CancellationToken::new();
    CompactOptions { max_unused: 0.05, dry_run: false, owner: "fuzz".into(), cancel }
}

async fn live(take: &mut Take<'_>) -> Result<(), RepoError> {
    let sink = MemorySink::new();
    let repo = Repository::init(Arc::new(sink), [1; 32], UnixMillis(1), None).await?;
    let mut store = vec![0u8; SIZE.bytes() * (1 + take.below(MAX_PAGES))];
    let mut held: BTreeMap<BackupId, Vec<u8>> = BTreeMap::new();
    let mut clock = 1u64;
    for _ in 0..STEPS {
        if take.is_empty() {
            break;
        }
        clock += 1;
        let mut entropy = [0; 32];
        entropy[..8].copy_from_slice(&clock.to_le_bytes());
        let now = UnixMillis(clock as i64);
        match take.byte() % 8 {
            0..=2 => {
                let page = take.below(store.len() / SIZE.bytes());
                store[page * SIZE.bytes()..][..SIZE.bytes()].fill(take.byte());
            }
            3 => store.resize(SIZE.bytes() * (1 + take.below(MAX_PAGES)), 0),
            4 | 5 => {
                let frozen = freeze_and_write(&mut store, take);
                let info = back_up(&repo, entropy, ("a", now.0), &frozen).await?;
                held.insert(info.id, frozen);
            }
            6 => {
                let ids: Vec<BackupId> = held.keys().copied().collect();
                if let Some(id) = ids.get(take.below(ids.len().max(1))) {
                    repo.forget(&repo.catalogue().await?, &[*id], entropy, now).await?;
                    held.remove(id);
                }
            }
            _ => {
                repo.compact(&options(), entropy, now).await?;
                let prune = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
                entropy[31] = 1;
                repo.prune(prune, entropy, now).await?;
            }
        }
    }
    let catalogue = repo.catalogue().await?;
    assert_eq!(catalogue.backups.len(), held.len());
    for info in &catalogue.backups {
        assert!(contents(&repo, info, usize::MAX).await? == held[&info.id], "{} differs", info.id);
    }
    Ok(())
}

/// The bytes of a moment, read through a copy-on-write table while the store is written on.
fn freeze_and_write(store: &mut [u8], take: &mut Take<'_>) -> Vec<u8> {
    let naive = store.to_vec();
    let pages = store.len() / SIZE.bytes();
    let page_at = |index: u64| index as usize * SIZE.bytes()..(index as usize + 1) * SIZE.bytes();
    let table: EpochTable<Vec<u8>> = EpochTable::new();
    let epoch = table.open(pages as u64).unwrap();
    for _ in 0..usize::from(take.byte() % 16) {
        let index = take.below(pages) as u64;
        let page = &mut store[page_at(index)];
        table.save(index, || Ok::<_, Infallible>(page.to_vec())).unwrap();
        page.fill(take.byte());
    }
    let mut frozen = Vec::new();
    for index in 0..pages as u64 {
        match table.read(epoch, index, || store[page_at(index)].to_vec()) {
            PageView::Saved(page) | PageView::Live(page) => frozen.extend_from_slice(&page),
        }
    }
    assert!(!table.is_lost(epoch));
    table.close(epoch);
    assert_eq!(table.images(), 0, "before-images outlive their snapshot");
    assert!(frozen == naive, "a snapshot differs from the moment it was taken at");
    frozen
}
