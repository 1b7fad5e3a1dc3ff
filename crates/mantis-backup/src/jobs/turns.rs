//! Turns that the backups of many watches take.
//!
//! A backup of a small database to a store over a network waits for answers most of the time, one after another, and takes little memory:
//! more of them at once protect more databases in the same time, as long as the store answers as quickly as before. Where it does not, more of them only
//! keep each other waiting, and whatever else asks the store. Of large ones, and to a disk, so many at once as keep the machine busy are enough.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Admission;

/// Backups at once of small databases to stores over a network.
const MOST: u32 = 16;
/// Backups at once of others, and of those where the store takes its time.
const FEW: u32 = 4;
/// What each of these takes of all turns.
const LARGE: u32 = MOST / FEW;
/// Each waits for as many as a large one takes, and gives back what it does not need: the last small one too.
const PERMITS: usize = (MOST + LARGE - 1) as usize;
/// Bytes of a small database's file at most.
const SMALL: u64 = 4 << 20;
/// A backup of one that takes no longer has others join it.
const QUICK: Duration = Duration::from_secs(1);
/// One that takes longer has fewer run at once.
const SLOW: Duration = Duration::from_secs(2);

/// Turns over all watches that share them.
#[derive(Debug, Clone)]
pub struct Turns {
    all: Arc<Semaphore>,
    /// What a small one to a store over a network takes of them: from 1 to [`LARGE`].
    share: Arc<AtomicU32>,
}

/// A turn, until it is dropped.
pub(crate) struct Turn {
    _permits: Option<OwnedSemaphorePermit>,
    /// Of a small one: since when, and what is told how long it took.
    small: Option<(Instant, Arc<AtomicU32>)>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some((since, share)) = &self.small else { return };
        let took = since.elapsed();
        let next = |share: u32| match took {
            quick if quick <= QUICK => Some((share / 2).max(1)),
            slow if slow >= SLOW => Some((share * 2).min(LARGE)),
            _ => None,
        };
        // None where it is to stay as it is.
        let _ = share.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(PERMITS)), share: Arc::new(AtomicU32::new(LARGE)) }
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
        let is_small = is_remote && len.is_some_and(|len| len <= SMALL);
        // Nobody closes it, and without a turn a backup is as good.
        let mut permits = Arc::clone(&self.all).acquire_many_owned(LARGE).await.ok();
        // What one takes is told when it has its turn: thousands may have come when nobody knew yet how quick they are.
        let share = if is_small { self.share.load(Ordering::Relaxed) } else { LARGE };
        drop(permits.as_mut().map(|permits| permits.split((LARGE - share) as usize)));
        let small = is_small.then(|| (Instant::now(), Arc::clone(&self.share)));
        Turn { _permits: permits, small }
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

    fn file(folder: &Path, len: u64) -> PathBuf {
        let path = folder.join(len.to_string());
        std::fs::File::create(&path).unwrap().set_len(len).unwrap();
        path
    }

    /// As many turns as there are now.
    fn all_of(turns: &Turns, is_remote: bool, path: &Path) -> Vec<Turn> {
        std::iter::from_fn(|| turns.take(is_remote, path).now_or_never()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn many_small_ones_where_the_store_is_quick_and_few_others() {
        let folder = tempfile::tempdir().unwrap();
        let (small, large) = (file(folder.path(), SMALL), file(folder.path(), SMALL + 1));
        let missing = folder.path().join("missing");
        let turns = Turns::new();
        for (is_remote, path) in [(true, &small), (true, &large), (true, &missing), (false, &small)]
        {
            let turns = Turns::new();
            let taken = all_of(&turns, is_remote, path);
            assert_eq!(taken.len(), FEW as usize, "{is_remote} {}", path.display());
        }
        // Quick ones have others join them.
        drop(all_of(&turns, true, &small));
        assert_eq!(all_of(&turns, true, &small).len(), MOST as usize);
        let held = all_of(&turns, true, &small);
        assert!(turns.take(true, &large).now_or_never().is_none());
        tokio::time::advance(SLOW).await;
        drop(held);
        assert_eq!(all_of(&turns, true, &small).len(), FEW as usize, "they took long");
        assert_eq!(all_of(&turns, true, &large).len(), FEW as usize);
    }

    /// Thousands of watches begin at once.
    #[tokio::test(start_paused = true)]
    async fn those_that_wait_already_are_as_many_at_once_as_those_that_come_later() {
        let folder = tempfile::tempdir().unwrap();
        let (turns, small) = (Turns::new(), file(folder.path(), 1));
        let (give, mut given) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..100 {
            let (turns, small, give) = (turns.clone(), small.clone(), give.clone());
            tokio::spawn(async move { give.send(turns.take(true, &small).await) });
        }
        let mut held = async || {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            std::iter::from_fn(|| given.try_recv().ok()).collect::<Vec<Turn>>()
        };
        let first = held().await;
        assert_eq!(first.len(), FEW as usize, "how quick they are is not known yet");
        drop(first);
        assert_eq!(held().await.len(), MOST as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn what_neither_is_quick_nor_slow_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (turns, small) = (Turns::new(), file(folder.path(), 1));
        drop(turns.take(true, &small).await);
        let before = all_of(&turns, true, &small);
        let count = before.len();
        tokio::time::advance((QUICK + SLOW) / 2).await;
        drop(before);
        assert_eq!(all_of(&turns, true, &small).len(), count);
    }
}
