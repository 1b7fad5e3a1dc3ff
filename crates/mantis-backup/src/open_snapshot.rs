//! A backup looked at without restoring it.

use std::ops::Deref;
use std::sync::Arc;

use mantis_engine::EngineKind;
use mantis_engine::sqlite::open_pages;
use mantis_repo::{BackupInfo, PagesFetched, Repository};
use rusqlite::Connection;

use crate::Error;
use crate::backup_pages::BackupPages;

impl BackupPages {
    /// Why SQLite failed: the repository's word, where that is why a page could not be read, else its own.
    pub(crate) fn explain(&self, doing: &str, error: rusqlite::Error) -> Error {
        let help = Some(help(&error).into());
        self.or_failure(Error::Other { doing: doing.into(), help, source: error.into() })
    }
}

/// A connection to the database of a backup, as it was at its moment; it cannot be written. What a statement needs is fetched from the
/// repository when it needs it, proved, and kept in memory for a while.
///
/// A statement waits on the thread that runs it, for as long as the store takes. In asynchronous code, give it a thread that may block.
pub struct OpenSnapshot {
    connection: Connection,
    pages: Arc<BackupPages>,
}

impl std::fmt::Debug for OpenSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSnapshot").field("pages", &self.pages).finish_non_exhaustive()
    }
}

impl Deref for OpenSnapshot {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl OpenSnapshot {
    /// What was fetched for it so far.
    #[must_use]
    pub fn fetched(&self) -> PagesFetched {
        self.pages.fetched()
    }

    /// Why a statement failed: the repository's word, where it is the reason that a page could not be read, else SQLite's.
    #[must_use]
    pub fn explain(&self, error: rusqlite::Error) -> Error {
        self.pages.explain("ask the backup", error)
    }

    /// The connection alone.
    #[must_use]
    pub fn into_connection(self) -> Connection {
        self.connection
    }
}

fn help(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ReadOnly) => {
            "a backup is never changed: restore it, and change that"
        }
        Some(rusqlite::ErrorCode::OperationInterrupted) => "it was interrupted",
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            "another process writes the database: try again"
        }
        Some(rusqlite::ErrorCode::ConstraintViolation) => {
            "the database's rules refuse a row: bring back what it refers to first, or fewer rows"
        }
        Some(rusqlite::ErrorCode::CannotOpen) => "check that the file is there, and may be written",
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            "the database was so when it was backed up, as each page is proved: look at an earlier backup"
        }
        _ => "`select name, sql from sqlite_schema` shows what there is",
    }
}

/// Opens the database of a backup for reading, without restoring it. Of SQLite databases; in a runtime of tokio's.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mantis_backup::{open_repository, open_snapshot, repo::Selector};
/// let repo = open_repository("/srv/backups", &[]).await?;
/// let backup = repo.catalogue().await?.find(&Selector::default())?.clone();
/// let snapshot = open_snapshot(&repo, &backup).await?;
/// let orders = tokio::task::spawn_blocking(move || {
///     snapshot.query_row("SELECT count(*) FROM orders", [], |row| row.get::<_, i64>(0))
/// });
/// println!("{} orders then", orders.await??);
/// # Ok(()) }
/// ```
///
/// # Errors
/// A backup of another engine, and what keeps its manifest from being read.
pub async fn open_snapshot(repo: &Repository, backup: &BackupInfo) -> Result<OpenSnapshot, Error> {
    let pages = BackupPages::of(repo, backup, EngineKind::Sqlite).await?;
    let opened = open_pages(pages.clone());
    let connection = opened.map_err(|error| pages.or_failure(error.into()))?;
    Ok(OpenSnapshot { connection, pages })
}
