//! A SQLite database that other processes hold open.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mantis_page::{Lsn, PageSize};
use mantis_snapshot::{
    ConsistencyPoint, Engine, FreezeRequest, FreezeWay, FrozenPages, Geometry, SnapshotError,
    SnapshotToken, SourceInfo,
};
use rusqlite::Connection;

use super::connection::{Began, begin_read, open, sqlite_error};
use super::frozen_wal::{FrozenWal, PAST_LOCKS, check_still, read_moment, scan};
use super::header::{HEADER_LEN, Header, u32_at};
use super::hot_journal;
use super::live_file::Handle;
use super::rollback::{Held, spool, spool_file};
use super::tidy::Tidy;
use super::wal_index::WalMoment;
use super::wal_mark::WalMark;
use super::wal_scan::{ScanFault, WAL_HEADER_LEN, WalMap};
use crate::frozen_copy::FrozenCopy;
use crate::page_cache::{PageCache, descriptor_kept_open};
use crate::restore_file::sidecars;
use crate::source_file::{Stamp, check};

/// How often what a read transaction sees is looked at until the file is still.
const VIEWS: usize = 16;

/// How a database in rollback-journal mode is held still. (In WAL mode nobody waits, and nothing
/// needs to be chosen.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JournalLock {
    /// Copy it to a temporary file at the disk's speed, then let writers go on: the shortest lock, for
    /// temporary space of the database's size.
    #[default]
    Spool,
    /// Hold the lock while the backup reads: no temporary space, but no commit until it is done.
    Hold,
    /// Do not back it up.
    Refuse,
}

/// How a SQLite database is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SqliteOptions {
    /// For a database in rollback-journal mode.
    pub journal_lock: JournalLock,
    /// Nobody can write the database, not even another machine: read it without locks and without its
    /// `-shm` file. For read-only media. Wrong on a database that someone writes.
    pub immutable: bool,
}

/// A SQLite database, from outside. The database file is opened for reading only.
#[derive(Debug, Clone)]
pub struct SqliteEngine {
    path: PathBuf,
    options: SqliteOptions,
}

/// What a read transaction in WAL mode sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct WalView {
    pub(super) moment: WalMoment,
    pub(super) page_size: PageSize,
    pub(super) page_count: u64,
    /// Of the database file, after the transaction began and before anything was read.
    pub(super) stamp: Stamp,
}

impl WalView {
    /// The mark of a token, where it may precede what is seen.
    pub(super) fn mark(&self, token: &SnapshotToken) -> Option<WalMark> {
        let mark = WalMark::from_token(token)?;
        mark.may_precede(&self.moment, self.stamp.identity, self.page_size).then_some(mark)
    }
}

/// A read transaction, by the mode of its database.
pub(super) enum Begun {
    /// In WAL mode; with it, what tidies up once it is closed.
    Wal(Connection, Option<Tidy>),
    /// Without a WAL: writers are kept out since then.
    Rollback(Connection, Held),
    /// None yet: a crashed writer's journal must be rolled back first.
    HotJournal(Connection),
}

impl SqliteEngine {
    /// The database at a path.
    ///
    /// # Errors
    /// Where the path leads to no regular file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SnapshotError> {
        Self::with_options(path, SqliteOptions::default())
    }

    /// The database at a path, read in a certain way.
    ///
    /// # Errors
    /// Where the path leads to no regular file.
    pub fn with_options(
        path: impl Into<PathBuf>,
        options: SqliteOptions,
    ) -> Result<Self, SnapshotError> {
        let path = path.into();
        check(&path)?;
        Ok(Self { path, options })
    }

    fn fail(&self, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> SnapshotError {
        move |error| sqlite_error(doing, &self.path, error)
    }

    fn unsupported(&self, reason: &str, help: &str) -> SnapshotError {
        SnapshotError::Unsupported {
            object: self.path.display().to_string(),
            reason: reason.to_owned(),
            help: help.to_owned(),
        }
    }

    fn lost(&self, reason: &str) -> SnapshotError {
        SnapshotError::Lost { object: self.path.display().to_string(), reason: reason.to_owned() }
    }

    fn not_a_database(&self) -> SnapshotError {
        self.unsupported(
            "it does not begin as a SQLite database does",
            "if it is encrypted or of another kind, back it up with file:PATH while nobody writes it",
        )
    }

    /// The header and the length of the database file. The lock of a read transaction must be held.
    fn header(&self, connection: &Connection) -> Result<(Option<Header>, u64), SnapshotError> {
        let main = Handle::main(connection).map_err(self.fail("open"))?;
        let len = main.len().map_err(self.fail("read the header of"))?;
        if len == 0 {
            return Ok((None, 0));
        }
        let mut bytes = [0; HEADER_LEN];
        main.read_at(0, &mut bytes).map_err(self.fail("read the header of"))?;
        let header = Header::read(&bytes).ok_or_else(|| self.not_a_database())?;
        Ok((Some(header), len))
    }

    /// The moment that a read transaction in WAL mode sees.
    pub(super) fn wal_view(&self, connection: &Connection) -> Result<WalView, SnapshotError> {
        for _ in 0..VIEWS {
            let view = self.view_once(connection)?;
            // The last checkpoint may just have ended. From then on nothing of SQLite's writes to the file.
            if !view.moment.is_in_file() || Stamp::of(&self.path)? == view.stamp {
                return Ok(view);
            }
        }
        Err(self.lost(PAST_LOCKS))
    }

    fn view_once(&self, connection: &Connection) -> Result<WalView, SnapshotError> {
        let stamp = Stamp::of(&self.path)?;
        let moment = read_moment(connection).map_err(self.fail("read the wal-index of"))?;
        let moment = moment.ok_or_else(|| {
            self.unsupported(
                "its wal-index is not in shared memory",
                "a process holds it with locking_mode=EXCLUSIVE: back it up when that is closed",
            )
        })?;
        let (header, len) = self.header(connection)?;
        let page_size = match (moment.page_size.filter(|_| moment.last_frame > 0), header) {
            (Some(page_size), _) => page_size,
            (None, Some(header)) => header.page_size,
            (None, None) => return Err(self.not_a_database()),
        };
        let in_file = header.map_or(0, |header| header.pages(len));
        let page_count = match moment.page_count {
            0 => in_file,
            count => count.into(),
        };
        Ok(WalView { moment, page_size, page_count, stamp })
    }

    /// Holds the moment that a read transaction in WAL mode sees; with a mark that may precede it, which pages changed since.
    pub(super) fn freeze_wal(
        &self,
        connection: Connection,
        view: WalView,
        baseline: Option<WalMark>,
        tidy: Option<Tidy>,
    ) -> Result<FrozenWal, SnapshotError> {
        let WalView { moment, page_size, page_count, stamp } = view;
        let scanned = scan(&connection, &moment, page_size, baseline);
        let (map, changed) = match scanned.map_err(self.fail("read the WAL of"))? {
            Ok(scanned) => scanned,
            Err(ScanFault::Restarted) => {
                return Err(self.lost("its WAL was begun anew while it was read"));
            }
            Err(ScanFault::Damaged(what)) => {
                return Err(self.unsupported(
                    &format!("{what} of its WAL does not match"),
                    "check the database with `PRAGMA integrity_check`",
                ));
            }
        };
        let point = ConsistencyPoint {
            lsn: wal_lsn(&connection, &moment).map_err(self.fail("read the WAL of"))?,
            timeline: timeline(&self.path, moment.salts),
            way: FreezeWay::ReadLock,
            writers_held: Duration::ZERO,
        };
        let byte_len = page_count * u64::from(page_size.get());
        let geometry = Geometry { page_size, page_count, byte_len };
        Ok(FrozenWal {
            path: self.path.clone(),
            connection: Mutex::new(Some(connection)),
            moment: Some(moment),
            map,
            still: moment.is_in_file().then_some(stamp),
            geometry,
            point,
            changed,
            mark: WalMark::of(&moment, stamp.identity, page_size),
            cache: descriptor_kept_open(&self.path).map(PageCache::of),
            tidy,
        })
    }

    /// A database without a WAL; `connection` holds the read lock, which keeps writers out.
    fn freeze_rollback(
        &self,
        connection: Connection,
        request: &FreezeRequest,
        held: &Held,
    ) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        let still = Stamp::of(&self.path)?;
        let (header, len) = self.header(&connection)?;
        let page_size = header.map_or_else(Default::default, |header| header.page_size);
        let page_count = header.map_or(0, |header| header.pages(len));
        let geometry =
            Geometry { page_size, page_count, byte_len: page_count * u64::from(page_size.get()) };
        let counter = header.map_or(0, |header| header.change_counter);
        let way =
            if self.options.immutable { FreezeWay::Closed } else { FreezeWay::BlockingReadLock };
        let mut point = ConsistencyPoint {
            lsn: Lsn::new(counter.into()),
            timeline: timeline(&self.path, [0; 2]),
            way,
            writers_held: Duration::ZERO,
        };
        if self.options.immutable || self.options.journal_lock == JournalLock::Hold {
            let frozen = FrozenWal {
                path: self.path.clone(),
                connection: Mutex::new(Some(connection)),
                moment: None,
                map: WalMap::default(),
                still: Some(still),
                geometry,
                point,
                changed: None,
                mark: None,
                cache: descriptor_kept_open(&self.path).map(PageCache::of),
                tidy: None,
            };
            return Ok(Box::new(frozen));
        }
        if self.options.journal_lock == JournalLock::Refuse {
            return Err(self.unsupported(
                "it is in rollback-journal mode, where a backup keeps writers waiting",
                "switch it to WAL with `PRAGMA journal_mode=WAL`, or choose --journal-lock spool or hold",
            ));
        }
        let mut file = spool_file(request)?;
        spool(&connection, &self.path, page_count, page_size, request, &mut file)?;
        check_still(&connection, &self.path, Some(still))?;
        drop(connection);
        point.way = FreezeWay::Spooled;
        point.writers_held = held.for_so_long();
        Ok(self.copied(file, geometry, point))
    }

    fn copied(
        &self,
        file: File,
        geometry: Geometry,
        point: ConsistencyPoint,
    ) -> Box<dyn FrozenPages> {
        let object = self.path.display().to_string();
        let file = Arc::new(file);
        Box::new(FrozenCopy { object, file, geometry, point, unchanged: None, cache: None })
    }

    fn freeze_hot(
        &self,
        connection: &Connection,
        request: &FreezeRequest,
    ) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        let held = Held::since_now();
        let file = hot_journal::recovered_copy(connection, &self.path, request)?;
        let mut bytes = [0; HEADER_LEN];
        mantis_cow::LiveFile::read_at(&file, 0, &mut bytes)
            .map_err(|error| SnapshotError::engine("read a copy of", self.path.display(), error))?;
        let len = file.metadata().map_or(0, |metadata| metadata.len());
        let (page_size, page_count, counter) = match Header::read(&bytes) {
            Some(header) => (header.page_size, header.pages(len), header.change_counter),
            // Rolled back to before its first page.
            None if len == 0 => (Default::default(), 0, 0),
            None => return Err(self.not_a_database()),
        };
        let geometry =
            Geometry { page_size, page_count, byte_len: page_count * u64::from(page_size.get()) };
        let point = ConsistencyPoint {
            lsn: Lsn::new(counter.into()),
            timeline: timeline(&self.path, [0; 2]),
            way: FreezeWay::Spooled,
            writers_held: held.for_so_long(),
        };
        Ok(self.copied(file, geometry, point))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins to read: what becomes of it depends on the database's mode.
    pub(super) fn begin(&self, request: &FreezeRequest) -> Result<Begun, SnapshotError> {
        check(&self.path)?;
        if self.options.immutable {
            self.refuse_immutable_with_log()?;
        }
        let tidy = Tidy::note(&self.path);
        let connection = open(&self.path, self.options.immutable)?;
        let held = match begin_read(&connection, &self.path, request)? {
            Began::Reading => Held::since_now(),
            Began::HotJournal => return Ok(Begun::HotJournal(connection)),
        };
        let mode = connection.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0));
        let mode = mode.map_err(self.fail("ask for the journal mode of"))?;
        if mode == "wal" && !self.options.immutable {
            return Ok(Begun::Wal(connection, tidy));
        }
        Ok(Begun::Rollback(connection, held))
    }

    /// Holds the moment that was begun.
    pub(super) fn freeze_begun(
        &self,
        begun: Begun,
        request: &FreezeRequest,
    ) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        match begun {
            Begun::HotJournal(connection) => self.freeze_hot(&connection, request),
            Begun::Rollback(connection, held) => self.freeze_rollback(connection, request, &held),
            Begun::Wal(connection, tidy) => {
                let view = self.wal_view(&connection)?;
                let mark = request.baseline.as_ref().and_then(|token| view.mark(token));
                Ok(Box::new(self.freeze_wal(connection, view, mark, tidy)?))
            }
        }
    }

    fn refuse_immutable_with_log(&self) -> Result<(), SnapshotError> {
        let [wal, _, journal] = sidecars(&self.path);
        for log in [wal, journal] {
            if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
                return Err(self.unsupported(
                    &format!("{} holds data that an immutable database has not", log.display()),
                    "copy database and log to a writable folder and back up the copy",
                ));
            }
        }
        Ok(())
    }
}

/// In WAL mode: which generation of the WAL, and which frame of it.
pub(crate) fn wal_lsn(connection: &Connection, moment: &WalMoment) -> Result<Lsn, rusqlite::Error> {
    let mut header = [0; WAL_HEADER_LEN];
    Handle::log(connection)?.read_at(0, &mut header)?;
    let generation = u32_at(&header, 12).unwrap_or(0);
    Ok(Lsn::new((u64::from(generation) << 32) | u64::from(moment.last_frame)))
}

/// Positions compare within one file and one life of its WAL.
pub(crate) fn timeline(path: &Path, salts: [u32; 2]) -> [u8; 16] {
    let identity = check(path).map(|metadata| crate::source_file::identity(&metadata));
    let (device, inode) = identity.unwrap_or_default();
    let mut timeline = [0; 16];
    timeline[..8].copy_from_slice(&(inode ^ device.rotate_left(32)).to_le_bytes());
    timeline[8..12].copy_from_slice(&salts[0].to_le_bytes());
    timeline[12..].copy_from_slice(&salts[1].to_le_bytes());
    timeline
}

impl Engine for SqliteEngine {
    fn info(&self) -> Result<SourceInfo, SnapshotError> {
        let object = self.path.display().to_string();
        Ok(SourceInfo { engine: "sqlite".into(), object, knows_changes: true })
    }

    fn freeze(&self, request: &FreezeRequest) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        self.freeze_begun(self.begin(request)?, request)
    }
}
