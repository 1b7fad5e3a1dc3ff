//! Where what is read from a database waits for a store that is slower than the disk.

use std::path::{Path, PathBuf};

use mantis_repo::{Repository, SpoolOptions};

use crate::disk_space::{free_space, is_memory};

/// Bytes that wait for a store over a network at most, where nobody says how many.
const USUAL: u64 = 1 << 30;

/// The spool of a backup to a repository, in a folder, or the system's for temporary files. Where no limit is given: for a store over a
/// network, as much as is usual, of what is free in the folder at most a half, and nothing in a folder that is memory; for one on
/// this machine none, as it would only write everything twice.
pub(crate) fn spool_for(
    repo: &Repository,
    folder: Option<&Path>,
    limit: Option<u64>,
) -> Option<SpoolOptions> {
    let folder: PathBuf = folder.map_or_else(std::env::temp_dir, Path::to_owned);
    let limit = match limit {
        Some(limit) => limit,
        None if !repo.is_remote() || is_memory(&folder) => 0,
        None => free_space(&folder).map_or(0, |free| free / 2).min(USUAL),
    };
    (limit > 0).then_some(SpoolOptions { folder, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_on_this_machine_has_none_unless_it_is_asked_for() {
        let repo = crate::init_repository("memory://", None).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let limit = |limit| spool_for(&repo, Some(folder.path()), limit).map(|spool| spool.limit);
        assert_eq!([None, Some(0), Some(5)].map(limit), [None, None, Some(5)]);
        let system = spool_for(&repo, None, Some(7)).map(|spool| spool.folder);
        assert_eq!(system, Some(std::env::temp_dir()));
    }
}
