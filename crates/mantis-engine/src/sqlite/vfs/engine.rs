//! A database that this process has open through the VFS.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mantis_cow::Shelf;
use mantis_page::{Lsn, PageSize};
use mantis_snapshot::{
    ConsistencyPoint, Engine, FreezeRequest, FreezeWay, FrozenPages, Geometry, SnapshotError,
    SnapshotToken, SourceInfo,
};
use rusqlite::{Connection, OpenFlags};

use super::frozen::{FrozenVfs, Overlay};
use super::register::VFS_NAME;
use super::tracker::{Freeze, Tracker};
use crate::source_file::check;
use crate::sqlite::connection::{Began, begin_read, is_busy, patiently, sqlite_error};
use crate::sqlite::frozen_wal::{read_moment, scan};
use crate::sqlite::header::{HEADER_LEN, Header};
use crate::sqlite::live_file::Handle;
use crate::sqlite::outside::{timeline, wal_lsn};
use crate::sqlite::wal_index::WalMoment;
use crate::sqlite::wal_scan::frame_page_offset;
use crate::sqlite::{SqliteEngine, SqliteOptions};

/// How long to wait for a writer's transaction to end before the outside way is taken instead.
const WRITER_PATIENCE: Duration = Duration::from_secs(2);

/// A database that this process has open through the VFS [`register`](super::register)ed before.
#[derive(Debug, Clone)]
pub struct SqliteVfsEngine {
    path: PathBuf,
    outside: SqliteEngine,
    /// The moment of the last snapshot that ended as committed.
    last: Arc<Mutex<Option<WalMoment>>>,
}

impl SqliteVfsEngine {
    /// The database at a path.
    ///
    /// # Errors
    /// Where the path leads to no regular file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SnapshotError> {
        let path = path.into();
        let outside = SqliteEngine::with_options(&path, SqliteOptions::default())?;
        Ok(Self { path, outside, last: Arc::default() })
    }

    fn fail(&self, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> SnapshotError {
        move |error| sqlite_error(doing, &self.path, error)
    }

    fn connect(&self) -> Result<Connection, SnapshotError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags_and_vfs(&self.path, flags, VFS_NAME);
        let connection = connection.map_err(self.fail("open, through the VFS,"))?;
        connection.busy_timeout(Duration::ZERO).map_err(self.fail("set up"))?;
        Ok(connection)
    }

    /// Begins a transaction that keeps writers out; `false` where one of theirs does not end.
    fn begin_write(
        &self,
        connection: &Connection,
        request: &FreezeRequest,
    ) -> Result<bool, SnapshotError> {
        let started = Instant::now();
        loop {
            match connection.execute_batch("BEGIN IMMEDIATE") {
                Ok(()) => return Ok(true),
                Err(error) if is_busy(&error) => {}
                Err(error) => return Err(self.fail("begin to write")(error)),
            }
            request.check("wait for a writer of", &self.path.display().to_string())?;
            if started.elapsed() > WRITER_PATIENCE {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// The outside way: nothing is known of changes then.
    fn freeze_outside(
        &self,
        tracker: &Tracker,
        request: &FreezeRequest,
    ) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        tracing::info!(path = %self.path.display(), "another process writes the database: read from outside");
        tracker.watch().start_anew();
        tracker.dirty.forget();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.outside.freeze(request)
    }

    fn freeze_wal(
        &self,
        tracker: &Arc<Tracker>,
        keeper: Connection,
        request: &FreezeRequest,
    ) -> Result<Option<FrozenVfs>, SnapshotError> {
        // Opened before writers are kept out, so that they are kept out for microseconds only; memory is made ready, too.
        tracker.cow.prepare();
        let writer = self.connect()?;
        patiently(&self.path, request, || {
            writer.query_row("PRAGMA schema_version", [], |_| Ok(()))
        })?;
        if !self.begin_write(&writer, request)? {
            return Ok(None);
        }
        let held = Instant::now();
        let pinned = begin_read(&keeper, &self.path, request);
        let frozen = pinned.and_then(|began| {
            if matches!(began, Began::HotJournal) {
                return Ok(None);
            }
            let moment = read_moment(&keeper).map_err(self.fail("read the wal-index of"))?;
            let len =
                Handle::main(&keeper).and_then(|main| main.len()).map_err(self.fail("measure"))?;
            let lost = |error| SnapshotError::engine("freeze", self.path.display(), error);
            moment.map(|moment| Ok((moment, tracker.freeze(len).map_err(lost)?))).transpose()
        });
        let writers_held = held.elapsed();
        writer.execute_batch("ROLLBACK").map_err(self.fail("end a transaction on"))?;
        drop(writer);
        let Some((moment, freeze)) = frozen? else { return Ok(None) };
        if tracker.watch().is_foreign() {
            return Ok(None);
        }
        let (geometry, overlay) = self.overlay(tracker, &keeper, &moment, freeze.file.len())?;
        let point = ConsistencyPoint {
            lsn: wal_lsn(&keeper, &moment).map_err(self.fail("read the WAL of"))?,
            timeline: timeline(&self.path, moment.salts),
            way: FreezeWay::CopyOnWrite,
            writers_held,
        };
        // The WAL's pages are kept: from here on it may be begun anew.
        keeper.execute_batch("ROLLBACK").map_err(self.fail("end a transaction on"))?;
        let mut frozen = self.frozen(tracker, keeper, request, point, geometry, freeze, overlay);
        frozen.moment = Some(moment);
        Ok(Some(frozen))
    }

    /// Keeps the pages that are in the WAL and not in the file, in memory or spilled.
    fn overlay(
        &self,
        tracker: &Tracker,
        keeper: &Connection,
        moment: &WalMoment,
        len: u64,
    ) -> Result<(Geometry, Overlay), SnapshotError> {
        let header = self.header(keeper)?;
        let page_size =
            moment.page_size.or_else(|| header.map(|header| header.page_size)).unwrap_or_default();
        let map = scan(keeper, moment, page_size, None).map_err(self.fail("read the WAL of"))?;
        let (map, _) = map.map_err(|fault| SnapshotError::Lost {
            object: self.path.display().to_string(),
            reason: format!("its WAL cannot be read: {fault:?}"),
        })?;
        let page_count = match moment.page_count {
            0 => header.map_or(0, |header| header.pages(len)),
            count => count.into(),
        };
        let shelf = Shelf::new(page_size, tracker.limits.clone());
        let mut overlay = HashMap::new();
        if !map.is_empty() {
            let log = Handle::log(keeper).map_err(self.fail("open the WAL of"))?;
            for (page, frame) in map.range(mantis_page::PageNo::FIRST, page_count) {
                let read = |buf: &mut [u8]| {
                    log.read_at(frame_page_offset(*frame, page_size), buf)
                        .map_err(std::io::Error::other)
                };
                let image = shelf.put(read);
                let image = image.map_err(|error| {
                    SnapshotError::engine("keep pages of", self.path.display(), error)
                })?;
                overlay.insert(u64::from(*page), image);
            }
        }
        let byte_len = page_count * u64::from(page_size.get());
        Ok((Geometry { page_size, page_count, byte_len }, overlay))
    }

    fn header(&self, connection: &Connection) -> Result<Option<Header>, SnapshotError> {
        let mut bytes = [0; HEADER_LEN];
        let read = Handle::main(connection).and_then(|main| main.read_at(0, &mut bytes));
        read.map_err(self.fail("read the header of"))?;
        Ok(Header::read(&bytes))
    }

    /// Rollback-journal mode: at once where nobody writes, else at the end of a running transaction.
    fn freeze_rollback(
        &self,
        tracker: &Arc<Tracker>,
        keeper: Connection,
        request: &FreezeRequest,
    ) -> Result<Option<FrozenVfs>, SnapshotError> {
        let fail = |error| SnapshotError::engine("freeze", self.path.display(), error);
        let started = Instant::now();
        let (freeze, writers_held) = loop {
            let reading = keeper
                .execute_batch("BEGIN")
                .and_then(|()| keeper.query_row("PRAGMA schema_version", [], |_| Ok(())));
            if reading.is_ok() {
                let held = Instant::now();
                let len = Handle::main(&keeper)
                    .and_then(|main| main.len())
                    .map_err(self.fail("measure"))?;
                let freeze = tracker.freeze(len).map_err(fail)?;
                if len >= HEADER_LEN as u64 {
                    // Looked at while our read lock keeps everyone from changing it: later, a commit of ours
                    // that the watch knows already would look like a stranger's.
                    let mut watch = tracker.watch();
                    if let Some(header) = self.header(&keeper)? {
                        watch.look_at_counter(header.change_counter);
                    }
                }
                let held = held.elapsed();
                keeper.execute_batch("ROLLBACK").map_err(self.fail("end a transaction on"))?;
                break (freeze, held);
            }
            if !keeper.is_autocommit() {
                keeper.execute_batch("ROLLBACK").map_err(self.fail("end a transaction on"))?;
            }
            if let Some(freeze) = tracker.freeze_at_commit(Duration::from_millis(10)) {
                break (freeze.map_err(fail)?, Duration::ZERO);
            }
            request.check("wait for a writer of", &self.path.display().to_string())?;
            if started.elapsed() > WRITER_PATIENCE {
                return Ok(None);
            }
        };
        let mut bytes = [0; HEADER_LEN];
        let read = |offset, buf: &mut [u8]| {
            freeze.file.read_at(&super::frozen::Live(&keeper), offset, buf)
        };
        let head = freeze.file.len().min(HEADER_LEN as u64) as usize;
        read(0, &mut bytes[..head]).map_err(fail)?;
        let header = Header::read(&bytes);
        let page_size = header.map_or(PageSize::DEFAULT, |header| header.page_size);
        let page_count = header.map_or(0, |header| header.pages(freeze.file.len()));
        let byte_len = page_count * u64::from(page_size.get());
        let counter = header.map_or(0, |header| header.change_counter);
        let point = ConsistencyPoint {
            lsn: Lsn::new(counter.into()),
            timeline: timeline(&self.path, [0; 2]),
            way: FreezeWay::CopyOnWrite,
            writers_held,
        };
        let geometry = Geometry { page_size, page_count, byte_len };
        Ok(Some(self.frozen(tracker, keeper, request, point, geometry, freeze, Overlay::new())))
    }

    #[expect(clippy::too_many_arguments, reason = "what a snapshot is made of")]
    fn frozen(
        &self,
        tracker: &Arc<Tracker>,
        keeper: Connection,
        request: &FreezeRequest,
        point: ConsistencyPoint,
        geometry: Geometry,
        freeze: Freeze,
        overlay: Overlay,
    ) -> FrozenVfs {
        FrozenVfs {
            path: self.path.clone(),
            tracker: Arc::clone(tracker),
            keeper: Mutex::new(Some(keeper)),
            point,
            geometry,
            file: freeze.file,
            overlay,
            sealed: Some(freeze.sealed),
            baseline: request.baseline.clone(),
            moment: None,
            last: Arc::clone(&self.last),
        }
    }
}

/// Whether a database is in WAL mode, as one of its connections sees it.
fn is_wal(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection
        .query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0))
        .map(|mode| mode == "wal")
}

fn tracker_of(path: &Path) -> Result<Arc<Tracker>, SnapshotError> {
    Tracker::existing(path).ok_or_else(|| SnapshotError::Unsupported {
        object: path.display().to_string(),
        reason: "no connection of this process has it open through the VFS".into(),
        help: "register the VFS before the application opens the database, or use SqliteEngine"
            .into(),
    })
}

impl Engine for SqliteVfsEngine {
    fn info(&self) -> Result<SourceInfo, SnapshotError> {
        let object = self.path.display().to_string();
        Ok(SourceInfo { engine: "sqlite".into(), object, knows_changes: true })
    }

    fn freeze(&self, request: &FreezeRequest) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        check(&self.path)?;
        let keeper = self.connect()?;
        let tracker = tracker_of(&self.path)?;
        if tracker.watch().is_foreign() {
            return self.freeze_outside(&tracker, request);
        }
        let frozen = if patiently(&self.path, request, || is_wal(&keeper))? {
            self.freeze_wal(&tracker, keeper, request)?
        } else {
            self.freeze_rollback(&tracker, keeper, request)?
        };
        match frozen {
            Some(frozen) => Ok(Box::new(frozen)),
            None => self.freeze_outside(&tracker, request),
        }
    }

    /// Only a WAL tells. A connection is opened for each look, and none is kept: it would be in the way of those who change the journal's mode.
    fn unstored(&self, _: Option<&SnapshotToken>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_idle(&self) -> Result<bool, SnapshotError> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = last else { return Ok(false) };
        if tracker_of(&self.path)?.watch().is_foreign() {
            return Ok(false);
        }
        let connection = self.connect()?;
        match connection.query_row("PRAGMA schema_version", [], |_| Ok(())) {
            Ok(()) => {}
            Err(error) if is_busy(&error) => return Ok(false),
            Err(error) => return Err(self.fail("look after")(error)),
        }
        let now = read_moment(&connection).map_err(self.fail("look after"))?;
        Ok(now.is_some_and(|now| now.is_same_commit(&last)))
    }
}
