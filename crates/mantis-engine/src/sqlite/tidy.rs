//! Leaves beside a database what was there before it was opened.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::restore_file::sidecars;

/// Removes `-wal` and `-shm` files that were not there before we opened the database, through SQLite
/// itself: its last closer removes them, under its own locks.
pub(crate) struct Tidy {
    path: PathBuf,
}

impl Tidy {
    /// Notes whether they are there.
    pub(super) fn note(path: &Path) -> Option<Self> {
        let [wal, shm, _] = sidecars(path);
        (!wal.exists() && !shm.exists()).then(|| Self { path: path.to_owned() })
    }
}

impl Drop for Tidy {
    fn drop(&mut self) {
        let [wal, _, _] = sidecars(&self.path);
        // A WAL with frames is someone's: whoever wrote them checkpoints them.
        if !fs::metadata(&wal).is_ok_and(|wal| wal.len() == 0) {
            return;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let tidied = Connection::open_with_flags(&self.path, flags)
            .and_then(|connection| connection.query_row("PRAGMA schema_version", [], |_| Ok(())));
        if let Err(error) = tidied {
            tracing::debug!(path = %self.path.display(), %error, "empty -wal and -shm files stay behind");
        }
    }
}
