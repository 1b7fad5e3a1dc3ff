//! A moment of a database held by before-images.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mantis_cow::{FrozenFile, Image, LiveFile, Sealed};
use mantis_page::PageNo;
use mantis_snapshot::{
    BoxError, Changed, ConsistencyPoint, FrozenPages, Geometry, Outcome, SnapshotError,
    SnapshotToken, Taken,
};
use rusqlite::Connection;

use super::tracker::Tracker;
use crate::sqlite::frozen_wal::read_moment;
use crate::sqlite::header::lock_page;
use crate::sqlite::live_file::{Handle, has_moved};
use crate::sqlite::wal_index::WalMoment;

/// Pages that were in the WAL and not in the file, by number.
pub(crate) type Overlay = HashMap<u64, Image>;

/// The file as it is now, through a connection.
pub(crate) struct Live<'a>(pub(crate) &'a Connection);

impl LiveFile for Live<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        Handle::main(self.0).and_then(|main| main.read_at(offset, buf)).map_err(io::Error::other)
    }
}

/// A moment of a database held by before-images.
pub(crate) struct FrozenVfs {
    pub(crate) path: PathBuf,
    pub(crate) tracker: Arc<Tracker>,
    /// Reads the live file; holds no lock.
    pub(crate) keeper: Mutex<Option<Connection>>,
    pub(crate) point: ConsistencyPoint,
    pub(crate) geometry: Geometry,
    pub(crate) file: FrozenFile,
    pub(crate) overlay: Overlay,
    pub(crate) sealed: Option<Sealed>,
    pub(crate) baseline: Option<SnapshotToken>,
    /// Its moment in the WAL; none in rollback-journal mode.
    pub(crate) moment: Option<WalMoment>,
    /// That of the last snapshot that ended as committed.
    pub(crate) last: Arc<Mutex<Option<WalMoment>>>,
}

impl FrozenVfs {
    fn locked(&self) -> MutexGuard<'_, Option<Connection>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, first: PageNo, buf: &mut [u8]) -> Result<(), BoxError> {
        let size = self.geometry.page_size;
        let count = (buf.len() / size.bytes()) as u64;
        let end = first.index().checked_add(count).filter(|end| *end <= self.geometry.page_count);
        let offset =
            end.and_then(|_| size.offset_of(first)).ok_or("past the end of the snapshot")?;
        // Pages past the file's end at the freeze are in the overlay, or were never written.
        let there = self.file.len().saturating_sub(offset).min(buf.len() as u64) as usize;
        let (head, tail) = buf.split_at_mut(there);
        tail.fill(0);
        if !head.is_empty() {
            let keeper = self.locked();
            let keeper = keeper.as_ref().ok_or("the snapshot was released")?;
            self.file.read_at(&Live(keeper), offset, head)?;
        }
        for (at, page) in (first.get()..first.get() + count).enumerate() {
            let out = &mut buf[at * size.bytes()..(at + 1) * size.bytes()];
            if let Some(image) = self.overlay.get(&page) {
                image.copy_to(0, out)?;
            }
            if page == lock_page(size) {
                out.fill(0);
            }
        }
        Ok(())
    }

    fn lost(&self, reason: &str) -> SnapshotError {
        SnapshotError::Lost { object: self.path.display().to_string(), reason: reason.to_owned() }
    }
}

impl FrozenPages for FrozenVfs {
    fn point(&self) -> &ConsistencyPoint {
        &self.point
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_pages(&self, first: PageNo, buf: &mut [u8]) -> Result<(), SnapshotError> {
        let object = || self.path.display().to_string();
        self.read(first, buf).map_err(|source| SnapshotError::Read {
            object: object(),
            first,
            source,
        })
    }

    fn taken(&self) -> Taken {
        self.file.taken()
    }

    fn release_before(&self, first: PageNo) {
        if let Some(offset) = self.geometry.page_size.offset_of(first) {
            self.file.release_before(offset);
        }
    }

    fn changed(&self) -> Changed<'_> {
        let token = self.baseline.as_ref().map_or(&[][..], |token| &token.0);
        self.sealed
            .as_ref()
            .and_then(|sealed| sealed.since(token))
            .map_or(Changed::Unknown, Changed::Pages)
    }

    fn health(&self) -> Result<(), SnapshotError> {
        if self.file.is_lost() {
            return Err(
                self.lost("a before-image could not be saved (is the temporary folder full?)")
            );
        }
        let keeper = self.locked();
        let Some(keeper) = keeper.as_ref() else { return Ok(()) };
        let fail = |error| crate::sqlite::connection::sqlite_error("look after", &self.path, error);
        if has_moved(keeper).map_err(fail)? {
            return Err(self.lost("the file was renamed, removed or replaced while it was read"));
        }
        // The watch is held while it looks: no commit or checkpoint of ours begins or ends meanwhile.
        let mut watch = self.tracker.watch();
        if let Some(moment) = read_moment(keeper).map_err(fail)? {
            watch.look(&moment);
        } else {
            let mut bytes = [0; 4];
            Handle::main(keeper).and_then(|main| main.read_at(24, &mut bytes)).map_err(fail)?;
            watch.look_at_counter(u32::from_be_bytes(bytes));
        }
        if watch.is_foreign() {
            return Err(self.lost("a process without the VFS wrote it or checkpointed it"));
        }
        Ok(())
    }

    fn finish(&mut self, outcome: Outcome) -> Result<Option<SnapshotToken>, SnapshotError> {
        self.health()?;
        self.locked().take();
        let sealed = if outcome == Outcome::Committed { self.sealed.take() } else { None };
        if sealed.is_some() {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = self.moment;
        }
        Ok(sealed.map(|sealed| SnapshotToken(self.tracker.dirty.commit(&sealed).to_vec())))
    }
}

impl Drop for FrozenVfs {
    fn drop(&mut self) {
        if let Some(sealed) = &self.sealed {
            self.tracker.dirty.abort(sealed);
        }
    }
}
