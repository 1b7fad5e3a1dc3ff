//! A backup of a redb database looked at without restoring it.

use std::ops::Deref;
use std::sync::Arc;

use mantis_engine::EngineKind;
use mantis_engine::redb::{DatabaseError, ReadOnlyDatabase, open_pages};
use mantis_repo::{BackupInfo, PagesFetched, Repository};

use crate::Error;
use crate::backup_pages::BackupPages;

/// The redb database of a backup, as it was at its moment; it cannot be written. What a read needs is fetched from the repository when it
/// needs it, proved, and kept in memory for a while.
///
/// A read waits on the thread that makes it, for as long as the store takes. In asynchronous code, give it a thread that may block.
pub struct OpenRedbSnapshot {
    database: ReadOnlyDatabase,
    pages: Arc<BackupPages>,
}

impl std::fmt::Debug for OpenRedbSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenRedbSnapshot").field("pages", &self.pages).finish_non_exhaustive()
    }
}

impl Deref for OpenRedbSnapshot {
    type Target = ReadOnlyDatabase;

    fn deref(&self) -> &ReadOnlyDatabase {
        &self.database
    }
}

impl OpenRedbSnapshot {
    /// What was fetched for it so far.
    #[must_use]
    pub fn fetched(&self) -> PagesFetched {
        self.pages.fetched()
    }

    /// Why a read failed: the repository's word, where it is the reason that a page could not be read, else redb's.
    #[must_use]
    pub fn explain(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        let help = "each page is proved to be as it was: look at an earlier backup".to_owned();
        let doing = "read the backup".to_owned();
        self.pages.or_failure(Error::Other { doing, source: error.into(), help: Some(help) })
    }
}

/// Why redb does not open the database of a backup.
fn refused(error: DatabaseError) -> Error {
    let help = match &error {
        DatabaseError::RepairAborted => {
            "redb has to repair it first, as it was backed up between two commits, or not closed: restore it, and open that"
        }
        _ => {
            "the database was so when it was backed up, as each page is proved: look at an earlier backup"
        }
    };
    Error::Other { doing: "open the backup".into(), source: error.into(), help: Some(help.into()) }
}

/// Opens the redb database of a backup for reading, without restoring it. In a runtime of tokio's.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mantis_backup::{open_redb_snapshot, open_repository, repo::Selector};
/// use redb::{ReadableDatabase, TableDefinition};
/// const ORDERS: TableDefinition<u64, &str> = TableDefinition::new("orders");
/// let repo = open_repository("/srv/backups", &[]).await?;
/// let backup = repo.catalogue().await?.find(&Selector::default())?.clone();
/// let snapshot = open_redb_snapshot(&repo, &backup).await?;
/// let order = tokio::task::spawn_blocking(move || {
///     let orders = snapshot.begin_read()?.open_table(ORDERS)?;
///     Ok::<_, redb::Error>(orders.get(7)?.map(|order| order.value().to_owned()))
/// });
/// println!("order 7 was {:?}", order.await??);
/// # Ok(()) }
/// ```
///
/// # Errors
/// A backup of another engine; one that redb would have to repair first; what keeps its manifest or its pages from being read.
pub async fn open_redb_snapshot(
    repo: &Repository,
    backup: &BackupInfo,
) -> Result<OpenRedbSnapshot, Error> {
    let pages = BackupPages::of(repo, backup, EngineKind::Redb).await?;
    let opening = Arc::clone(&pages);
    // redb reads while it opens, on the thread that opens.
    let opened = tokio::task::spawn_blocking(move || open_pages(opening)).await;
    let opened = opened.map_err(|error| Error::Other {
        doing: "open the backup".into(),
        source: error.into(),
        help: None,
    })?;
    let database = opened.map_err(|error| pages.or_failure(refused(error)))?;
    Ok(OpenRedbSnapshot { database, pages })
}
