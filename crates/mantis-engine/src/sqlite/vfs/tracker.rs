//! What is known of one database in this process, whatever number of connections it has.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mantis_cow::{CowError, CowFile, CowLimits, DirtyPages, FrozenFile, Sealed};
use mantis_page::PageSize;

use super::watch::Watch;
use crate::source_file::{self, Identity};

/// The file and the changed pages, frozen in one go.
pub(crate) struct Freeze {
    pub(crate) file: FrozenFile,
    pub(crate) sealed: Sealed,
}

/// A freeze at the end of a running transaction, in rollback-journal mode.
#[derive(Default)]
pub(crate) struct Armed {
    waiting: bool,
    frozen: Option<Result<Freeze, CowError>>,
}

/// One database.
pub(crate) struct Tracker {
    pub(crate) cow: Arc<CowFile>,
    pub(crate) limits: CowLimits,
    /// By page number; from frame headers, or from writes to the file in rollback-journal mode.
    pub(crate) dirty: DirtyPages,
    watch: Mutex<Watch>,
    armed: Mutex<Armed>,
    armed_done: Condvar,
}

/// Trackers by file, never by path: a file that was replaced is another database.
static TRACKERS: LazyLock<Mutex<HashMap<Identity, Weak<Tracker>>>> = LazyLock::new(Mutex::default);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tracker {
    /// The tracker of the database at a path; made where there is none.
    pub(crate) fn of(path: &Path, limits: &CowLimits) -> Option<Arc<Self>> {
        let identity = source_file::identity(&std::fs::metadata(path).ok()?);
        let mut trackers = locked(&TRACKERS);
        if let Some(tracker) = trackers.get(&identity).and_then(Weak::upgrade) {
            return Some(tracker);
        }
        trackers.retain(|_, tracker| tracker.strong_count() > 0);
        let tracker = Arc::new(Self {
            cow: Arc::new(CowFile::new(PageSize::DEFAULT, limits.clone())),
            limits: limits.clone(),
            dirty: DirtyPages::new(),
            watch: Mutex::default(),
            armed: Mutex::default(),
            armed_done: Condvar::new(),
        });
        trackers.insert(identity, Arc::downgrade(&tracker));
        Some(tracker)
    }

    /// The tracker of the database at a path, where connections have it open.
    pub(crate) fn existing(path: &Path) -> Option<Arc<Self>> {
        let identity = source_file::identity(&std::fs::metadata(path).ok()?);
        locked(&TRACKERS).get(&identity).and_then(Weak::upgrade)
    }

    pub(crate) fn watch(&self) -> MutexGuard<'_, Watch> {
        locked(&self.watch)
    }

    /// Freezes the file of `len` bytes; no transaction may be under way.
    pub(crate) fn freeze(&self, len: u64) -> Result<Freeze, CowError> {
        let mut sealed = None;
        let file = self.cow.freeze_with(|| {
            sealed = Some(self.dirty.seal());
            Ok(len)
        })?;
        // The file's own blocks are not asked for; forgotten, so that they take no memory.
        drop(self.cow.dirty().seal());
        Ok(Freeze { file, sealed: sealed.unwrap_or_else(|| self.dirty.seal()) })
    }

    /// Waits a moment for the end of a transaction to freeze at.
    pub(crate) fn freeze_at_commit(&self, patience: Duration) -> Option<Result<Freeze, CowError>> {
        let mut armed = locked(&self.armed);
        armed.waiting = true;
        let waited =
            self.armed_done.wait_timeout_while(armed, patience, |armed| armed.frozen.is_none());
        armed = waited.unwrap_or_else(PoisonError::into_inner).0;
        armed.waiting = false;
        armed.frozen.take()
    }

    /// A transaction on a file of `len` bytes ended, and its lock is still held.
    pub(crate) fn transaction_ends(&self, len: u64) {
        let mut armed = locked(&self.armed);
        if armed.waiting && armed.frozen.is_none() {
            armed.frozen = Some(self.freeze(len));
            self.armed_done.notify_all();
        }
    }
}
