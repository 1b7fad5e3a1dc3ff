//! A database in rollback-journal mode that is looked after: whether anything was committed since the last snapshot.
//!
//! # Why that is exact
//! A commit without a WAL writes to the file, and counts up the change counter in its header (sqlite.org/fileformat2.html, 1.3.7). A connection in
//! exclusive locking mode does so with its first commit only, but then nobody else could read meanwhile, and so no snapshot was taken in between.
//! What the header is at the snapshot's moment is read while the snapshot keeps writers out, and is all of it compared: a database that is in WAL mode now,
//! of which a commit is not in the file, has another one. So has another database that was copied over it, or the file's length or the time of its last
//! change are others. What is compared is read without a lock: a commit in the middle of it is one that may be seen at the next look.

use std::path::Path;
use std::sync::{Arc, Mutex};

use mantis_cow::LiveFile;
use mantis_page::PageNo;
use mantis_snapshot::{
    Changed, ConsistencyPoint, FrozenPages, Geometry, Outcome, SnapshotError, SnapshotToken, Taken,
};

use super::follower::{Followed, locked};
use super::header::HEADER_LEN;
use super::outside::Begun;
use crate::page_cache::descriptor_kept_open;
use crate::source_file::Stamp;

/// What changes with each commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AtRest {
    stamp: Stamp,
    header: [u8; HEADER_LEN],
}

impl AtRest {
    /// That of a database as it is now; none where it cannot be read, or is empty.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let stamp = Stamp::of(path).ok()?;
        let file = descriptor_kept_open(path)?;
        let mut header = [0; HEADER_LEN];
        file.read_at(0, &mut header).ok()?;
        (header.starts_with(b"SQLite format 3\0")).then_some(Self { stamp, header })
    }

    /// That of the moment that was begun: its read lock keeps writers out. None where there is no such lock.
    pub(super) fn during(begun: &Begun, path: &Path) -> Option<Self> {
        matches!(begun, Begun::Rollback(..)).then(|| Self::of(path)).flatten()
    }
}

/// A snapshot of which is noted, once its backup stands, what the database looked like.
pub(super) struct FollowedRest {
    pub(super) frozen: Box<dyn FrozenPages>,
    pub(super) at_rest: Option<AtRest>,
    pub(super) state: Arc<Mutex<Followed>>,
}

impl FrozenPages for FollowedRest {
    fn point(&self) -> &ConsistencyPoint {
        self.frozen.point()
    }

    fn geometry(&self) -> Geometry {
        self.frozen.geometry()
    }

    fn read_pages(&self, first: PageNo, buf: &mut [u8]) -> Result<(), SnapshotError> {
        self.frozen.read_pages(first, buf)
    }

    fn release_before(&self, first: PageNo) {
        self.frozen.release_before(first);
    }

    fn changed(&self) -> Changed<'_> {
        self.frozen.changed()
    }

    fn taken(&self) -> Taken {
        self.frozen.taken()
    }

    fn health(&self) -> Result<(), SnapshotError> {
        self.frozen.health()
    }

    fn finish(&mut self, outcome: Outcome) -> Result<Option<SnapshotToken>, SnapshotError> {
        let token = self.frozen.finish(outcome)?;
        if outcome == Outcome::Committed {
            locked(&self.state).at_rest = self.at_rest;
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use mantis_snapshot::{Engine, FreezeRequest};
    use rusqlite::Connection;

    use super::super::follower::SqliteFollower;
    use super::super::outside::{JournalLock, SqliteEngine, SqliteOptions};
    use super::*;

    fn follower(path: &Path, journal_lock: JournalLock) -> SqliteFollower {
        let options = SqliteOptions { journal_lock, ..SqliteOptions::default() };
        SqliteFollower::new(SqliteEngine::with_options(path, options).unwrap())
    }

    fn snapshot(follower: &SqliteFollower, outcome: Outcome) {
        let mut frozen = follower.freeze(&FreezeRequest::default()).unwrap();
        let mut image = vec![0; frozen.geometry().byte_len as usize];
        frozen.read_pages(PageNo::FIRST, &mut image).unwrap();
        frozen.finish(outcome).unwrap();
    }

    fn database(path: &Path, mode: &str) -> Connection {
        let db = Connection::open(path).unwrap();
        db.pragma_update(None, "journal_mode", mode).unwrap();
        db.pragma_update(None, "synchronous", "off").unwrap();
        db.execute_batch("create table t(a); insert into t values(1)").unwrap();
        db
    }

    #[test]
    fn a_database_without_a_wal_is_idle_until_something_is_committed() {
        for mode in ["delete", "truncate", "persist", "memory", "off"] {
            for lock in [JournalLock::Spool, JournalLock::Hold] {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("a.db");
                let db = database(&path, mode);
                let follower = follower(&path, lock);
                assert!(!follower.is_idle().unwrap(), "there is no backup yet");
                snapshot(&follower, Outcome::Aborted);
                assert!(!follower.is_idle().unwrap(), "there is still none");
                snapshot(&follower, Outcome::Committed);
                for _ in 0..3 {
                    assert!(follower.is_idle().unwrap(), "{mode} {lock:?}");
                    db.execute_batch("update t set a = a + 1").unwrap();
                    assert!(!follower.is_idle().unwrap(), "{mode} {lock:?}");
                    snapshot(&follower, Outcome::Aborted);
                    assert!(!follower.is_idle().unwrap(), "{mode} {lock:?}");
                    snapshot(&follower, Outcome::Committed);
                }
                db.execute_batch("begin; update t set a = 2; rollback").unwrap();
                snapshot(&follower, Outcome::Committed);
                assert!(follower.is_idle().unwrap());
            }
        }
    }

    #[test]
    fn whoever_writes_in_whatever_way_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.db"), folder.path().join("b.db"));
        let db = database(&path, "delete");
        database(&other, "delete");
        let follower = follower(&path, JournalLock::Spool);
        let begin = || {
            snapshot(&follower, Outcome::Committed);
            assert!(follower.is_idle().unwrap());
        };
        begin();
        // Nobody else can read while it is so, and only its first commit counts.
        db.execute_batch("pragma locking_mode=exclusive; update t set a = 3; update t set a = 4")
            .unwrap();
        assert!(!follower.is_idle().unwrap());
        db.execute_batch("pragma locking_mode=normal; select * from t").unwrap();
        begin();
        db.execute_batch("pragma journal_mode=wal; update t set a = 5").unwrap();
        assert!(!follower.is_idle().unwrap());
        begin();
        db.execute_batch("update t set a = 6").unwrap();
        assert!(!follower.is_idle().unwrap());
        db.execute_batch("pragma journal_mode=delete").unwrap_err();
        drop(follower);
        db.execute_batch("pragma journal_mode=delete").unwrap();
        drop(db);
        let follower = super::tests::follower(&path, JournalLock::Spool);
        snapshot(&follower, Outcome::Committed);
        assert!(follower.is_idle().unwrap());
        std::fs::rename(&other, &path).unwrap();
        assert!(!follower.is_idle().unwrap(), "another file");
        std::fs::remove_file(&path).unwrap();
        assert!(!follower.is_idle().unwrap(), "none");
    }
}
