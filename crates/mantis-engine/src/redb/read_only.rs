//! redb over pages that are in no file, such as those of a backup: read only, and only what a read needs.

use std::fmt;
use std::io;
use std::sync::Arc;

use redb::{Builder, DatabaseError, ReadOnlyDatabase, StorageBackend};

use crate::DatabasePages;

/// Bytes that redb itself keeps in memory: who gives the pages keeps them too.
const CACHE: usize = 8 << 20;

/// What redb reads from.
struct PagesBackend(Arc<dyn DatabasePages>);

impl fmt::Debug for PagesBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagesBackend").field("byte_len", &self.0.byte_len()).finish_non_exhaustive()
    }
}

fn unchangeable<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "these pages are never changed"))
}

impl StorageBackend for PagesBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.byte_len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > self.0.byte_len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.read_at(offset, out)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unchangeable()
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        unchangeable()
    }
}

/// Opens a database that is not a file, for reading. What is read of it is read on the thread that asks, which waits for
/// [`DatabasePages::read_at`].
///
/// # Errors
/// [`DatabaseError::RepairAborted`] where redb would have to repair the database first, which writes; what else redb finds wrong with it,
/// and what keeps its pages from being read.
pub fn open_pages(pages: Arc<dyn DatabasePages>) -> Result<ReadOnlyDatabase, DatabaseError> {
    Builder::new().set_cache_size(CACHE).open_read_only_with_backend(PagesBackend(pages))
}

#[cfg(test)]
mod tests {
    use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

    use super::*;

    const TABLE: TableDefinition<'_, u64, &str> = TableDefinition::new("t");

    struct Bytes(Vec<u8>);

    impl DatabasePages for Bytes {
        fn byte_len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            let from = offset as usize;
            buf.copy_from_slice(&self.0[from..from + buf.len()]);
            Ok(())
        }
    }

    fn database() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.redb");
        let database = Database::create(&path).unwrap();
        let write = database.begin_write().unwrap();
        {
            let mut table = write.open_table(TABLE).unwrap();
            (0..5000).for_each(|key| drop(table.insert(key, "value").unwrap()));
        }
        write.commit().unwrap();
        drop(database);
        std::fs::read(path).unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        let opened = open_pages(Arc::new(Bytes(database()))).unwrap();
        let read = opened.begin_read().unwrap();
        let table = read.open_table(TABLE).unwrap();
        assert_eq!(table.get(4999).unwrap().unwrap().value(), "value");
        assert_eq!(table.iter().unwrap().count(), 5000);
        let other = TableDefinition::<u64, u64>::new("other");
        assert!(matches!(read.open_table(other), Err(TableError::TableDoesNotExist(_))));
    }

    #[test]
    fn what_is_no_whole_database_is_refused() {
        for bytes in [vec![], vec![7; 100_000], database()[..5000].to_vec()] {
            assert!(open_pages(Arc::new(Bytes(bytes))).is_err());
        }
        let mut unclean = database();
        unclean[super::super::backend::FLAGS_AT as usize] |=
            super::super::backend::RECOVERY_REQUIRED;
        let error = open_pages(Arc::new(Bytes(unclean))).err().unwrap();
        assert!(matches!(error, DatabaseError::RepairAborted), "{error}");
    }

    #[test]
    fn nothing_is_written() {
        let backend = PagesBackend(Arc::new(Bytes(vec![1, 2, 3])));
        assert!(backend.write(0, &[0]).is_err() && backend.set_len(0).is_err());
        assert!(
            backend.read(2, &mut [0; 2]).is_err() && backend.read(u64::MAX, &mut [0; 2]).is_err()
        );
        let mut last = [0];
        backend.read(2, &mut last).unwrap();
        assert_eq!(last, [3]);
    }
}
