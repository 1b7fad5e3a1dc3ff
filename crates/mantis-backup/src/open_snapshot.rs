//! A backup looked at without restoring it.

use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use mantis_engine::EngineKind;
use mantis_engine::sqlite::{DatabasePages, open_pages};
use mantis_page::PageNo;
use mantis_repo::{BackupInfo, PageReader, PagesFetched, RepoError, Repository};
use rusqlite::Connection;
use tokio::runtime::Handle;

use crate::Error;

/// Bytes of decoded pages that are kept in memory.
const CACHE: u64 = 64 << 20;

/// The bytes of a backup's database, fetched page by page.
pub(crate) struct BackupPages {
    reader: Arc<PageReader>,
    runtime: Handle,
    /// Why a page could not be read: SQLite only tells that one could not.
    failure: Mutex<Option<RepoError>>,
}

impl BackupPages {
    /// Those of a backup of a SQLite database.
    pub(crate) async fn of(repo: &Repository, backup: &BackupInfo) -> Result<Arc<Self>, Error> {
        let engine = &backup.meta.engine;
        if engine != EngineKind::Sqlite.name() {
            return Err(Error::usage(
                format!(
                    "backup {} is of engine {engine}: SQLite's can be looked at",
                    backup.id.short()
                ),
                "restore it, and open that",
            ));
        }
        Ok(Arc::new(Self {
            reader: Arc::new(repo.page_reader(backup, CACHE).await?),
            runtime: Handle::current(),
            failure: Mutex::default(),
        }))
    }

    /// Why SQLite failed: the repository's word, where that is why a page could not be read, else its own.
    pub(crate) fn explain(&self, doing: &str, error: rusqlite::Error) -> Error {
        let help = Some(help(&error).into());
        self.or_failure(Error::Other { doing: doing.into(), help, source: error.into() })
    }

    /// Why a page could not be read, if one could not, else another error.
    pub(crate) fn or_failure(&self, other: Error) -> Error {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(other, Error::from)
    }

    fn page(&self, page: PageNo) -> io::Result<Bytes> {
        if let Some(bytes) = self.reader.at_hand(page) {
            return Ok(bytes);
        }
        // On a task of its own: the thread that asks may be one that must not drive others, and only waits.
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let reader = Arc::clone(&self.reader);
        self.runtime.spawn(async move {
            let _ = answer.send(reader.page(page).await);
        });
        match answered.recv() {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => {
                let told = io::Error::other(error.to_string());
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(error);
                Err(told)
            }
            Err(_) => Err(io::Error::other("the runtime has ended")),
        }
    }
}

impl DatabasePages for BackupPages {
    fn byte_len(&self) -> u64 {
        self.reader.backup().meta.byte_len
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        let size = u64::from(self.reader.page_size().get());
        while !buf.is_empty() {
            let beyond = || io::Error::other("past the last page");
            let page = self.page(PageNo::from_index(offset / size).ok_or_else(beyond)?)?;
            let from = (offset % size) as usize;
            let content = page.get(from..).ok_or_else(beyond)?;
            let count = content.len().min(buf.len());
            let (now, rest) = buf.split_at_mut(count);
            now.copy_from_slice(&content[..count]);
            (buf, offset) = (rest, offset + count as u64);
        }
        Ok(())
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
        f.debug_struct("OpenSnapshot").field("pages", &self.pages.reader).finish_non_exhaustive()
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
        self.pages.reader.fetched()
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
    let pages = BackupPages::of(repo, backup).await?;
    let opened = open_pages(pages.clone());
    let connection = opened.map_err(|error| pages.or_failure(error.into()))?;
    Ok(OpenSnapshot { connection, pages })
}
