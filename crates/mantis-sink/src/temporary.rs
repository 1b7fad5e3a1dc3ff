//! Files that are written before they have their name, and what is left of those whose writer was killed.
//!
//! A writer holds a lock on its file (`flock(2)`), which ends with the writer, however that ends: a file that nobody holds a lock on is
//! nobody's. A file system without locks gives none to whoever sweeps either, and nothing is removed there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// A file without a name of its own, locked. Removed when dropped, unless it was given one.
#[derive(Debug)]
pub(crate) struct Temporary {
    file: File,
    path: PathBuf,
    named: bool,
}

impl Temporary {
    /// A new file in a folder for them.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        loop {
            let number = getrandom::u64().map_err(io::Error::other)?;
            let path = folder.join(format!("{number:016x}"));
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            let temporary = Self { file, path, named: false };
            // A sweep may have come between the two calls, or stand still between its own: then this file is its.
            let swept = matches!(temporary.file.try_lock(), Err(TryLockError::WouldBlock));
            if !swept && temporary.file.metadata()?.nlink() > 0 {
                return Ok(temporary);
            }
        }
    }

    /// To write to.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives it its name, unless something has that. File systems without a rename that does not replace get a hard link, which does
    /// not either. A crash after this leaves the file under one of its names, or both, once their folders are synced.
    pub(crate) fn rename_new(&mut self, to: &Path) -> io::Result<()> {
        use rustix::io::Errno;
        match renameat_with(CWD, &self.path, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::hard_link(&self.path, to)?;
                fs::remove_file(&self.path)?;
            }
            result => result?,
        }
        self.named = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.named {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the files in a folder for them whose writers are gone; how many.
pub(crate) fn sweep(folder: &Path) -> io::Result<u64> {
    let mut swept = 0;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let gone = match File::open(&path) {
            Err(error) => Err(error),
            Ok(file) if file.try_lock().is_ok() => fs::remove_file(&path),
            Ok(_) => continue,
        };
        match gone {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            gone => {
                gone?;
                swept += 1;
            }
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_writer_left_is_swept_and_what_one_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(sweep(&folder.path().join("not/there")).unwrap(), 0);
        fs::write(folder.path().join("0123456789abcdef"), "half").unwrap();
        let at_work = Temporary::new(folder.path()).unwrap();
        assert_eq!(sweep(folder.path()).unwrap(), 1);
        assert!(at_work.path.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(at_work);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_name_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("name");
        Temporary::new(folder.path()).unwrap().rename_new(&to).unwrap();
        let error = Temporary::new(folder.path()).unwrap().rename_new(&to).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
