//! Small files of our own, written so that a crash leaves the old one or the new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Writes a file in place of the one that may be there: beside it first, then synced, renamed, and its folder synced. A crash
/// before the rename leaves the old file, one after it the new one; a temporary one may be left beside it.
///
/// # Errors
/// What the file system reports.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    File::open(folder)?.sync_all()
}

/// Opens a file that is there to be locked; makes it where it is not there, for nobody else.
///
/// # Errors
/// What the file system reports.
pub(crate) fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Keeps others from changing a file, by a lock beside it, until it is dropped. The file itself may be replaced meanwhile.
///
/// # Errors
/// What the file system reports.
pub(crate) fn lock(file: &Path) -> io::Result<File> {
    let lock = lock_file(&file.with_extension("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b");
        for text in ["one", "two"] {
            replace(&file, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
    }
}
