//! A connection that reads one moment of a database and changes nothing.

use std::path::Path;
use std::time::Duration;

use mantis_snapshot::{FreezeRequest, SnapshotError};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::live_file::without_lookaside;

/// How long to wait before asking a busy database again; short, as a tight writer leaves gaps of
/// microseconds only. Grows to four times as much.
const FIRST_PAUSE: Duration = Duration::from_micros(200);

/// An error of SQLite on a source, with what to do about it.
pub(crate) fn sqlite_error(
    doing: &'static str,
    path: &Path,
    error: rusqlite::Error,
) -> SnapshotError {
    let code = error.sqlite_error().map(|error| (error.code, error.extended_code));
    let help = match code {
        // The folder, the -wal or the -shm file cannot be written: which one, SQLite tells differently
        // from one version to the next.
        Some((ErrorCode::CannotOpen | ErrorCode::ReadOnly, _)) => Some(
            "a WAL database needs its -wal and -shm files beside it: give this user the right to write \
             in its folder, or, where nobody can write it, say --immutable",
        ),
        Some((ErrorCode::PermissionDenied, _)) => Some("run as a user who may read the database"),
        Some((ErrorCode::NotADatabase, _)) => Some(
            "it is encrypted or no SQLite database; back it up with file:PATH while nobody writes it",
        ),
        Some((ErrorCode::DatabaseCorrupt, _)) => {
            Some("check the database with `PRAGMA integrity_check`")
        }
        Some((ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _)) => Some(
            "another process holds the database exclusively: back it up when that is done, or allow \
             more time",
        ),
        _ => None,
    };
    let busy = matches!(code, Some((ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _)));
    SnapshotError::Engine {
        doing,
        object: path.display().to_string(),
        source: error.into(),
        help: help.map(str::to_owned),
        retryable: busy,
    }
}

/// Opens a database for reading only: its file cannot be written through this connection.
pub(crate) fn open(path: &Path, immutable: bool) -> Result<Connection, SnapshotError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = if immutable {
        Connection::open_with_flags(immutable_uri(path), flags | OpenFlags::SQLITE_OPEN_URI)
    } else {
        Connection::open_with_flags(path, flags)
    };
    let connection = opened.map_err(|error| sqlite_error("open", path, error))?;
    without_lookaside(&connection);
    let quiet = connection.busy_timeout(Duration::ZERO);
    quiet.map_err(|error| sqlite_error("set up", path, error))?;
    Ok(connection)
}

/// A URI that tells SQLite that the file cannot change.
pub(crate) fn immutable_uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// Whether an error says that someone else holds a lock.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Asks until the database is not busy, or time is up.
pub(crate) fn patiently<T>(
    path: &Path,
    request: &FreezeRequest,
    mut ask: impl FnMut() -> Result<T, rusqlite::Error>,
) -> Result<T, SnapshotError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if is_busy(&error) => {}
            Err(error) => return Err(sqlite_error("read", path, error)),
        }
        request.check("wait for the busy database", &path.display().to_string())?;
        std::thread::sleep(pause);
        pause = (pause * 2).min(FIRST_PAUSE * 4);
    }
}

/// What came of asking for a read transaction.
pub(crate) enum Began {
    /// The moment is held.
    Reading,
    /// A crashed writer's journal must be rolled back first, which this connection may not do.
    HotJournal,
}

/// Begins a read transaction; asks again while the database is busy.
pub(crate) fn begin_read(
    connection: &Connection,
    path: &Path,
    request: &FreezeRequest,
) -> Result<Began, SnapshotError> {
    let mut pause = FIRST_PAUSE;
    loop {
        // Reading the schema's version takes the lock, and parses nothing.
        let began = connection
            .execute_batch("BEGIN")
            .and_then(|()| connection.query_row("PRAGMA schema_version", [], |_| Ok(())));
        let Err(error) = began else { return Ok(Began::Reading) };
        if !connection.is_autocommit() {
            connection
                .execute_batch("ROLLBACK")
                .map_err(|error| sqlite_error("roll back on", path, error))?;
        }
        let code = error.sqlite_error().copied();
        match code {
            Some(ffi::Error { extended_code: ffi::SQLITE_READONLY_ROLLBACK, .. }) => {
                return Ok(Began::HotJournal);
            }
            Some(ffi::Error {
                code: ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, ..
            }) => {}
            _ => return Err(sqlite_error("begin to read", path, error)),
        }
        request.check("wait for the busy database", &path.display().to_string())?;
        std::thread::sleep(pause);
        pause = (pause * 2).min(FIRST_PAUSE * 4);
    }
}
