//! Whether the `-wal` and `-shm` files that are open are still those that their names lead to.
//!
//! Where somebody removed them, as people do who put another database in the place of one, whoever opens it next has files of the same
//! names. All connections of a process share one `-shm` file, for as long as one of them is open, but each opens the `-wal` file by its
//! name: so a new connection has a wal-index of the one and frames of the other.
//!
//! SQLite does not tell which file it has open. What is noted is what the names lead to right after a connection opened them. Should they
//! have been exchanged in that instant, the WAL's length tells in the end: that of the file that is open stays, the other one grows.

use std::fs::{Metadata, metadata};
use std::path::Path;

use rusqlite::Connection;

use super::frozen_wal::read_moment;
use super::live_file::Handle;
use super::wal_scan::sums_at;
use crate::restore_file::sidecars;
use crate::source_file::{Identity, identity};

/// How often what others may be changing is looked at again.
const TRIES: usize = 3;

/// Which files the names of a database's `-wal` and `-shm` lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beside([Option<Identity>; 2]);

fn named(path: &Path) -> [Option<Metadata>; 2] {
    let [wal, shm, _] = sidecars(path);
    [wal, shm].map(|path| metadata(path).ok())
}

impl Beside {
    /// Those of a database whose connection is in WAL mode: it opened both.
    pub(super) fn now(path: &Path) -> Self {
        Self(named(path).map(|file| file.map(|file| identity(&file))))
    }

    /// Whether a connection that was opened then has files that are not those of these names now.
    pub(super) fn is_exchanged(self, connection: &Connection, path: &Path) -> bool {
        // One that is not there was removed: they are open.
        if self != Self::now(path) || self.0.contains(&None) {
            return true;
        }
        let Ok(log) = Handle::log(connection) else { return false };
        for _ in 0..TRIES {
            // Others may be writing to it: what the name tells is asked in between.
            let before = log.len();
            let named = named(path)[0].as_ref().map(Metadata::len);
            if let (Ok(before), Ok(after), Some(named)) = (before, log.len(), named)
                && (before.min(after)..=before.max(after)).contains(&named)
            {
                return false;
            }
        }
        true
    }
}

/// Whether the frames that a connection would put into the database file are those that its wal-index is of.
pub(super) fn is_of_one_wal(connection: &Connection) -> Result<bool, rusqlite::Error> {
    for _ in 0..TRIES {
        let Some(moment) = read_moment(connection)? else { return Ok(false) };
        let Some(page_size) = moment.page_size.filter(|_| !moment.is_in_file()) else {
            return Ok(true);
        };
        let log = Handle::log(connection)?;
        let read = |offset: u64, buf: &mut [u8]| log.read_at(offset, buf);
        // A writer may have begun it anew in between.
        if sums_at(moment.last_frame, moment.salts, page_size, read)? == Ok(moment.checksum) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> (tempfile::TempDir, std::path::PathBuf, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(v)").unwrap();
        (folder, path, connection)
    }

    #[test]
    fn files_that_were_removed_or_replaced_are_exchanged() {
        for which in 0..2 {
            let (_folder, path, connection) = database();
            let beside = Beside::now(&path);
            assert!(!beside.is_exchanged(&connection, &path));
            connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
            assert!(!beside.is_exchanged(&connection, &path), "written to by its own writer");
            let file = &sidecars(&path)[which];
            std::fs::rename(file, path.with_extension("away")).unwrap();
            assert!(beside.is_exchanged(&connection, &path));
            std::fs::write(file, "another").unwrap();
            assert!(beside.is_exchanged(&connection, &path));
        }
    }

    #[test]
    fn files_that_were_replaced_before_they_were_noted_are_told_by_their_length() {
        let (_folder, path, connection) = database();
        let [wal, ..] = sidecars(&path);
        std::fs::rename(&wal, path.with_extension("away")).unwrap();
        std::fs::write(&wal, "the WAL of another database").unwrap();
        assert!(Beside::now(&path).is_exchanged(&connection, &path));
    }

    #[test]
    fn frames_of_another_wal_are_not_put_into_the_file() {
        let (_folder, path, connection) = database();
        let before = std::fs::read(&path).unwrap();
        let checkpointer = super::super::checkpointer::Checkpointer::open(&path).unwrap();
        let [wal, ..] = sidecars(&path);
        let mut frames = std::fs::read(&wal).unwrap();
        let own = frames.clone();
        // The salts of the last frame, of two pages of 4 KiB.
        let last = frames.len() - 4096 - 24;
        frames[last + 8] ^= 1;
        std::fs::write(&wal, &frames).unwrap();
        assert!(!checkpointer.checkpoint().unwrap());
        assert!(std::fs::read(&path).unwrap() == before, "nothing came into the file");
        std::fs::write(&wal, own).unwrap();
        assert!(is_of_one_wal(&connection).unwrap());
        assert!(checkpointer.checkpoint().unwrap());
        assert!(std::fs::read(&path).unwrap() != before);
    }
}
