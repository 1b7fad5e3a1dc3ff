//! What engines read a database from that is in no file, such as one in a backup.

use std::io;

/// The bytes of a database that is not a file.
pub trait DatabasePages: Send + Sync {
    /// Its length in bytes. It never changes.
    fn byte_len(&self) -> u64;

    /// Fills `buf` with the bytes at `offset`, all of which are before its end.
    ///
    /// # Errors
    /// What keeps them from being read. Engines may tell their callers only that there was something; who wants to know what keeps it.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}
