//! The storage backend that saves before-images and freezes itself at a commit.
//!
//! The header of a redb file has a byte of flags at offset 9: bit 0 which of two commit slots counts,
//! bit 1 that the file needs a repair when it is opened, bit 2 that the commit was in two phases, bit 3
//! that the choice of slot is not yet synced. A commit with `quick_repair` writes its pages, syncs,
//! writes the header with bit 0 flipped, syncs; where several processes share the file it then writes
//! the header once more with bit 3 cleared. A freeze right after that step is a file that needs no
//! repair but for its bit 1, which the snapshot clears in its copy.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mantis_cow::{CowFile, CowLimits, FrozenFile, LiveFile, Sealed};
use mantis_page::PageSize;
use redb::{BackendError, StorageBackend};

use super::content::{self, Content, Root};

/// The offset of the byte of flags.
pub(crate) const FLAGS_AT: u64 = 9;
pub(super) const PRIMARY: u8 = 1;
/// The file needs a repair when it is opened.
pub(crate) const RECOVERY_REQUIRED: u8 = 2;
const UNSYNCED: u8 = 8;

/// A frozen file and the pages changed since the seal before.
pub(crate) struct Freeze {
    pub(crate) file: FrozenFile,
    pub(crate) sealed: Sealed,
    pub(crate) commits: u64,
    /// Of what is in it, where that can be told.
    pub(crate) root: Option<Root>,
}

/// A freeze that waits for its moment.
struct Armed {
    primary: u8,
    synced: bool,
}

#[derive(Default)]
struct State {
    flags: Option<u8>,
    commits: u64,
    armed: Option<Armed>,
    frozen: Option<Result<Freeze, mantis_cow::CowError>>,
    /// What was in the last snapshot that ended as committed.
    backed_up: Option<Content>,
}

/// What the backend and the engine share.
pub(crate) struct Shared {
    inner: Box<dyn StorageBackend>,
    pub(crate) cow: Arc<CowFile>,
    state: Mutex<State>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotBackend").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl LiveFile for Shared {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let len = self.inner.len()?;
        let there = len.saturating_sub(offset).min(buf.len() as u64) as usize;
        let (head, tail) = buf.split_at_mut(there);
        tail.fill(0);
        if head.is_empty() { Ok(()) } else { self.inner.read(offset, head) }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Freezes the file as it is, with no write under way.
    pub(crate) fn freeze(&self) -> Result<Freeze, mantis_cow::CowError> {
        let (mut sealed, mut root) = (None, None);
        let file = self.cow.freeze_with(|| {
            // Sealed while the gate is shut: a write is in this set or in the next, never in neither.
            sealed = Some(self.cow.dirty().seal());
            root = self.root();
            self.inner.len()
        })?;
        let sealed = sealed.unwrap_or_else(|| self.cow.dirty().seal());
        Ok(Freeze { file, sealed, commits: self.state().commits, root })
    }

    /// The root of what is committed durably, where it can be read.
    pub(crate) fn root(&self) -> Option<Root> {
        let mut header = [0; content::HEADER];
        self.inner.read(0, &mut header).ok()?;
        content::root_in(&header)
    }

    /// What was in the last snapshot that ended as committed, where that is known.
    pub(crate) fn backed_up(&self) -> Option<Content> {
        self.state().backed_up.clone()
    }

    /// A snapshot of this ended as committed; none where what is in backups is not known.
    pub(crate) fn note_backed_up(&self, content: Option<Content>) {
        self.state().backed_up = content;
    }

    /// Asks for a freeze at the next two-phase commit.
    pub(crate) fn arm(&self) -> bool {
        let mut state = self.state();
        state.frozen = None;
        let Some(flags) = state.flags else { return false };
        state.armed = Some(Armed { primary: flags & PRIMARY, synced: false });
        true
    }

    /// The freeze that was asked for, where its moment came.
    pub(crate) fn disarm(&self) -> Option<Result<Freeze, mantis_cow::CowError>> {
        let mut state = self.state();
        state.armed = None;
        state.frozen.take()
    }

    /// After a write of the header or a sync: freezes if this is the moment.
    fn consider(&self, synced: bool) {
        {
            let mut state = self.state();
            let Some(flags) = state.flags else { return };
            let Some(armed) = &mut state.armed else { return };
            if flags & PRIMARY == armed.primary {
                return;
            }
            armed.synced |= synced;
            if !armed.synced || flags & UNSYNCED != 0 {
                return;
            }
            state.armed = None;
        }
        let frozen = self.freeze();
        self.state().frozen = Some(frozen);
    }

    fn note_header(&self, offset: u64, data: &[u8]) -> bool {
        let flags = FLAGS_AT.checked_sub(offset).and_then(|at| data.get(at as usize));
        let Some(flags) = flags.copied() else { return false };
        let mut state = self.state();
        if state.flags.is_some_and(|old| (old ^ flags) & PRIMARY != 0) {
            state.commits += 1;
        }
        state.flags = Some(flags);
        true
    }
}

/// Wraps a storage backend so that the database on it can be backed up hot. Cheap to clone: give one
/// clone to redb, another to [`RedbEngine`](super::RedbEngine).
#[derive(Debug, Clone)]
pub struct SnapshotBackend(pub(crate) Arc<Shared>);

impl SnapshotBackend {
    /// Around another backend; `limits` bound what before-images may take.
    #[must_use]
    pub fn new(inner: impl StorageBackend, limits: CowLimits) -> Self {
        Self(Arc::new(Shared {
            inner: Box::new(inner),
            cow: Arc::new(CowFile::new(PageSize::DEFAULT, limits)),
            state: Mutex::default(),
        }))
    }
}

impl StorageBackend for SnapshotBackend {
    fn len(&self) -> io::Result<u64> {
        self.0.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _gate = self.0.cow.write_gate();
        let old = self.0.inner.len()?;
        self.0.cow.before_truncate(&*self.0, len, old);
        self.0.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.inner.sync_data()?;
        self.0.consider(true);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        {
            let _gate = self.0.cow.write_gate();
            self.0.cow.before_write(&*self.0, offset, data.len() as u64);
            self.0.inner.write(offset, data)?;
        }
        if self.0.note_header(offset, data) {
            self.0.consider(false);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.inner.query_lock_range(start, end)
    }
}
