//! The ports that a storage engine implements to be backed up hot.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mantis_cow::Taken;
use mantis_page::{PageNo, PageSet};

use crate::{CancelFlag, ConsistencyPoint, Geometry, SnapshotError, SnapshotToken, SourceInfo};

/// What is asked of an engine with a freeze.
#[derive(Debug, Clone, Default)]
pub struct FreezeRequest {
    /// When to give up waiting for the moment. `None`: never.
    pub deadline: Option<Instant>,
    /// How long that is from the asking, for messages.
    pub patience: Duration,
    /// Asks to stop waiting.
    pub cancel: CancelFlag,
    /// The snapshot since which changed pages are wanted.
    pub baseline: Option<SnapshotToken>,
    /// Where spooled pages and before-images may go.
    pub temp_folder: Option<PathBuf>,
}

impl FreezeRequest {
    /// Whether to go on waiting.
    ///
    /// # Errors
    /// [`SnapshotError::Cancelled`] or [`SnapshotError::TimedOut`].
    pub fn check(&self, doing: &'static str, object: &str) -> Result<(), SnapshotError> {
        if self.cancel.is_cancelled() {
            return Err(SnapshotError::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let object = object.to_owned();
            return Err(SnapshotError::TimedOut { doing, object, after: self.patience });
        }
        Ok(())
    }
}

/// A live database.
///
/// The coordinator calls [`checkpoint`](Self::checkpoint), then [`freeze`](Self::freeze), both on a
/// thread that may block.
pub trait Engine: Send + Sync + 'static {
    /// What this source is.
    ///
    /// # Errors
    /// Where even that cannot be told.
    fn info(&self) -> Result<SourceInfo, SnapshotError>;

    /// Brings the log to a consistent point ahead of the freeze, where the engine wants that. Without
    /// an answer of its own: nothing to do.
    ///
    /// # Errors
    /// What keeps the engine from it.
    fn checkpoint(&self, request: &FreezeRequest) -> Result<(), SnapshotError> {
        let _ = request;
        Ok(())
    }

    /// Holds one moment still. Writers are kept out for as short as can be, and not at all where the
    /// engine can do without.
    ///
    /// # Errors
    /// What keeps the engine from it; [`SnapshotError::TimedOut`] past the request's deadline.
    fn freeze(&self, request: &FreezeRequest) -> Result<Box<dyn FrozenPages>, SnapshotError>;

    /// Whether nothing was committed since the last snapshot that ended as committed. Asked again and again by who watches a
    /// database, so it is to be cheap. Without an answer of its own: something may have been.
    ///
    /// # Errors
    /// What keeps the engine from telling.
    fn is_idle(&self) -> Result<bool, SnapshotError> {
        Ok(false)
    }

    /// What a snapshot held that ended as committed came into no backup after all, as the store failed after that; `token` is what its end gave.
    /// Until another one ends as committed, [`Self::is_idle`] is not to count on it. Without an answer of its own, where idleness is never told.
    fn unstored(&self, token: Option<&SnapshotToken>) {
        let _ = token;
    }

    /// Asked now and then, between snapshots, by who watches a database: keeps a log that grows because the engine holds it for the
    /// next snapshot at about `limit` bytes. Without an answer of its own: nothing grows.
    ///
    /// # Errors
    /// What keeps the engine from it.
    fn relieve(&self, limit: u64) -> Result<Relief, SnapshotError> {
        let _ = limit;
        Ok(Relief::default())
    }

    /// How often, so far, what changed was lost sight of, though the engine was to know. Without an answer of its own: never.
    fn gaps(&self) -> u64 {
        0
    }
}

/// What came of [`Engine::relieve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Relief {
    /// Whether the log can begin anew.
    pub relieved: bool,
    /// How long writers could not commit because of it.
    pub writers_held: Duration,
}

/// Pages that changed since the request's baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed<'a> {
    /// Not known: any page may have changed.
    Unknown,
    /// None but these changed. May hold pages that did not; never misses one that did. Pages past the
    /// baseline's end count as changed whether they are in the set or not.
    Pages(&'a PageSet),
}

/// How the backup of a snapshot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its backup stands: the next one may build on it.
    Committed,
    /// There is no backup of it.
    Aborted,
}

/// One moment of a database, held still. Dropping it releases everything.
pub trait FrozenPages: Send + Sync {
    /// Which moment.
    fn point(&self) -> &ConsistencyPoint;

    /// How many pages of what size.
    fn geometry(&self) -> Geometry;

    /// Fills `buf`, a whole number of pages, with the pages from `first` on as of the moment. Any
    /// thread, any order, several at once. Bytes past the end of the source are zeros.
    ///
    /// # Errors
    /// What keeps the pages from being read; [`SnapshotError::Lost`] where the moment is gone.
    fn read_pages(&self, first: PageNo, buf: &mut [u8]) -> Result<(), SnapshotError>;

    /// Pages before `first` are read no more: they need not be held any longer. A read of one may fail from now on. Without an answer of its
    /// own: they are held until the end.
    fn release_before(&self, first: PageNo) {
        let _ = first;
    }

    /// What changed since the request's baseline.
    fn changed(&self) -> Changed<'_> {
        Changed::Unknown
    }

    /// Pages that were copied to hold the moment, so far. Without an answer of its own: none.
    fn taken(&self) -> Taken {
        Taken::default()
    }

    /// Whether everything read so far is of the moment.
    ///
    /// # Errors
    /// [`SnapshotError::Lost`] where it may not be.
    fn health(&self) -> Result<(), SnapshotError> {
        Ok(())
    }

    /// Ends the snapshot; a committed one gives the token for the next. Asks [`Self::health`] first.
    /// With [`Outcome::Aborted`], and on drop, changed pages go back to where they were tracked.
    ///
    /// # Errors
    /// As [`Self::health`].
    fn finish(&mut self, outcome: Outcome) -> Result<Option<SnapshotToken>, SnapshotError>;
}
