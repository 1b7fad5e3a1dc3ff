//! A backup's file, read from the repository as it is asked for.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use mantis_engine::DatabasePages;
use mantis_repo::{BackupInfo, Repository};

use crate::Error;
use crate::backup_pages::BackupPages;

/// Bytes of decoded pages that are kept in memory for each file that is open: the kernel keeps what it was given, too.
const CACHE: u64 = 16 << 20;
/// Where a SQLite database says which versions may write and read it: 2, with a WAL; 1, without. (sqlite.org/fileformat2.html, 1.3.2)
const VERSIONS: std::ops::Range<u64> = 18..20;

/// A backup's file.
#[derive(Debug)]
pub(super) struct OpenFile {
    pages: Arc<BackupPages>,
    /// Whether it says that it has no WAL, whatever the database said.
    without_wal: bool,
    /// One read at a time: what is asked for in its order is fetched so, and more of it at once.
    turn: Mutex<()>,
}

/// Puts 1 for 2 into the bytes at `offset` where they tell that there is a WAL: a program that finds this would make one beside the file, which
/// it cannot, and give up. In a backup all of it is in the file.
fn tell_of_no_wal(offset: u64, buf: &mut [u8]) {
    for at in VERSIONS {
        let place = at.checked_sub(offset).and_then(|at| usize::try_from(at).ok());
        match place.and_then(|at| buf.get_mut(at)) {
            Some(version) if *version == 2 => *version = 1,
            _ => {}
        }
    }
}

impl OpenFile {
    /// A backup's file; `exact`: byte for byte, though it be a SQLite database that says that it has a WAL.
    pub(super) async fn of(
        repo: &Repository,
        backup: &BackupInfo,
        exact: bool,
    ) -> Result<Self, Error> {
        Ok(Self {
            pages: BackupPages::new(repo, backup, CACHE).await?,
            without_wal: !exact && backup.meta.engine == "sqlite",
            turn: Mutex::default(),
        })
    }

    /// The bytes at `offset`, fewer at its end.
    pub(super) fn read(&self, offset: u64, len: u32) -> io::Result<Vec<u8>> {
        let left = self.pages.byte_len().saturating_sub(offset);
        let mut buf = vec![0; usize::try_from(left.min(len.into())).unwrap_or(0)];
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.pages.read_at(offset, &mut buf)?;
        drop(turn);
        if self.without_wal {
            tell_of_no_wal(offset, &mut buf);
        }
        Ok(buf)
    }

    /// Why a read failed.
    pub(super) fn why(&self, error: io::Error) -> Error {
        self.pages.or_failure(Error::io("read a backup", error))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_of_any_piece_tell_the_same(
            header in proptest::collection::vec(0_u8..4, 100),
            offset in 0_usize..100,
            len in 0_usize..100,
        ) {
            let mut whole = header.clone();
            tell_of_no_wal(0, &mut whole);
            let end = (offset + len).min(header.len());
            let mut piece = header[offset..end].to_vec();
            tell_of_no_wal(offset as u64, &mut piece);
            prop_assert_eq!(&piece[..], &whole[offset..end]);
            for (at, (before, after)) in header.iter().zip(&whole).enumerate() {
                let is_one = VERSIONS.contains(&(at as u64)) && *before == 2;
                prop_assert_eq!(*after, if is_one { 1 } else { *before });
            }
        }
    }

    #[test]
    fn far_behind_nothing_is_changed() {
        let mut buf = [2; 8];
        tell_of_no_wal(u64::MAX, &mut buf);
        tell_of_no_wal(20, &mut buf);
        assert_eq!(buf, [2; 8]);
    }
}
