//! Which engine a file belongs to, told from its first bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use mantis_snapshot::SnapshotError;

use crate::source_file::{check, os_error};

/// An engine of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineKind {
    /// SQLite.
    Sqlite,
    /// redb.
    Redb,
    /// A raw file of pages.
    File,
}

impl EngineKind {
    /// The name in messages and before a colon on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Redb => "redb",
            Self::File => "file",
        }
    }
}

const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";
const REDB_MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Which engine a file belongs to, or `None` where its first bytes do not tell. Never [`EngineKind::File`]:
/// any file could be one, so that has to be said.
///
/// Opens and closes the file. In a process that has the same file open with SQLite, closing it drops
/// SQLite's locks (POSIX locks belong to the process): name the engine there instead of asking.
///
/// # Errors
/// Where the path leads to no readable file.
pub fn detect(path: &Path) -> Result<Option<EngineKind>, SnapshotError> {
    check(path)?;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut head = Vec::new();
        File::open(path)?.take(16).read_to_end(&mut head)?;
        Ok(head)
    };
    let head = read().map_err(|error| os_error("read", path, error))?;
    Ok(if head.starts_with(SQLITE_MAGIC) {
        Some(EngineKind::Sqlite)
    } else if head.starts_with(REDB_MAGIC) {
        Some(EngineKind::Redb)
    } else {
        None
    })
}
