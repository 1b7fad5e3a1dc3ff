//! A moment of a database in WAL mode, held by a read transaction: the database file, and over it the
//! WAL's frames up to one commit.
//!
//! # Why this is one moment
//! The wal-index header is read after the read transaction began, so its last commit `M` is at or
//! after the transaction's mark `m`.
//!
//! - Our lock on a read mark keeps every checkpoint from writing frames past `m` to the file, and
//!   keeps the WAL from being begun anew. A page in a frame up to `M` is taken from the WAL; any other
//!   page is as it was before the first frame, wherever a checkpoint is with frames up to `m`.
//! - So a page whose last frame up to `M` is among those that were in the file when the header was read is taken from the file, as
//!   SQLite's own readers do (`minFrame` in its `wal.c`), and those frames are not looked at: a WAL that has grown for hours costs
//!   what of it is not in the file.
//! - Where all of the WAL was in the file when the transaction began, SQLite gives mark 0: no
//!   checkpoint can touch the file, but a writer may begin the WAL anew under us. Then the header says
//!   that everything is in the file and the WAL is not looked at; or it names frames past those in the
//!   file, and then the WAL cannot be begun anew before a checkpoint, which our lock keeps out.
//! - Whether the WAL is still the same is asked again after every batch, all the same.
//!
//! Where all of the moment is in the file, nothing of SQLite's may write to the file while the transaction lasts: frames up to it are
//! there already, and later ones are kept out. So the time of its last change must stay what it was. Where it does not, another
//! program wrote to it without a lock, as `cp` does: what was read is of two databases, and the snapshot is lost.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mantis_page::{PageNo, PageSet, PageSize};
use mantis_snapshot::{
    Changed, ConsistencyPoint, FrozenPages, Geometry, Outcome, SnapshotError, SnapshotToken,
};
use rusqlite::Connection;

use crate::page_cache::PageCache;
use crate::source_file::Stamp;

use super::connection::sqlite_error;
use super::header::lock_page;
use super::live_file::{Handle, has_moved};
use super::wal_index::WalMoment;
use super::wal_mark::{Since, WalMark};
use super::wal_scan::{
    ScanFault, WAL_HEADER_LEN, WalMap, frame_page_offset, header_salts, sums_at,
};

/// A read transaction and what it sees. Also serves where there is no WAL: the map is empty then.
pub(crate) struct FrozenWal {
    pub(crate) path: PathBuf,
    pub(crate) connection: Mutex<Option<Connection>>,
    pub(crate) moment: Option<WalMoment>,
    pub(crate) map: WalMap,
    /// What must stay true of the file, where the locks that are held let nobody write to it.
    pub(crate) still: Option<Stamp>,
    pub(crate) geometry: Geometry,
    pub(crate) point: ConsistencyPoint,
    /// The pages that changed since the request's baseline, where that is known.
    pub(crate) changed: Option<PageSet>,
    /// What tells the next snapshot which pages changed since this one.
    pub(crate) mark: Option<WalMark>,
    /// Leaves the page cache as it was.
    pub(crate) cache: Option<PageCache>,
    /// Undo what opening the database left beside it, once the connection is closed.
    pub(crate) tidy: Option<super::tidy::Tidy>,
}

/// Reads the wal-index until it is whole.
pub(crate) fn read_moment(connection: &Connection) -> Result<Option<WalMoment>, rusqlite::Error> {
    let main = Handle::main(connection)?;
    for _ in 0..10_000 {
        let Some(bytes) = main.wal_index()? else { return Ok(None) };
        // Twice, so that the header and the checkpoint information beside it are of one time.
        if let Some(moment) = WalMoment::read(&bytes)
            && main.wal_index()?.is_some_and(|again| WalMoment::read(&again) == Some(moment))
        {
            return Ok(Some(moment));
        }
        std::thread::yield_now();
    }
    Ok(None)
}

/// Said of a database file that changes while nothing of SQLite's may change it.
pub(crate) const PAST_LOCKS: &str =
    "the file was written to past SQLite's locks, as `cp` does, while it was read";
/// Frames behind a mark that are read whatever the size of the database.
const ALWAYS_WORTH: u32 = 4096;

/// Scans what of the WAL is not in the file, for a moment; empty where the file alone is the moment. With a mark that may be of the
/// same life of the WAL, also tells which pages changed since, where that can be told for sure, and for less than it takes to compare
/// all pages.
pub(crate) fn scan(
    connection: &Connection,
    moment: &WalMoment,
    page_size: PageSize,
    mark: Option<WalMark>,
) -> Result<Result<(WalMap, Option<PageSet>), ScanFault>, rusqlite::Error> {
    let worth = moment.page_count.max(ALWAYS_WORTH);
    let mark = mark.filter(|mark| moment.last_frame - mark.frame <= worth);
    if moment.is_in_file() {
        return Ok(Ok((WalMap::default(), changes_in_file(connection, moment, mark))));
    }
    let log = Handle::log(connection)?;
    let read = |offset: u64, buf: &mut [u8]| log.read_at(offset, buf);
    // After a crash the same frame may be another one: then nothing is known of what was before.
    let mut since = None;
    if let Some(mark) = mark
        && sums_at(mark.frame, moment.salts, page_size, read)? == Ok(mark.checksum)
    {
        since = Some(Since::new(mark));
    }
    let from = mark.filter(|_| since.is_some()).map_or(u32::MAX, |mark| mark.frame);
    let from = from.min(moment.backfilled);
    let scanned = WalMap::scan(from, moment, page_size, since.as_mut(), read)?;
    Ok(scanned.map(|map| (map, since.map(Since::pages))))
}

/// Where everything is in the file already, the WAL is of use for one thing only: it may still tell what changed
/// since the mark. It may be begun anew at any time; then, as with any other doubt, it tells nothing.
fn changes_in_file(
    connection: &Connection,
    moment: &WalMoment,
    mark: Option<WalMark>,
) -> Option<PageSet> {
    let mark = mark?;
    let mut since = Since::new(mark);
    if mark.frame == moment.last_frame {
        return (mark.checksum == moment.checksum).then(|| since.pages());
    }
    let log = Handle::log(connection).ok()?;
    let read = |offset: u64, buf: &mut [u8]| log.read_at(offset, buf);
    let known = sums_at(mark.frame, moment.salts, mark.page_size, read).ok()?;
    if known != Ok(mark.checksum) {
        return None;
    }
    let scanned = WalMap::scan(mark.frame, moment, mark.page_size, Some(&mut since), read);
    matches!(scanned, Ok(Ok(_))).then(|| since.pages())
}

/// Whether the file is what it was: the one that is open, and not written to where nothing of SQLite's may write to it. Whoever copies
/// another database over it asks for no lock.
pub(crate) fn check_still(
    connection: &Connection,
    path: &Path,
    still: Option<Stamp>,
) -> Result<(), SnapshotError> {
    let fail = |error| sqlite_error("look after", path, error);
    let reason = if has_moved(connection).map_err(fail)? {
        "the file was renamed, removed or replaced while it was read"
    } else if still.map_or(Ok(false), |still| Stamp::of(path).map(|now| now != still))? {
        PAST_LOCKS
    } else {
        return Ok(());
    };
    Err(SnapshotError::Lost { object: path.display().to_string(), reason: reason.to_owned() })
}

impl FrozenWal {
    /// The read transaction, for who goes on holding it.
    pub(crate) fn take_connection(&mut self) -> Option<Connection> {
        self.locked().take()
    }

    fn locked(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, reason: &str) -> SnapshotError {
        SnapshotError::Lost { object: self.path.display().to_string(), reason: reason.to_owned() }
    }

    fn read(
        &self,
        connection: &Connection,
        first: PageNo,
        buf: &mut [u8],
    ) -> Result<(), rusqlite::Error> {
        let size = self.geometry.page_size;
        let offset = size.offset_of(first).unwrap_or(u64::MAX);
        let main = Handle::main(connection)?;
        match &self.cache {
            Some(cache) => cache.around(offset, buf.len(), || main.read_at(offset, buf))?,
            None => main.read_at(offset, buf)?,
        }
        let count = (buf.len() / size.bytes()) as u64;
        let frames = self.map.range(first, count);
        if !frames.is_empty() {
            let log = Handle::log(connection)?;
            for (page, frame) in frames {
                let at = (u64::from(*page) - first.get()) as usize * size.bytes();
                log.read_at(frame_page_offset(*frame, size), &mut buf[at..at + size.bytes()])?;
            }
        }
        // SQLite never uses the page that holds its lock bytes.
        if let Some(at) = lock_page(size).checked_sub(first.get()).filter(|at| *at < count) {
            let at = at as usize * size.bytes();
            buf[at..at + size.bytes()].fill(0);
        }
        Ok(())
    }

    fn check(&self, connection: &Connection) -> Result<(), SnapshotError> {
        check_still(connection, &self.path, self.still)?;
        let fail = |error| sqlite_error("look after", &self.path, error);
        if let Some(moment) = self.moment.filter(|_| !self.map.is_empty()) {
            let mut header = [0; WAL_HEADER_LEN];
            Handle::log(connection).and_then(|log| log.read_at(0, &mut header)).map_err(fail)?;
            if header_salts(&header) != Some(moment.salts) {
                return Err(self.lost("its WAL was begun anew while it was read"));
            }
        }
        Ok(())
    }
}

impl FrozenPages for FrozenWal {
    fn point(&self) -> &ConsistencyPoint {
        &self.point
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_pages(&self, first: PageNo, buf: &mut [u8]) -> Result<(), SnapshotError> {
        let object = || self.path.display().to_string();
        let pages = (buf.len() / self.geometry.page_size.bytes()) as u64;
        if first.index().checked_add(pages).is_none_or(|end| end > self.geometry.page_count) {
            let source = "past the end of the snapshot".into();
            return Err(SnapshotError::Read { object: object(), first, source });
        }
        let connection = self.locked();
        let Some(connection) = &*connection else { return Err(SnapshotError::Cancelled) };
        let read = self.read(connection, first, buf);
        read.map_err(|error| SnapshotError::Read { object: object(), first, source: error.into() })
    }

    fn changed(&self) -> Changed<'_> {
        self.changed.as_ref().map_or(Changed::Unknown, Changed::Pages)
    }

    fn health(&self) -> Result<(), SnapshotError> {
        match &*self.locked() {
            Some(connection) => self.check(connection),
            None => Ok(()),
        }
    }

    fn finish(&mut self, _: Outcome) -> Result<Option<SnapshotToken>, SnapshotError> {
        let health = self.health();
        self.locked().take();
        self.tidy.take();
        health.map(|()| self.mark.map(WalMark::to_token))
    }
}

impl Drop for FrozenWal {
    fn drop(&mut self) {
        // The connection first: its files are tidied up after it.
        self.locked().take();
    }
}
