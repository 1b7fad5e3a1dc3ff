//! SQLite's own check of a restored file.

use std::path::Path;

use mantis_snapshot::SnapshotError;
use rusqlite::{Connection, OpenFlags};

use super::connection::{immutable_uri, sqlite_error};

/// Runs `PRAGMA integrity_check` on a file that nobody writes and that has no WAL. Leaves nothing
/// beside it.
///
/// # Errors
/// What SQLite finds.
pub fn check_database(path: &Path) -> Result<(), SnapshotError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let found = Connection::open_with_flags(immutable_uri(path), flags)
        .and_then(|connection| {
            let mut statement = connection.prepare("PRAGMA integrity_check")?;
            statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
        })
        .map_err(|error| sqlite_error("check", path, error))?;
    if found == ["ok"] {
        return Ok(());
    }
    let shown = found.into_iter().take(3).collect::<Vec<_>>().join("; ");
    Err(SnapshotError::Engine {
        doing: "check",
        object: path.display().to_string(),
        source: shown.into(),
        help: Some(
            "the backup is as it was taken: the source was damaged then; try an older backup"
                .into(),
        ),
        retryable: false,
    })
}
