//! A redb database that no process has open, by its path.

use std::path::PathBuf;

use mantis_page::{PageNo, PageSize};
use mantis_snapshot::{
    ConsistencyPoint, Engine, FreezeRequest, FrozenPages, Geometry, Outcome, SnapshotError,
    SnapshotToken, SourceInfo,
};
use redb::{DatabaseError, ReadOnlyDatabase};

use crate::frozen_copy::{FrozenCopy, Unchanged};
use crate::source_file::{check, os_error};

/// A redb file that no process has open for writing. While the snapshot lives, redb's own shared lock
/// keeps writers from opening it.
#[derive(Debug, Clone)]
pub struct ClosedRedb {
    path: PathBuf,
}

impl ClosedRedb {
    /// The file at a path.
    ///
    /// # Errors
    /// Where the path leads to no regular file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SnapshotError> {
        let path = path.into();
        check(&path)?;
        Ok(Self { path })
    }

    fn refuse(&self, reason: &str, help: &str) -> SnapshotError {
        SnapshotError::Unsupported {
            object: self.path.display().to_string(),
            reason: reason.to_owned(),
            help: help.to_owned(),
        }
    }
}

impl Engine for ClosedRedb {
    fn info(&self) -> Result<SourceInfo, SnapshotError> {
        let object = self.path.display().to_string();
        Ok(SourceInfo { engine: "redb".into(), object, knows_changes: false })
    }

    fn freeze(&self, _: &FreezeRequest) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        let unchanged = Unchanged::note(self.path.clone())?;
        let lock = match ReadOnlyDatabase::open(&self.path) {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => {
                return Err(self.refuse(
                    "a process has it open for writing",
                    "back it up from inside that process, with mantis-engine's SnapshotBackend, or close it",
                ));
            }
            Err(DatabaseError::RepairAborted) => {
                return Err(self.refuse(
                    "it was not closed cleanly and needs a repair",
                    "open and close it once with its application, which repairs it",
                ));
            }
            Err(error) => {
                return Err(SnapshotError::Engine {
                    doing: "open",
                    object: self.path.display().to_string(),
                    source: error.into(),
                    help: Some("if it is no redb database, say which engine's it is".into()),
                    retryable: false,
                });
            }
        };
        let file =
            std::fs::File::open(&self.path).map_err(|error| os_error("open", &self.path, error))?;
        let point = ConsistencyPoint {
            lsn: mantis_page::Lsn::new(0),
            timeline: [0; 16],
            way: mantis_snapshot::FreezeWay::Closed,
            writers_held: std::time::Duration::ZERO,
        };
        let geometry = Geometry::of_file(PageSize::DEFAULT, unchanged.stamp.len);
        let copy = FrozenCopy::of_source(file, (geometry, point), unchanged);
        Ok(Box::new(Locked { copy, _lock: lock }))
    }
}

/// The file, under redb's shared lock.
struct Locked {
    copy: FrozenCopy,
    _lock: ReadOnlyDatabase,
}

impl FrozenPages for Locked {
    fn point(&self) -> &ConsistencyPoint {
        self.copy.point()
    }

    fn geometry(&self) -> Geometry {
        self.copy.geometry()
    }

    fn read_pages(&self, first: PageNo, buf: &mut [u8]) -> Result<(), SnapshotError> {
        self.copy.read_pages(first, buf)
    }

    fn health(&self) -> Result<(), SnapshotError> {
        self.copy.health()
    }

    fn finish(&mut self, outcome: Outcome) -> Result<Option<SnapshotToken>, SnapshotError> {
        self.copy.finish(outcome)
    }
}
