//! Adds the VFS to SQLite.

#![expect(unsafe_code, reason = "a VFS is a C structure that SQLite calls into")]

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use mantis_cow::CowLimits;
use mantis_snapshot::SnapshotError;
use rusqlite::ffi;

use super::file::{attach, size_with_extension};
use super::tracker::Tracker;

/// The VFS's name.
pub const VFS_NAME: &str = "mantis";

struct Registered {
    real: *mut ffi::sqlite3_vfs,
    limits: CowLimits,
}

// SAFETY: SQLite's own VFS lives as long as the process, and is only called, never changed.
unsafe impl Send for Registered {}
// SAFETY: as above; a VFS may be called from any thread.
unsafe impl Sync for Registered {}

static REGISTERED: OnceLock<Registered> = OnceLock::new();

/// Adds the VFS `mantis` to this process's SQLite; `make_default` has every connection that names no VFS
/// use it from now on. `limits` bound what the before-images of each database may take. Only the first
/// call's limits count; registering again does nothing but make it the default.
///
/// # Errors
/// Where SQLite has no VFS of its own, or does not take this one.
pub fn register(make_default: bool, limits: CowLimits) -> Result<(), SnapshotError> {
    let fail = |why: &str| SnapshotError::engine("register the VFS with", "SQLite", why.to_owned());
    let name = c"mantis".as_ptr();
    // SAFETY: looks up a VFS by a name that ends in a zero.
    let known = unsafe { ffi::sqlite3_vfs_find(name) };
    if !known.is_null() {
        // SAFETY: registering again a VFS that is registered only moves it in the list.
        let code = unsafe { ffi::sqlite3_vfs_register(known, c_int::from(make_default)) };
        return if code == ffi::SQLITE_OK { Ok(()) } else { Err(fail("it is not taken")) };
    }
    // SAFETY: null asks for the default VFS.
    let real = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
    if real.is_null() {
        return Err(fail("it has no VFS of its own"));
    }
    REGISTERED.get_or_init(|| Registered { real, limits });
    // SAFETY: a VFS is plain data; the copy is changed before anyone sees it, and kept for ever.
    let ours = unsafe {
        let mut copy = std::ptr::read(real);
        copy.zName = name;
        copy.pNext = std::ptr::null_mut();
        copy.szOsFile = size_with_extension((*real).szOsFile);
        copy.xOpen = Some(open);
        Box::leak(Box::new(copy))
    };
    // SAFETY: `ours` lives for ever.
    match unsafe { ffi::sqlite3_vfs_register(ours, c_int::from(make_default)) } {
        ffi::SQLITE_OK => Ok(()),
        _ => Err(fail("it is not taken")),
    }
}

/// # Safety
/// `name` must be null or end in a zero.
unsafe fn path_of(name: *const c_char) -> Option<PathBuf> {
    // SAFETY: as the caller promises.
    (!name.is_null())
        .then(|| PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes())))
}

fn database_of_wal(wal: &std::path::Path) -> Option<PathBuf> {
    let name = wal.as_os_str().as_bytes().strip_suffix(b"-wal")?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let Some(registered) = REGISTERED.get() else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: the call is handed on as it came, but to SQLite's own VFS, which finds its own data there.
    let code = unsafe {
        (*registered.real).xOpen.map_or(ffi::SQLITE_CANTOPEN, |open| {
            open(registered.real, name, file, flags, out_flags)
        })
    };
    let (is_main, is_wal) =
        (flags & ffi::SQLITE_OPEN_MAIN_DB != 0, flags & ffi::SQLITE_OPEN_WAL != 0);
    // SAFETY: SQLite gives a name that ends in a zero, or null.
    let path = unsafe { path_of(name) };
    let database = if is_wal { path.as_deref().and_then(database_of_wal) } else { path };
    if code != ffi::SQLITE_OK || !(is_main || is_wal) {
        return code;
    }
    if let Some(tracker) = database.and_then(|path| Tracker::of(&path, &registered.limits)) {
        // SAFETY: the file was just opened, and SQLite gave it as many bytes as the VFS asked for.
        unsafe { attach(file, tracker, is_wal) };
    }
    code
}
