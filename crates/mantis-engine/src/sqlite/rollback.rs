//! Rollback-journal mode: the pages are copied to a spool under a short lock.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use mantis_page::PageSize;
use mantis_snapshot::{FreezeRequest, SnapshotError};
use rusqlite::Connection;

use super::connection::sqlite_error;
use super::live_file::Handle;
use crate::source_file::os_error;

/// Bytes copied at once.
const BATCH_LEN: usize = 1 << 20;

/// An unnamed temporary file.
pub(crate) fn spool_file(request: &FreezeRequest) -> Result<File, SnapshotError> {
    let folder = request.temp_folder.clone().unwrap_or_else(std::env::temp_dir);
    tempfile::tempfile_in(&folder).map_err(|error| os_error("make a spool file in", &folder, error))
}

/// Copies the first `pages` pages of a database to a file, as fast as the disk gives them.
pub(crate) fn spool(
    connection: &Connection,
    path: &Path,
    pages: u64,
    page_size: PageSize,
    request: &FreezeRequest,
    out: &mut File,
) -> Result<(), SnapshotError> {
    let main = Handle::main(connection).map_err(|error| sqlite_error("open", path, error))?;
    let len = pages * u64::from(page_size.get());
    let mut buf = vec![0; BATCH_LEN.max(page_size.bytes())];
    let mut offset = 0;
    while offset < len {
        if request.cancel.is_cancelled() {
            return Err(SnapshotError::Cancelled);
        }
        let count = (len - offset).min(buf.len() as u64) as usize;
        let batch = &mut buf[..count];
        main.read_at(offset, batch).map_err(|error| sqlite_error("read", path, error))?;
        let folder = request.temp_folder.clone().unwrap_or_else(std::env::temp_dir);
        out.write_all(batch).map_err(|error| os_error("write the spool in", &folder, error))?;
        offset += count as u64;
    }
    Ok(())
}

/// Holds a time, for how long writers were kept out.
pub(crate) struct Held(Instant);

impl Held {
    pub(crate) fn since_now() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn for_so_long(&self) -> std::time::Duration {
        self.0.elapsed()
    }
}
