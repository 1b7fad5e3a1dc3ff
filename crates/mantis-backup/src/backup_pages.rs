//! The bytes of a database in a backup, fetched when an engine reads them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use mantis_engine::{DatabasePages, EngineKind};
use mantis_page::PageNo;
use mantis_repo::{BackupInfo, PageReader, PagesFetched, RepoError, Repository};
use tokio::runtime::Handle;

use crate::Error;

/// Bytes of decoded pages that are kept in memory.
const CACHE: u64 = 64 << 20;

/// The bytes of a backup's database, fetched page by page.
pub(crate) struct BackupPages {
    reader: Arc<PageReader>,
    runtime: Handle,
    /// Why a page could not be read: engines only tell that one could not.
    failure: Mutex<Option<RepoError>>,
}

impl BackupPages {
    /// Those of a backup, which must be of an engine.
    pub(crate) async fn of(
        repo: &Repository,
        backup: &BackupInfo,
        wanted: EngineKind,
    ) -> Result<Arc<Self>, Error> {
        let (id, engine, wanted) = (backup.id.short(), &backup.meta.engine, wanted.name());
        if engine.as_str() != wanted {
            return Err(Error::usage(
                format!(
                    "backup {id} is of engine {engine}: those of engine {wanted} can be looked at so"
                ),
                "restore it, and open that",
            ));
        }
        Self::new(repo, backup, CACHE).await
    }

    /// Those of a backup of any engine, of which up to `cache` bytes are kept in memory.
    pub(crate) async fn new(
        repo: &Repository,
        backup: &BackupInfo,
        cache: u64,
    ) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            reader: Arc::new(repo.page_reader(backup, cache).await?),
            runtime: Handle::current(),
            failure: Mutex::default(),
        }))
    }

    /// What was fetched so far.
    pub(crate) fn fetched(&self) -> PagesFetched {
        self.reader.fetched()
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

impl std::fmt::Debug for BackupPages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupPages").field("reader", &self.reader).finish_non_exhaustive()
    }
}
