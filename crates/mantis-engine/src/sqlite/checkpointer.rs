//! Checkpoints of a database that others write.
//!
//! A checkpoint is SQLite's own: it syncs the WAL, copies committed pages of it into the database file and syncs that, as the
//! application's does. A crash at any point leaves what a crash of the application's own checkpoint leaves: the WAL, which is read again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mantis_snapshot::SnapshotError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::beside::is_of_one_wal;
use super::connection::{is_busy, sqlite_error};

/// How long the place of the one writer is waited for. Writers do not wait meanwhile.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often it is asked for: a tight writer leaves gaps of microseconds.
const PAUSE: Duration = Duration::from_micros(200);

/// A connection that may write.
pub(super) struct Checkpointer {
    path: PathBuf,
    connection: Connection,
}

/// The place of the one writer, held.
pub(super) struct HeldWriters<'a> {
    path: &'a Path,
    connection: Connection,
    since: Instant,
}

fn open(path: &Path) -> Result<Connection, SnapshotError> {
    let fail = |error| sqlite_error("open for checkpoints", path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    connection.busy_timeout(Duration::ZERO).map_err(fail)?;
    // What is left of the WAL is the application's, should this be the last one to close it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(fail)?;
    Ok(connection)
}

impl Checkpointer {
    pub(super) fn open(path: &Path) -> Result<Self, SnapshotError> {
        Ok(Self { path: path.to_owned(), connection: open(path)? })
    }

    /// Copies what can be copied without making anybody wait. Another checkpoint that is under way is as good. Copies nothing, and
    /// says so, where the WAL that is open is not the one that the wal-index is of: that would put pages of another database into
    /// the file.
    pub(super) fn checkpoint(&self) -> Result<bool, SnapshotError> {
        let fail = |error| sqlite_error("checkpoint", &self.path, error);
        // Reading opens the WAL, which stays open, so that it is looked at before the checkpoint of the same connection.
        match self.connection.query_row("PRAGMA schema_version", [], |_| Ok(())) {
            Err(error) if is_busy(&error) => return Ok(true),
            read => read.map_err(fail)?,
        }
        if !is_of_one_wal(&self.connection).map_err(fail)? {
            return Ok(false);
        }
        let done = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        match done {
            Err(error) if !is_busy(&error) => Err(fail(error)),
            _ => Ok(true),
        }
    }

    /// Takes the place of the one writer, where it can be had within a short time. Others that want to write meanwhile wait, by
    /// their own busy timeouts.
    pub(super) fn hold_writers(&self) -> Result<Option<HeldWriters<'_>>, SnapshotError> {
        let connection = open(&self.path)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match connection.execute_batch("BEGIN IMMEDIATE") {
                Ok(()) => break,
                Err(error) if is_busy(&error) && Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) if is_busy(&error) => return Ok(None),
                Err(error) => return Err(sqlite_error("hold writers of", &self.path, error)),
            }
        }
        Ok(Some(HeldWriters { path: &self.path, connection, since: Instant::now() }))
    }
}

impl HeldWriters<'_> {
    /// Lets writers go on; how long they were held.
    pub(super) fn release(self) -> Result<Duration, SnapshotError> {
        let released = self.connection.execute_batch("ROLLBACK");
        released.map_err(|error| sqlite_error("let writers go on in", self.path, error))?;
        Ok(self.since.elapsed())
    }
}
