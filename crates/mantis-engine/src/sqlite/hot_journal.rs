//! A database whose writer crashed in the middle of a transaction: its journal must be rolled back.
//!
//! SQLite would do that to the database itself when someone opens it for writing. A backup changes
//! nothing: database and journal are copied, under a lock that keeps others from rolling back
//! meanwhile, and the copy is rolled back.

use std::fs::{self, File};
use std::path::Path;

use mantis_snapshot::{FreezeRequest, SnapshotError};
use rusqlite::{Connection, OpenFlags};

use super::connection::sqlite_error;
use super::live_file::Handle;
use super::rollback;
use crate::restore_file::sidecars;
use crate::source_file::os_error;
use mantis_page::PageSize;

/// The database as it was before the crashed transaction, in an unnamed file.
///
/// `connection` must hold no lock.
pub(crate) fn recovered_copy(
    connection: &Connection,
    path: &Path,
    request: &FreezeRequest,
) -> Result<File, SnapshotError> {
    let fail = |error| sqlite_error("copy, to roll back its journal,", path, error);
    let folder = match &request.temp_folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(|error| os_error("make a temporary folder for", path, error))?;
    let copy = folder.path().join("copy.db");
    let main = Handle::main(connection).map_err(fail)?;
    main.lock_shared().map_err(fail)?;
    let copied = copy_both(connection, path, &copy, request);
    main.unlock();
    copied?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let recovered = Connection::open_with_flags(&copy, flags).and_then(|copy| {
        copy.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
        copy.close().map_err(|(_, error)| error)
    });
    recovered.map_err(|error| sqlite_error("roll back the journal of a copy of", path, error))?;
    // The folder goes when this returns; the open file stays readable.
    File::open(&copy).map_err(|error| os_error("open a copy of", path, error))
}

fn copy_both(
    connection: &Connection,
    path: &Path,
    copy: &Path,
    request: &FreezeRequest,
) -> Result<(), SnapshotError> {
    let [_, _, journal] = sidecars(path);
    let [_, _, journal_copy] = sidecars(copy);
    let mut out = File::create(copy).map_err(|error| os_error("make a copy of", path, error))?;
    let main = Handle::main(connection).map_err(|error| sqlite_error("read", path, error))?;
    let len = main.len().map_err(|error| sqlite_error("read", path, error))?;
    rollback::spool(connection, path, len.div_ceil(512), PageSize::MIN, request, &mut out)?;
    out.set_len(len).map_err(|error| os_error("make a copy of", path, error))?;
    // The journal carries no POSIX locks: it may be opened and closed by path.
    match fs::copy(&journal, &journal_copy) {
        Ok(_) => Ok(()),
        // Someone rolled it back between our asking and our lock: what was copied is whole.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(os_error("copy", &journal, error)),
    }
}
