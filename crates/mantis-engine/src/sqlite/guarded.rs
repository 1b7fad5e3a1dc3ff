//! What SQLite calls, kept from unwinding into it.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::ffi;

/// A panic must not unwind into C; it becomes an I/O error.
pub(super) fn guarded(work: impl FnOnce() -> c_int) -> c_int {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(ffi::SQLITE_IOERR)
}
