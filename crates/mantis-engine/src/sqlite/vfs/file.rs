//! The methods of files opened through the VFS: each does its part and hands on to SQLite's own.

#![expect(unsafe_code, reason = "these are callbacks from C, over files that SQLite allocates")]

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::io;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use mantis_cow::LiveFile;
use mantis_page::{PageNo, PageSize};
use rusqlite::ffi;

use super::tracker::Tracker;
use crate::sqlite::guarded::guarded;
use crate::sqlite::header::u32_at;
use crate::sqlite::live_file::WAL_INDEX_LEN;
use crate::sqlite::wal_index::{HEADER_LEN, WalMoment};
use crate::sqlite::wal_scan::FRAME_HEADER_LEN;

/// What stands behind SQLite's own file structure.
pub(crate) struct Extension {
    real: *const ffi::sqlite3_io_methods,
    tracker: Arc<Tracker>,
    is_wal: bool,
    /// The lock that this connection has on the database file.
    level: c_int,
    /// This connection holds the WAL's write lock; its checkpoint lock.
    writes: bool,
    checkpoints: bool,
}

/// Where the extension begins behind a file structure of `size` bytes.
pub(crate) const fn extension_at(size: c_int) -> usize {
    (size as usize).next_multiple_of(16)
}

/// How large SQLite's own file structure is; set before any file is opened.
static REAL_SIZE: std::sync::OnceLock<c_int> = std::sync::OnceLock::new();

/// Notes the size of SQLite's own file structure; the size with ours behind it.
pub(crate) fn size_with_extension(real: c_int) -> c_int {
    let real = *REAL_SIZE.get_or_init(|| real);
    (extension_at(real) + size_of::<Extension>()) as c_int
}

/// # Safety
/// `file` must be an open file of the VFS whose methods were swapped by [`attach`].
unsafe fn extension<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Extension {
    let at = extension_at(REAL_SIZE.get().copied().unwrap_or(0));
    // SAFETY: the VFS asked SQLite for as many bytes, and `attach` wrote the extension there. One thread
    // at a time uses a file.
    unsafe { &mut *file.cast::<u8>().add(at).cast::<Extension>() }
}

struct Table(&'static ffi::sqlite3_io_methods);

// SAFETY: a method table is function pointers and a number, and is never written again.
unsafe impl Send for Table {}

/// Our method table for each of SQLite's own; there are a handful, kept for ever.
static TABLES: LazyLock<Mutex<HashMap<usize, Table>>> = LazyLock::new(Mutex::default);

fn table_for(real: &ffi::sqlite3_io_methods) -> &'static ffi::sqlite3_io_methods {
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = tables.entry(std::ptr::from_ref(real) as usize);
    let table = entry.or_insert_with(|| {
        Table(Box::leak(Box::new(ffi::sqlite3_io_methods {
            xClose: Some(close),
            xWrite: Some(write),
            xTruncate: Some(truncate),
            xLock: Some(lock),
            xUnlock: Some(unlock),
            xShmLock: real.xShmLock.map(|_| shm_lock as _),
            ..*real
        })))
    });
    table.0
}

/// Puts our methods before those of a file that SQLite's own VFS just opened.
///
/// # Safety
/// `file` must be open, and allocated with room for the extension.
pub(crate) unsafe fn attach(file: *mut ffi::sqlite3_file, tracker: Arc<Tracker>, is_wal: bool) {
    let at = extension_at(REAL_SIZE.get().copied().unwrap_or(0));
    // SAFETY: the caller promises an open file with room behind it.
    unsafe {
        let real = (*file).pMethods;
        let extension =
            Extension { real, tracker, is_wal, level: 0, writes: false, checkpoints: false };
        file.cast::<u8>().add(at).cast::<Extension>().write(extension);
        (*file).pMethods = table_for(&*real);
    }
}

/// How often a wal-index header is read that somebody is in the middle of writing: for half a second.
const MOMENT_ATTEMPTS: u32 = 5000;

/// The file as SQLite's own methods read it, within one callback.
struct RealFile {
    file: *mut ffi::sqlite3_file,
    real: *const ffi::sqlite3_io_methods,
}

impl LiveFile for RealFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        // SAFETY: the file is open during the callback that made this.
        let Some(read) = (unsafe { (*self.real).xRead }) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let at = i64::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: `buf` has room for as many bytes as are asked for.
        match unsafe { read(self.file, buf.as_mut_ptr().cast(), buf.len() as c_int, at) } {
            ffi::SQLITE_OK | ffi::SQLITE_IOERR_SHORT_READ => Ok(()),
            code => {
                Err(io::Error::other(format!("SQLite could not read the old page (code {code})")))
            }
        }
    }
}

impl RealFile {
    fn len(&self) -> Option<u64> {
        let mut len = 0;
        // SAFETY: the file is open during the callback, and `len` is a place for one number.
        let code = unsafe { (*self.real).xFileSize.map(|size| size(self.file, &raw mut len)) };
        (code == Some(ffi::SQLITE_OK)).then(|| i64::unsigned_abs(len))
    }

    fn counter(&self) -> Option<u32> {
        let mut bytes = [0; 4];
        LiveFile::read_at(self, 24, &mut bytes).ok()?;
        Some(u32::from_be_bytes(bytes))
    }

    fn moment(&self) -> Option<WalMoment> {
        let mut region: *mut c_void = std::ptr::null_mut();
        for attempt in 0..MOMENT_ATTEMPTS {
            // SAFETY: the file is open during the callback; the first region is asked for as SQLite does.
            let code = unsafe {
                (*self.real).xShmMap.map(|map| map(self.file, 0, 32768, 0, &raw mut region))
            };
            if code != Some(ffi::SQLITE_OK) || region.is_null() {
                return None;
            }
            let mut bytes = [0; WAL_INDEX_LEN];
            for (at, byte) in bytes.iter_mut().enumerate() {
                // SAFETY: the region has 32 KiB; others may write to it, so the reads are volatile and the
                // checksum is asked before anything is believed.
                *byte = unsafe { region.cast::<u8>().add(at).read_volatile() };
            }
            if let Some(moment) = WalMoment::read(&bytes) {
                return Some(moment);
            }
            let (first, rest) = bytes.split_at(HEADER_LEN);
            if attempt < 100 {
                std::thread::yield_now();
            } else if first == &rest[..HEADER_LEN] {
                // Nobody is in the middle of writing it: it is not valid yet, and its recovery is under way.
                return None;
            } else {
                // Whoever writes it was put to sleep by the system.
                std::thread::sleep(std::time::Duration::from_micros(100));
            }
        }
        None
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    guarded(|| {
        // SAFETY: SQLite closes a file once, and we attached to it; the extension is not used after this.
        unsafe {
            let extension = std::ptr::read(extension(file));
            (*file).pMethods = extension.real;
            (*extension.real).xClose.map_or(ffi::SQLITE_OK, |close| close(file))
        }
    })
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    data: *const c_void,
    len: c_int,
    offset: i64,
) -> c_int {
    guarded(|| {
        // SAFETY: SQLite calls this on an open file that we attached to.
        let extension = unsafe { extension(file) };
        let tracker = Arc::clone(&extension.tracker);
        let real = RealFile { file, real: extension.real };
        let (start, count) = (offset.unsigned_abs(), u64::from(len.unsigned_abs()));
        let gate = (!extension.is_wal).then(|| tracker.cow.write_gate());
        if extension.is_wal {
            if count == FRAME_HEADER_LEN as u64 {
                // SAFETY: SQLite gives `len` bytes to be written.
                let header =
                    unsafe { std::slice::from_raw_parts(data.cast::<u8>(), FRAME_HEADER_LEN) };
                if let Some(page) = u32_at(header, 0).and_then(|page| PageNo::new(page.into())) {
                    tracker.dirty.mark(page);
                }
            }
        } else {
            if extension.level >= ffi::SQLITE_LOCK_EXCLUSIVE && PageSize::new(count).is_ok() {
                // A transaction in rollback-journal mode writes whole pages; a checkpoint, which holds
                // no such lock, writes pages that are marked already.
                tracker.dirty.mark(PageNo::from_index(start / count).unwrap_or(PageNo::FIRST));
            }
            tracker.cow.before_write(&real, start, count);
        }
        // SAFETY: the call is handed on as it came.
        let code = unsafe {
            (*real.real)
                .xWrite
                .map_or(ffi::SQLITE_IOERR_WRITE, |write| write(file, data, len, offset))
        };
        drop(gate);
        code
    })
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    guarded(|| {
        // SAFETY: SQLite calls this on an open file that we attached to.
        let extension = unsafe { extension(file) };
        let tracker = Arc::clone(&extension.tracker);
        let real = RealFile { file, real: extension.real };
        let gate = (!extension.is_wal).then(|| tracker.cow.write_gate());
        if gate.is_some() {
            tracker.cow.before_truncate(&real, size.unsigned_abs(), real.len().unwrap_or(0));
        }
        // SAFETY: the call is handed on as it came.
        let code = unsafe {
            (*real.real).xTruncate.map_or(ffi::SQLITE_IOERR_TRUNCATE, |cut| cut(file, size))
        };
        drop(gate);
        code
    })
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    guarded(|| {
        // SAFETY: SQLite calls this on an open file that we attached to.
        let extension = unsafe { extension(file) };
        let real = RealFile { file, real: extension.real };
        // SAFETY: the call is handed on as it came.
        let code =
            unsafe { (*real.real).xLock.map_or(ffi::SQLITE_IOERR_LOCK, |lock| lock(file, level)) };
        if code == ffi::SQLITE_OK && !extension.is_wal {
            let before = extension.level;
            extension.level = level.max(before);
            if before < ffi::SQLITE_LOCK_RESERVED
                && level >= ffi::SQLITE_LOCK_RESERVED
                && let Some(counter) = real.counter()
            {
                extension.tracker.watch().file_write_begins(counter);
            }
        }
        code
    })
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    guarded(|| {
        // SAFETY: SQLite calls this on an open file that we attached to.
        let extension = unsafe { extension(file) };
        let real = RealFile { file, real: extension.real };
        if !extension.is_wal && level < ffi::SQLITE_LOCK_RESERVED {
            if extension.level >= ffi::SQLITE_LOCK_RESERVED
                && let Some(counter) = real.counter()
            {
                extension.tracker.watch().file_write_ends(counter);
            }
            // The journal is finished, and nobody else can write before this lock is given up.
            if extension.level >= ffi::SQLITE_LOCK_EXCLUSIVE
                && let Some(len) = real.len()
            {
                extension.tracker.transaction_ends(len);
            }
            extension.level = level;
        }
        // SAFETY: the call is handed on as it came.
        unsafe {
            (*real.real).xUnlock.map_or(ffi::SQLITE_IOERR_UNLOCK, |unlock| unlock(file, level))
        }
    })
}

/// The WAL's locks, as numbered in its shared memory.
const WRITE_LOCK: c_int = 0;
const CHECKPOINT_LOCK: c_int = 1;

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    guarded(|| {
        // SAFETY: SQLite calls this on an open file that we attached to.
        let extension = unsafe { extension(file) };
        let real = RealFile { file, real: extension.real };
        let covers = |lock: c_int| {
            first <= lock && lock < first + count && flags & ffi::SQLITE_SHM_EXCLUSIVE != 0
        };
        let (write, checkpoint) = (covers(WRITE_LOCK), covers(CHECKPOINT_LOCK));
        // The moment is read with the watch held: a writer does not keep a checkpointer from its lock, nor the
        // other way round, and what one read before the other told the watch would look like a stranger's work.
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 && (write || checkpoint) {
            let mut watch = extension.tracker.watch();
            if let Some(moment) = real.moment() {
                if write && std::mem::take(&mut extension.writes) {
                    watch.write_ends(&moment);
                }
                if checkpoint && std::mem::take(&mut extension.checkpoints) {
                    watch.checkpoint_ends(&moment);
                }
            }
        }
        // SAFETY: the call is handed on as it came.
        let code = unsafe {
            (*real.real)
                .xShmLock
                .map_or(ffi::SQLITE_IOERR_SHMLOCK, |lock| lock(file, first, count, flags))
        };
        if code == ffi::SQLITE_OK && flags & ffi::SQLITE_SHM_LOCK != 0 && (write || checkpoint) {
            let mut watch = extension.tracker.watch();
            if let Some(moment) = real.moment() {
                if write {
                    extension.writes = true;
                    watch.write_begins(&moment);
                }
                if checkpoint {
                    extension.checkpoints = true;
                    watch.checkpoint_begins(&moment);
                }
            }
        }
        code
    })
}
