//! Whether processes have a database open.

#![expect(unsafe_code, reason = "the standard library has no call that asks who holds a lock")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use mantis_snapshot::SnapshotError;

/// SQLite's lock bytes: pending, reserved, and the shared range.
const LOCK_BYTES: (i64, i64) = (0x4000_0000, 512);

/// Refuses to replace a database that someone has open: they would go on writing the old file, and its
/// WAL. A connection in WAL mode shows at any time, one in rollback-journal mode while it works.
///
/// Opens and closes the file, which drops the locks that this process itself holds on it.
///
/// # Errors
/// [`SnapshotError::Unsupported`] where someone holds a lock.
pub fn refuse_if_in_use(path: &Path) -> Result<(), SnapshotError> {
    let Ok(file) = File::open(path) else { return Ok(()) };
    // SAFETY: `flock` is plain data, for which zeros are valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    (lock.l_start, lock.l_len) = LOCK_BYTES;
    // SAFETY: the descriptor is open and `lock` is a valid `flock` to read and write.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock) };
    if asked == 0 && lock.l_type != libc::F_UNLCK as libc::c_short {
        return Err(SnapshotError::Unsupported {
            object: path.display().to_string(),
            reason: format!("process {} has it open", lock.l_pid),
            help: "stop that process first, or restore to another path".into(),
        });
    }
    Ok(())
}
