//! Turns that the backups of many watches take.
//!
//! A backup of a small database to a store over a network waits for answers most of the time, one after another, and takes little memory:
//! more of them at once protect more databases in the same time. Of large ones, and to a disk, so many at once as keep the machine busy are enough.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Admission;

/// Backups at once of small databases to stores over a network.
const MOST: u32 = 16;
/// Backups at once of others.
const FEW: u32 = 4;
/// Bytes of a small database's file at most.
const SMALL: u64 = 4 << 20;

/// Turns over all watches that share them.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Semaphore>);

/// A turn, until it is dropped.
pub(crate) type Turn = Option<OwnedSemaphorePermit>;

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(Self::MOST)))
    }
}

/// The part of all turns that a backup takes.
const fn share(is_remote: bool, len: Option<u64>) -> u32 {
    match len {
        Some(..=SMALL) if is_remote => 1,
        _ => MOST / FEW,
    }
}

impl Turns {
    /// Backups at once at most.
    pub const MOST: usize = MOST as usize;

    /// All of them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for a turn to back up the database in a file, to a store over a network or not.
    pub(crate) async fn take(&self, is_remote: bool, path: &Path) -> Turn {
        let len = std::fs::metadata(path).ok().map(|metadata| metadata.len());
        // Nobody closes it, and without a turn a backup is as good.
        Arc::clone(&self.0).acquire_many_owned(share(is_remote, len)).await.ok()
    }

    /// An admission by which backups of the database in a file take turns with those of all others.
    #[must_use]
    pub fn admission(&self, is_remote: bool, path: PathBuf) -> Admission {
        let turns = self.clone();
        Arc::new(move || {
            let (turns, path) = (turns.clone(), path.clone());
            Box::pin(
                async move { Ok(Box::new(turns.take(is_remote, &path).await) as Box<dyn Send>) },
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn many_small_ones_far_away_and_few_others() {
        let folder = tempfile::tempdir().unwrap();
        let of_len = |name: &str, len: u64| {
            let path = folder.path().join(name);
            std::fs::File::create(&path).unwrap().set_len(len).unwrap();
            path
        };
        let (small, large) = (of_len("small", SMALL), of_len("large", SMALL + 1));
        let missing = folder.path().join("missing");
        for (is_remote, path, at_once) in
            [(true, &small, MOST), (true, &large, FEW), (true, &missing, FEW), (false, &small, FEW)]
        {
            let turns = Turns::new();
            let mut taken = Vec::new();
            while let Some(turn) = turns.take(is_remote, path).now_or_never() {
                taken.push(turn);
            }
            assert_eq!(taken.len(), at_once as usize, "{is_remote} {}", path.display());
            drop(taken.pop());
            assert!(turns.take(is_remote, path).now_or_never().is_some());
        }
    }
}
