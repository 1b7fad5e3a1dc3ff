//! SQLite over pages that are in no file, such as those of a backup: read only, and only what a statement needs.
//!
//! A VFS of its own has one kind of file, which cannot be written and never changes: SQLite then takes no locks, looks for no journal and no
//! WAL, and reads a database that was in WAL mode as it is. What else a connection opens (temporary files, attached databases) is SQLite's own
//! VFS's.

#![expect(unsafe_code, reason = "a VFS is a C structure that SQLite calls into")]

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use mantis_snapshot::SnapshotError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ffi};

use super::guarded::guarded;
use crate::DatabasePages;

const VFS: &CStr = c"mantis-pages";
/// What the names of such databases begin with. No file is called so: it has no folder, and SQLite makes each name a whole path before.
const PREFIX: &str = "mantis-pages:";

/// Databases that are about to be opened, by name.
static WAITING: LazyLock<Mutex<HashMap<String, Arc<dyn DatabasePages>>>> =
    LazyLock::new(Mutex::default);

fn waiting() -> MutexGuard<'static, HashMap<String, Arc<dyn DatabasePages>>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// SQLite's own VFS.
struct Real(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite's own VFS lives as long as the process, and is only called, never changed.
unsafe impl Send for Real {}
// SAFETY: as above; a VFS may be called from any thread.
unsafe impl Sync for Real {}

static REAL: OnceLock<Real> = OnceLock::new();

/// An open file of the VFS, as SQLite sees it and with what is ours behind that.
#[repr(C)]
struct PagesFile {
    base: ffi::sqlite3_file,
    pages: Arc<dyn DatabasePages>,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(number),
    xFileSize: Some(file_size),
    xLock: Some(number),
    xUnlock: Some(number),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Adds the VFS to this process's SQLite, once.
fn register() -> Result<(), SnapshotError> {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if *done {
        return Ok(());
    }
    let fail = |why: &str| SnapshotError::engine("register the VFS with", "SQLite", why.to_owned());
    // SAFETY: looks up SQLite's own VFS, by the name that it has on these systems: whoever made another one the default keeps it.
    let mut real = unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) };
    if real.is_null() {
        // SAFETY: null asks for the default VFS.
        real = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
    }
    if real.is_null() {
        return Err(fail("it has no VFS of its own"));
    }
    let real = REAL.get_or_init(|| Real(real)).0;
    // SAFETY: a VFS is plain data; the copy is changed before anyone sees it, and kept for ever.
    let ours = unsafe {
        let mut copy = std::ptr::read(real);
        copy.zName = VFS.as_ptr();
        copy.pNext = std::ptr::null_mut();
        copy.szOsFile = (*real).szOsFile.max(size_of::<PagesFile>() as c_int);
        copy.xOpen = Some(open);
        copy.xFullPathname = Some(full_pathname);
        Box::leak(Box::new(copy))
    };
    // SAFETY: `ours` lives for ever.
    if unsafe { ffi::sqlite3_vfs_register(ours, 0) } != ffi::SQLITE_OK {
        return Err(fail("it is not taken"));
    }
    *done = true;
    Ok(())
}

/// Opens a connection to a database that is not a file. It cannot be written; attached databases cannot either.
///
/// What it is asked is answered on the thread that asks, which waits for [`DatabasePages::read_at`].
///
/// # Errors
/// Where SQLite does not take the VFS, or cannot open the connection.
pub fn open_pages(pages: Arc<dyn DatabasePages>) -> Result<Connection, SnapshotError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = announced(pages, |name| Connection::open_with_flags_and_vfs(name, flags, VFS))?;
    let set_up = opened.and_then(|connection| {
        // The database may be anybody's: what its schema calls is not trusted.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        Ok(connection)
    });
    set_up.map_err(|error| SnapshotError::engine("open", "a database that is not a file", error))
}

/// Attaches a database that is not a file to a connection, as one that cannot be written.
///
/// # Errors
/// As [`open_pages`].
pub fn attach_pages(
    connection: &Connection,
    schema: &str,
    pages: Arc<dyn DatabasePages>,
) -> Result<(), SnapshotError> {
    let attached = announced(pages, |name| {
        let uri = format!("file:{name}?vfs={}", VFS.to_str().unwrap_or_default());
        connection.execute("ATTACH ? AS ?", [uri.as_str(), schema])
    })?;
    let done = attached.map(drop);
    done.map_err(|error| SnapshotError::engine("attach", "a database that is not a file", error))
}

/// Has a database opened under a name that leads to it meanwhile.
fn announced<T>(
    pages: Arc<dyn DatabasePages>,
    open: impl FnOnce(&str) -> T,
) -> Result<T, SnapshotError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    register()?;
    let name = format!("{PREFIX}{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    waiting().insert(name.clone(), pages);
    let opened = open(&name);
    waiting().remove(&name);
    Ok(opened)
}

/// The name, where it is one of ours.
///
/// # Safety
/// `name` must be null or end in a zero.
unsafe fn our_name<'a>(name: *const c_char) -> Option<&'a CStr> {
    // SAFETY: as the caller promises.
    let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) })?;
    name.to_bytes().starts_with(PREFIX.as_bytes()).then_some(name)
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    guarded(|| {
        // SAFETY: SQLite gives a name that ends in a zero, or null.
        let ours = unsafe { our_name(name) };
        let Some(ours) = ours else {
            let Some(Real(real)) = REAL.get() else { return ffi::SQLITE_CANTOPEN };
            // SAFETY: the call is handed on as it came, but to SQLite's own VFS, which finds its own data there.
            return unsafe {
                (**real)
                    .xOpen
                    .map_or(ffi::SQLITE_CANTOPEN, |open| open(*real, name, file, flags, out_flags))
            };
        };
        // SAFETY: SQLite gives a file structure; without methods it is not closed.
        unsafe { (*file).pMethods = std::ptr::null() };
        let pages = ours.to_str().ok().and_then(|name| waiting().remove(name));
        let Some(pages) = pages.filter(|_| flags & ffi::SQLITE_OPEN_MAIN_DB != 0) else {
            return ffi::SQLITE_CANTOPEN;
        };
        let opened = PagesFile { base: ffi::sqlite3_file { pMethods: &raw const METHODS }, pages };
        // SAFETY: SQLite allocated as many bytes as the VFS asked for, aligned for any structure, and they hold nothing yet.
        unsafe { file.cast::<PagesFile>().write(opened) };
        if !out_flags.is_null() {
            // SAFETY: a place for one number.
            unsafe {
                *out_flags = (flags & !ffi::SQLITE_OPEN_READWRITE) | ffi::SQLITE_OPEN_READONLY;
            };
        }
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn full_pathname(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    guarded(|| {
        // SAFETY: SQLite gives a name that ends in a zero.
        if let Some(ours) = unsafe { our_name(name) } {
            let bytes = ours.to_bytes_with_nul();
            if bytes.len() > room.max(0) as usize {
                return ffi::SQLITE_CANTOPEN;
            }
            // SAFETY: `out` has room for so many bytes, and is no part of the name.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len()) };
            return ffi::SQLITE_OK;
        }
        let Some(Real(real)) = REAL.get() else { return ffi::SQLITE_CANTOPEN };
        // SAFETY: the call is handed on as it came, but to SQLite's own VFS.
        unsafe {
            (**real)
                .xFullPathname
                .map_or(ffi::SQLITE_CANTOPEN, |whole| whole(*real, name, room, out))
        }
    })
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    guarded(|| {
        // SAFETY: SQLite closes a file once that `open` wrote, and does not use it after this.
        drop(unsafe { file.cast::<PagesFile>().read() });
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    data: *mut c_void,
    len: c_int,
    offset: i64,
) -> c_int {
    guarded(|| {
        let (Ok(len), Ok(offset)) = (usize::try_from(len), u64::try_from(offset)) else {
            return ffi::SQLITE_IOERR_READ;
        };
        // SAFETY: an open file that `open` wrote.
        let pages = unsafe { &(*file.cast::<PagesFile>()).pages };
        // SAFETY: SQLite gives room for so many bytes.
        let out = unsafe { std::slice::from_raw_parts_mut(data.cast::<u8>(), len) };
        let there = pages.byte_len().saturating_sub(offset).min(len as u64) as usize;
        let (out, past) = out.split_at_mut(there);
        if !out.is_empty()
            && let Err(error) = pages.read_at(offset, out)
        {
            tracing::debug!(offset, %error, "a page cannot be read");
            return ffi::SQLITE_IOERR_READ;
        }
        if past.is_empty() {
            return ffi::SQLITE_OK;
        }
        past.fill(0);
        ffi::SQLITE_IOERR_SHORT_READ
    })
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    guarded(|| {
        // SAFETY: an open file that `open` wrote, and a place for one number.
        unsafe {
            let len = (*file.cast::<PagesFile>()).pages.byte_len();
            *size = i64::try_from(len).unwrap_or(i64::MAX);
        }
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn write(_: *mut ffi::sqlite3_file, _: *const c_void, _: c_int, _: i64) -> c_int {
    ffi::SQLITE_READONLY
}

unsafe extern "C" fn truncate(_: *mut ffi::sqlite3_file, _: i64) -> c_int {
    ffi::SQLITE_READONLY
}

/// Locks and syncs: there is nothing to do.
unsafe extern "C" fn number(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_: *mut ffi::sqlite3_file, held: *mut c_int) -> c_int {
    // SAFETY: a place for one number.
    unsafe { *held = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4096
}

unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_IMMUTABLE
}

#[cfg(test)]
#[path = "page_vfs_tests.rs"]
mod tests;
