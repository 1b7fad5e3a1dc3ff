//! SQLite's own handles of a database's files, read through SQLite's own VFS.
//!
//! The only unsafe code of the outside way. A handle belongs to its connection and is used by one
//! thread at a time: [`Handle`] borrows the connection for as long as it lives, and a connection is
//! never shared between threads without a lock.

#![expect(unsafe_code, reason = "SQLite's file handles can be had through its C interface only")]

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{null_mut, read_volatile};

use rusqlite::{Connection, ffi};

/// Bytes of the wal-index that are read: two headers and the checkpoint information.
pub(crate) const WAL_INDEX_LEN: usize = 136;

/// One of SQLite's open files.
pub(crate) struct Handle<'a> {
    file: *mut ffi::sqlite3_file,
    connection: PhantomData<&'a Connection>,
}

fn error(code: c_int, what: &str) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(what.to_owned()))
}

fn pointer(
    connection: &Connection,
    which: c_int,
) -> Result<*mut ffi::sqlite3_file, rusqlite::Error> {
    let mut file: *mut ffi::sqlite3_file = null_mut();
    // SAFETY: the connection is open, the schema name ends in a zero, and for both file pointer
    // opcodes SQLite writes one pointer to the given place.
    let code = unsafe {
        let db = connection.handle();
        ffi::sqlite3_file_control(db, c"main".as_ptr(), which, (&raw mut file).cast::<c_void>())
    };
    if code != ffi::SQLITE_OK {
        return Err(error(code, "SQLite does not give its file handle"));
    }
    Ok(file)
}

/// Gives back the memory that a connection sets aside for small pieces when it is opened (its lookaside, some 120 KiB). Those that hold one
/// moment ask for few, and thousands of them may be open at once.
pub(crate) fn without_lookaside(connection: &Connection) {
    let none: c_int = 0;
    // SAFETY: the connection is open and runs no statement; with this option SQLite takes a pointer, which may be null, and two ints.
    let code = unsafe {
        let option = ffi::SQLITE_DBCONFIG_LOOKASIDE;
        ffi::sqlite3_db_config(connection.handle(), option, null_mut::<c_void>(), none, none)
    };
    if code != ffi::SQLITE_OK {
        tracing::debug!(code, "a connection keeps its lookaside");
    }
}

impl<'a> Handle<'a> {
    fn new(connection: &'a Connection, which: c_int) -> Result<Self, rusqlite::Error> {
        let file = pointer(connection, which)?;
        // SAFETY: a pointer that is not null leads to a sqlite3_file of this connection, which lives
        // as long as the connection.
        if file.is_null() || unsafe { (*file).pMethods }.is_null() {
            return Err(error(ffi::SQLITE_CANTOPEN, "the file is not open"));
        }
        Ok(Self { file, connection: PhantomData })
    }

    /// The database file.
    pub(crate) fn main(connection: &'a Connection) -> Result<Self, rusqlite::Error> {
        Self::new(connection, ffi::SQLITE_FCNTL_FILE_POINTER)
    }

    /// The WAL (or rollback journal), where it is open.
    pub(crate) fn log(connection: &'a Connection) -> Result<Self, rusqlite::Error> {
        Self::new(connection, ffi::SQLITE_FCNTL_JOURNAL_POINTER)
    }

    fn methods(&self) -> &ffi::sqlite3_io_methods {
        // SAFETY: `new` saw that the file is open; a file keeps its method table while it is open.
        unsafe { &*(*self.file).pMethods }
    }

    /// Fills `buf` from `offset` on; bytes past the end of the file are zeros.
    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), rusqlite::Error> {
        let missing = || error(ffi::SQLITE_IOERR_READ, "no such read");
        let read = self.methods().xRead.ok_or_else(missing)?;
        // SQLite's VFS takes the length of a read as a C int.
        let mut offset = i64::try_from(offset).map_err(|_| missing())?;
        for piece in buf.chunks_mut(1 << 24) {
            // SAFETY: the file is open and `piece` has room for as many bytes as are asked for.
            let code =
                unsafe { read(self.file, piece.as_mut_ptr().cast(), piece.len() as c_int, offset) };
            match code {
                ffi::SQLITE_OK | ffi::SQLITE_IOERR_SHORT_READ => {}
                code => return Err(error(code, "read the file")),
            }
            offset = offset.checked_add(piece.len() as i64).ok_or_else(missing)?;
        }
        Ok(())
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> Result<u64, rusqlite::Error> {
        let size =
            self.methods().xFileSize.ok_or_else(|| error(ffi::SQLITE_IOERR, "no such call"))?;
        let mut len: ffi::sqlite3_int64 = 0;
        // SAFETY: the file is open and `len` is a place for one number.
        match unsafe { size(self.file, &raw mut len) } {
            ffi::SQLITE_OK => Ok(len.unsigned_abs()),
            code => Err(error(code, "ask for the file's length")),
        }
    }

    /// The start of the wal-index as it is in shared memory, or `None` where none is mapped.
    pub(crate) fn wal_index(&self) -> Result<Option<[u8; WAL_INDEX_LEN]>, rusqlite::Error> {
        if self.methods().iVersion < 2 {
            return Ok(None);
        }
        let Some(map) = self.methods().xShmMap else { return Ok(None) };
        let mut region: *mut c_void = null_mut();
        // SAFETY: the file is open, and its first region of 32 KiB is asked for as SQLite itself does,
        // without extending it.
        let code = unsafe { map(self.file, 0, 32768, 0, &raw mut region) };
        if code != ffi::SQLITE_OK && code != ffi::SQLITE_READONLY {
            return Err(error(code, "map the wal-index"));
        }
        if region.is_null() {
            return Ok(None);
        }
        let mut bytes = [0; WAL_INDEX_LEN];
        for (at, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: the region has 32 KiB and stays mapped while the connection is in WAL mode. Other
            // processes may write to it meanwhile: the reads are volatile, and the caller believes
            // nothing that the checksum over both header copies does not prove.
            *byte = unsafe { read_volatile(region.cast::<u8>().add(at)) };
        }
        Ok(Some(bytes))
    }

    /// Takes a shared lock on the database file, past the pager: for a connection that has none.
    pub(crate) fn lock_shared(&self) -> Result<(), rusqlite::Error> {
        let lock =
            self.methods().xLock.ok_or_else(|| error(ffi::SQLITE_IOERR_LOCK, "no such call"))?;
        // SAFETY: the file is open; the lock is released by `unlock` before the pager is used again.
        match unsafe { lock(self.file, ffi::SQLITE_LOCK_SHARED) } {
            ffi::SQLITE_OK => Ok(()),
            code => Err(error(code, "lock the file")),
        }
    }

    /// Releases what [`Self::lock_shared`] took.
    pub(crate) fn unlock(&self) {
        if let Some(unlock) = self.methods().xUnlock {
            // SAFETY: the file is open and holds at most the lock that `lock_shared` took.
            unsafe { unlock(self.file, ffi::SQLITE_LOCK_NONE) };
        }
    }
}

/// Whether the database file is no longer what its path leads to.
pub(crate) fn has_moved(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let mut moved: c_int = 0;
    // SAFETY: the connection is open and SQLite writes one int to the given place.
    let code = unsafe {
        let db = connection.handle();
        ffi::sqlite3_file_control(
            db,
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_HAS_MOVED,
            (&raw mut moved).cast(),
        )
    };
    match code {
        ffi::SQLITE_OK => Ok(moved != 0),
        ffi::SQLITE_NOTFOUND => Ok(false),
        code => Err(error(code, "ask whether the file was moved")),
    }
}
