//! A snapshot that is a file nobody changes: a spooled copy, or a source that is closed.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use mantis_cow::LiveFile;
use mantis_page::PageNo;
use mantis_snapshot::{
    ConsistencyPoint, FreezeWay, FrozenPages, Geometry, Outcome, SnapshotError, SnapshotToken,
    Taken,
};

use crate::page_cache::PageCache;
use crate::source_file::Stamp;

/// What must still be true of the source for the copy to be its moment.
#[derive(Debug)]
pub(crate) struct Unchanged {
    pub(crate) path: PathBuf,
    pub(crate) stamp: Stamp,
}

impl Unchanged {
    /// Notes what is true of a source now.
    #[cfg(any(feature = "redb", feature = "file"))]
    pub(crate) fn note(path: PathBuf) -> Result<Self, SnapshotError> {
        Ok(Self { stamp: Stamp::of(&path)?, path })
    }

    fn check(&self) -> Result<(), SnapshotError> {
        if Stamp::of(&self.path)? == self.stamp {
            return Ok(());
        }
        let reason = "it was written or replaced while it was read".to_owned();
        Err(SnapshotError::Lost { object: self.path.display().to_string(), reason })
    }
}

/// A moment that is a file.
pub(crate) struct FrozenCopy {
    pub(crate) object: String,
    pub(crate) file: Arc<File>,
    pub(crate) geometry: Geometry,
    pub(crate) point: ConsistencyPoint,
    /// Set where the file is the source itself.
    pub(crate) unchanged: Option<Unchanged>,
    /// Leaves the page cache as it was, where the file is the source itself. A spool goes, and what is cached of it.
    pub(crate) cache: Option<PageCache>,
}

#[cfg(any(feature = "redb", feature = "file"))]
impl FrozenCopy {
    /// A file that nobody writes, which is a source itself.
    pub(crate) fn of_source(
        file: File,
        (geometry, point): (Geometry, ConsistencyPoint),
        unchanged: Unchanged,
    ) -> Self {
        let file = Arc::new(file);
        let cache = Some(PageCache::of(Arc::clone(&file)));
        let object = unchanged.path.display().to_string();
        Self { object, file, geometry, point, unchanged: Some(unchanged), cache }
    }
}

impl FrozenPages for FrozenCopy {
    fn point(&self) -> &ConsistencyPoint {
        &self.point
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_pages(&self, first: PageNo, buf: &mut [u8]) -> Result<(), SnapshotError> {
        let read = |source: mantis_snapshot::BoxError| SnapshotError::Read {
            object: self.object.clone(),
            first,
            source,
        };
        let size = self.geometry.page_size;
        let pages = (buf.len() / size.bytes()) as u64;
        let end = first.index().checked_add(pages).filter(|end| *end <= self.geometry.page_count);
        let offset = end.and_then(|_| size.offset_of(first));
        let offset = offset.ok_or_else(|| read("past the end of the snapshot".into()))?;
        let len = buf.len();
        let mut fill = || LiveFile::read_at(&*self.file, offset, buf);
        let done = match &self.cache {
            Some(cache) => cache.around(offset, len, fill),
            None => fill(),
        };
        done.map_err(|error| read(error.into()))
    }

    fn taken(&self) -> Taken {
        // All of them stand in the spool, which is a temporary file.
        let spooled = self.point.way == FreezeWay::Spooled;
        let pages = if spooled { self.geometry.page_count } else { 0 };
        Taken { saved: pages, spilled: pages }
    }

    fn health(&self) -> Result<(), SnapshotError> {
        self.unchanged.as_ref().map_or(Ok(()), Unchanged::check)
    }

    fn finish(&mut self, _: Outcome) -> Result<Option<SnapshotToken>, SnapshotError> {
        self.health().map(|()| None)
    }
}
