//! A raw page file that nobody writes while it is read: a block image, an exported table space.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mantis_page::{Lsn, PageSize};
use mantis_snapshot::{
    ConsistencyPoint, Engine, FreezeRequest, FreezeWay, FrozenPages, Geometry, SnapshotError,
    SourceInfo,
};

use crate::frozen_copy::{FrozenCopy, Unchanged};
use crate::source_file::{check, os_error};

/// A raw file, cut into pages of one size. A write during the backup is noticed (by length, time of
/// change and identity) and fails it.
#[derive(Debug, Clone)]
pub struct FileEngine {
    path: PathBuf,
    page_size: PageSize,
}

impl FileEngine {
    /// The file at a path, in pages of 4 KiB.
    ///
    /// # Errors
    /// Where the path leads to no regular file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SnapshotError> {
        Self::with_page_size(path, PageSize::DEFAULT)
    }

    /// The file at a path, in pages of `page_size`.
    ///
    /// # Errors
    /// Where the path leads to no regular file.
    pub fn with_page_size(
        path: impl Into<PathBuf>,
        page_size: PageSize,
    ) -> Result<Self, SnapshotError> {
        let path = path.into();
        check(&path)?;
        Ok(Self { path, page_size })
    }
}

impl Engine for FileEngine {
    fn info(&self) -> Result<SourceInfo, SnapshotError> {
        let object = self.path.display().to_string();
        Ok(SourceInfo { engine: "file".into(), object, knows_changes: false })
    }

    fn freeze(&self, _: &FreezeRequest) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        freeze_closed(&self.path, self.page_size)
    }
}

/// A file as it is, under the promise that nobody writes it.
pub(crate) fn freeze_closed(
    path: &Path,
    page_size: PageSize,
) -> Result<Box<dyn FrozenPages>, SnapshotError> {
    let unchanged = Unchanged::note(path.to_owned())?;
    let file = File::open(path).map_err(|error| os_error("open", path, error))?;
    let point = ConsistencyPoint {
        lsn: Lsn::new(0),
        timeline: [0; 16],
        way: FreezeWay::Closed,
        writers_held: Duration::ZERO,
    };
    let geometry = Geometry::of_file(page_size, unchanged.stamp.len);
    Ok(Box::new(FrozenCopy::of_source(file, (geometry, point), unchanged)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mantis_snapshot::{CancelFlag, Coordinator, Outcome, SnapshotConfig};

    #[test]
    fn reads_the_file_and_notices_a_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        std::fs::write(&path, vec![7; 5000]).unwrap();
        let coordinator = Coordinator::new(SnapshotConfig::default());
        let engine = FileEngine::open(&path).unwrap();
        let begin = || coordinator.begin("image", &engine, None, &CancelFlag::new()).unwrap();
        let snapshot = begin();
        assert_eq!((snapshot.geometry().page_count, snapshot.geometry().byte_len), (2, 5000));
        let mut buf = vec![1; 8192];
        snapshot.read_pages(mantis_page::PageNo::FIRST, &mut buf).unwrap();
        assert_eq!((&buf[..5000], &buf[5000..]), (&[7; 5000][..], &[0; 3192][..]));
        assert_eq!(snapshot.finish(Outcome::Committed).unwrap(), None);
        let snapshot = begin();
        std::fs::write(&path, vec![8; 5001]).unwrap();
        assert!(snapshot.finish(Outcome::Committed).is_err());
    }
}
