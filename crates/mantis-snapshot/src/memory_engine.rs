//! The reference engine: pages in memory, commits under a lock, copy-on-write snapshots.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use mantis_cow::{CowFile, CowLimits, FrozenFile, LiveFile, Sealed};
use mantis_page::{Lsn, PageNo, PageSize};

use crate::{
    Changed, ConsistencyPoint, Engine, FreezeRequest, FreezeWay, FrozenPages, Geometry, Outcome,
    SnapshotError, SnapshotToken, SourceInfo,
};

/// A database in memory whose commits are closures over its pages. It shows what an engine owes, and
/// stands in for one in tests and examples. Clones share the pages.
///
/// ```
/// use mantis_page::{PageNo, PageSize};
/// use mantis_snapshot::{CancelFlag, Coordinator, MemoryEngine, SnapshotConfig};
/// let engine = MemoryEngine::new(PageSize::MIN, 4);
/// let coordinator = Coordinator::new(SnapshotConfig::default());
/// let snapshot = coordinator.begin("demo", &engine, None, &CancelFlag::new())?;
/// engine.commit(|pages| pages.write(PageNo::FIRST, &[1; 512]));
/// let mut page = [9; 512];
/// snapshot.read_pages(PageNo::FIRST, &mut page)?;
/// assert_eq!(page, [0; 512]);
/// # Ok::<(), mantis_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MemoryEngine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    page_size: PageSize,
    pages: Pages,
    cow: Arc<CowFile>,
    commits: AtomicU64,
    writer: Mutex<()>,
    open: AtomicUsize,
}

#[derive(Debug)]
struct Pages(RwLock<Vec<u8>>);

impl LiveFile for Pages {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let pages = self.0.read().unwrap_or_else(PoisonError::into_inner);
        buf.fill(0);
        let start = pages.len().min(offset as usize);
        let end = pages.len().min(start + buf.len());
        buf[..end - start].copy_from_slice(&pages[start..end]);
        Ok(())
    }
}

/// The pages, to one commit.
#[derive(Debug)]
pub struct Commit<'a>(&'a Inner);

impl Commit<'_> {
    /// Writes one page; the database grows to hold it.
    ///
    /// # Panics
    /// Where `bytes` is not one page.
    pub fn write(&self, page: PageNo, bytes: &[u8]) {
        let size = self.0.page_size.bytes();
        assert_eq!(bytes.len(), size, "a page is {size} bytes");
        let at = page.index() as usize * size;
        self.0.cow.before_write(&self.0.pages, at as u64, size as u64);
        let mut pages = self.0.pages.0.write().unwrap_or_else(PoisonError::into_inner);
        if pages.len() < at + size {
            pages.resize(at + size, 0);
        }
        pages[at..at + size].copy_from_slice(bytes);
    }

    /// Cuts the database to `count` pages.
    pub fn truncate(&self, count: u64) {
        let new_len = count as usize * self.0.page_size.bytes();
        let old_len = self.0.pages.0.read().unwrap_or_else(PoisonError::into_inner).len();
        self.0.cow.before_truncate(&self.0.pages, new_len as u64, old_len as u64);
        self.0.pages.0.write().unwrap_or_else(PoisonError::into_inner).truncate(new_len);
    }
}

impl MemoryEngine {
    /// A database of `pages` zero pages.
    #[must_use]
    pub fn new(page_size: PageSize, pages: usize) -> Self {
        Self::with_limits(page_size, pages, CowLimits::default())
    }

    /// As [`Self::new`], with limits to the before-images that it holds for its snapshots: what is past them makes a snapshot lost.
    #[must_use]
    pub fn with_limits(page_size: PageSize, pages: usize, limits: CowLimits) -> Self {
        Self(Arc::new(Inner {
            page_size,
            pages: Pages(RwLock::new(vec![0; pages * page_size.bytes()])),
            cow: Arc::new(CowFile::new(page_size, limits)),
            commits: AtomicU64::new(0),
            writer: Mutex::default(),
            open: AtomicUsize::new(0),
        }))
    }

    /// One commit: all that `write` does to the pages, or none of it, is in any snapshot.
    pub fn commit(&self, write: impl FnOnce(&Commit<'_>)) {
        let _writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        write(&Commit(&self.0));
        self.0.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// How many snapshots hold the engine.
    #[must_use]
    pub fn open_snapshots(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }
}

impl Engine for MemoryEngine {
    fn info(&self) -> Result<SourceInfo, SnapshotError> {
        Ok(SourceInfo { engine: "memory".into(), object: "memory".into(), knows_changes: true })
    }

    fn freeze(&self, request: &FreezeRequest) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        let inner = &self.0;
        let _writer = inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now();
        let len = inner.pages.0.read().unwrap_or_else(PoisonError::into_inner).len() as u64;
        let lost = |error| SnapshotError::engine("freeze", "memory", error);
        let frozen = inner.cow.freeze(len).map_err(lost)?;
        let sealed = inner.cow.dirty().seal();
        inner.open.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(FrozenMemory {
            inner: Arc::clone(inner),
            point: ConsistencyPoint {
                lsn: Lsn::new(inner.commits.load(Ordering::Relaxed)),
                timeline: *b"memory\0\0\0\0\0\0\0\0\0\0",
                way: FreezeWay::CopyOnWrite,
                writers_held: start.elapsed(),
            },
            geometry: Geometry::of_file(inner.page_size, len),
            frozen,
            sealed: Some(sealed),
            baseline: request.baseline.clone(),
        }))
    }
}

struct FrozenMemory {
    inner: Arc<Inner>,
    point: ConsistencyPoint,
    geometry: Geometry,
    frozen: FrozenFile,
    /// Until it is committed or given back.
    sealed: Option<Sealed>,
    baseline: Option<SnapshotToken>,
}

impl FrozenPages for FrozenMemory {
    fn point(&self) -> &ConsistencyPoint {
        &self.point
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_pages(&self, first: PageNo, buf: &mut [u8]) -> Result<(), SnapshotError> {
        let offset = self.geometry.page_size.offset_of(first).unwrap_or(u64::MAX);
        self.frozen.read_at(&self.inner.pages, offset, buf).map_err(|error| SnapshotError::Read {
            object: "memory".into(),
            first,
            source: error.into(),
        })
    }

    fn release_before(&self, first: PageNo) {
        if let Some(offset) = self.geometry.page_size.offset_of(first) {
            self.frozen.release_before(offset);
        }
    }

    fn changed(&self) -> Changed<'_> {
        let token = self.baseline.as_ref().map_or(&[][..], |token| &token.0);
        self.sealed
            .as_ref()
            .and_then(|sealed| sealed.since(token))
            .map_or(Changed::Unknown, Changed::Pages)
    }

    fn health(&self) -> Result<(), SnapshotError> {
        if self.frozen.is_lost() {
            let reason = "a before-image could not be saved".into();
            return Err(SnapshotError::Lost { object: "memory".into(), reason });
        }
        Ok(())
    }

    fn finish(&mut self, outcome: Outcome) -> Result<Option<SnapshotToken>, SnapshotError> {
        self.health()?;
        let sealed = if outcome == Outcome::Committed { self.sealed.take() } else { None };
        Ok(sealed.map(|sealed| SnapshotToken(self.inner.cow.dirty().commit(&sealed).to_vec())))
    }
}

impl Drop for FrozenMemory {
    fn drop(&mut self) {
        if let Some(sealed) = &self.sealed {
            self.inner.cow.dirty().abort(sealed);
        }
        self.inner.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Subject, check_engine};

    struct Memory(MemoryEngine, u64);

    impl Subject for Memory {
        fn engine(&self) -> Box<dyn Engine> {
            Box::new(self.0.clone())
        }

        fn commit(&mut self) -> u64 {
            self.1 += 1;
            let count = 4 + self.1 % 13;
            self.0.commit(|commit| {
                for page in 1..=count {
                    let mut bytes = [0; 512];
                    bytes[..8].copy_from_slice(&self.1.to_le_bytes());
                    commit.write(PageNo::new(page).unwrap(), &bytes);
                }
                commit.truncate(count);
            });
            self.1
        }

        fn commit_of(&self, image: &[u8]) -> Result<u64, String> {
            let number = |page: &[u8]| u64::from_le_bytes(page[..8].try_into().unwrap());
            let first = number(&image[..512]);
            if image.chunks(512).all(|page| number(page) == first) {
                Ok(first)
            } else {
                Err("pages of different commits".into())
            }
        }
    }

    #[test]
    fn passes_the_conformance_suite() {
        check_engine(&mut Memory(MemoryEngine::new(PageSize::MIN, 1), 0));
    }
}
