//! Where a restore goes: a temporary file beside the target, synced, renamed, and its folder synced.
//!
//! What a crash leaves, step by step:
//!
//! 1. while pages are written, or before the sync: the temporary file `.NAME.mantis-…`, which nothing
//!    takes for a database; the target as it was;
//! 2. after the sync, while sidecars of an old database are set aside or removed: with `replace`, the
//!    old database without its WAL; the restore can be run again. Had the new file come first, a crash
//!    would leave it with a foreign WAL, which SQLite would replay into it;
//! 3. after the rename, before the folder's sync: the old file or the new one, each whole;
//! 4. after the folder's sync: the new one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mantis_page::PageRun;
use mantis_snapshot::{Geometry, PageTarget, SnapshotError};
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// The files that SQLite would take for parts of the database at `path`: its WAL, shared memory and
/// rollback journal.
#[must_use]
pub fn sidecars(path: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

/// A file being restored; dropped before [`PageTarget::finish`], nothing of it is left.
#[derive(Debug)]
pub struct RestoreFile {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    geometry: Geometry,
    replace: bool,
    finished: bool,
}

fn failed(doing: &'static str, path: &Path, error: io::Error) -> SnapshotError {
    let help = match error.kind() {
        io::ErrorKind::AlreadyExists => "choose another path, or replace the file with --force",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or restore elsewhere"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "give this user the right to write there, or restore elsewhere"
        }
        io::ErrorKind::NotFound => "make the folder first",
        _ => "check the target's folder and disk",
    };
    SnapshotError::Engine {
        doing,
        object: path.display().to_string(),
        source: error.into(),
        help: Some(help.into()),
        retryable: false,
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl RestoreFile {
    /// Prepares a restore to `target`. Without `replace`, a file there is an error now, and at the end.
    ///
    /// # Errors
    /// What keeps the temporary file from being made.
    pub fn create(target: &Path, geometry: Geometry, replace: bool) -> Result<Self, SnapshotError> {
        let exists = fs::symlink_metadata(target);
        match &exists {
            Ok(found) if found.is_dir() => {
                let error = io::Error::other("it is a folder; name the file to be made in it");
                return Err(failed("restore to", target, error));
            }
            Ok(_) if !replace => {
                let error = io::Error::new(io::ErrorKind::AlreadyExists, "the file exists");
                return Err(failed("restore to", target, error));
            }
            _ => {}
        }
        let name = target
            .file_name()
            .ok_or_else(|| failed("restore to", target, io::Error::other("it names no file")))?;
        let mut number = 0;
        let (temporary, file) = loop {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".mantis-{}-{number}", std::process::id()));
            let path = folder_of(target).join(hidden);
            let options =
                OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            match options {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 1000 => {
                    number += 1;
                }
                Err(error) => return Err(failed("make a file beside", target, error)),
            }
        };
        let restore =
            Self { target: target.to_owned(), temporary, file, geometry, replace, finished: false };
        // Pages of zeros stay holes.
        restore
            .file
            .set_len(geometry.byte_len)
            .map_err(|error| failed("make room for", target, error))?;
        Ok(restore)
    }

    /// The file while it is not finished: for checks of its content before it is shown.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Takes an old database's sidecars out of the way: removed where the database is replaced, set
    /// aside where there is none whose they could be.
    fn clear_sidecars(&self) -> io::Result<()> {
        for sidecar in sidecars(&self.target) {
            if fs::symlink_metadata(&sidecar).is_err() {
                continue;
            }
            if self.replace {
                fs::remove_file(&sidecar)?;
            } else {
                let mut aside = sidecar.clone().into_os_string();
                aside.push(format!(".set-aside-{}", std::process::id()));
                renameat_with(CWD, &sidecar, CWD, PathBuf::from(aside), RenameFlags::NOREPLACE)?;
            }
        }
        Ok(())
    }

    fn publish(&self) -> io::Result<()> {
        if self.replace {
            return fs::rename(&self.temporary, &self.target);
        }
        match renameat_with(CWD, &self.temporary, CWD, &self.target, RenameFlags::NOREPLACE) {
            Err(
                rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP,
            ) => {
                fs::hard_link(&self.temporary, &self.target)?;
                fs::remove_file(&self.temporary)
            }
            result => Ok(result?),
        }
    }
}

impl PageTarget for RestoreFile {
    fn write_run(&self, run: &PageRun) -> Result<(), SnapshotError> {
        let size = self.geometry.page_size;
        let offset =
            size.offset_of(run.range().first()).filter(|offset| *offset <= self.geometry.byte_len);
        let Some(offset) = offset.filter(|_| run.page_size() == size) else {
            let error = io::Error::other("a page lies past the end of the backup");
            return Err(failed("write pages to", &self.target, error));
        };
        let len = (self.geometry.byte_len - offset).min(run.bytes().len() as u64);
        let bytes = run.bytes().slice(..len as usize);
        self.file
            .write_all_at(&bytes, offset)
            .map_err(|error| failed("write pages to", &self.target, error))
    }

    fn finish(mut self: Box<Self>) -> Result<(), SnapshotError> {
        let fail = |doing| {
            let target = self.target.clone();
            move |error| failed(doing, &target, error)
        };
        self.file.sync_all().map_err(fail("sync"))?;
        self.clear_sidecars().map_err(fail("take old sidecar files away from"))?;
        self.publish().map_err(fail("rename the restored file to"))?;
        self.finished = true;
        let folder = File::open(folder_of(&self.target)).and_then(|folder| folder.sync_all());
        folder.map_err(fail("sync the folder of"))
    }
}

impl Drop for RestoreFile {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mantis_page::{PageNo, PageSize};

    use super::*;

    fn restore(target: &Path, replace: bool) -> Result<(), SnapshotError> {
        let geometry = Geometry::of_file(PageSize::MIN, 700);
        let file = RestoreFile::create(target, geometry, replace)?;
        let second = PageNo::new(2).unwrap();
        file.write_run(&PageRun::new(second, PageSize::MIN, Bytes::from(vec![2; 512])).unwrap())?;
        Box::new(file).finish()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn shows_the_whole_file_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.db");
        drop(RestoreFile::create(&target, Geometry::of_file(PageSize::MIN, 700), false).unwrap());
        assert!(names(folder.path()).is_empty());
        restore(&target, false).unwrap();
        assert_eq!(fs::read(&target).unwrap(), [vec![0; 512], vec![2; 188]].concat());
        assert_eq!(names(folder.path()), ["a.db"]);
    }

    #[test]
    fn replaces_only_when_told_and_leaves_no_foreign_sidecar() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.db");
        fs::write(&target, "old").unwrap();
        fs::write(folder.path().join("a.db-wal"), "old wal").unwrap();
        assert!(restore(&target, false).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"old");
        restore(&target, true).unwrap();
        assert_eq!(names(folder.path()), ["a.db"]);
    }

    #[test]
    fn sidecars_without_a_database_are_set_aside_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.db-wal"), "someone's data").unwrap();
        restore(&folder.path().join("a.db"), false).unwrap();
        let names = names(folder.path());
        assert_eq!(names.len(), 2);
        assert!(names[1].starts_with("a.db-wal.set-aside-"), "{names:?}");
    }

    #[test]
    fn a_folder_is_no_target() {
        let folder = tempfile::tempdir().unwrap();
        assert!(restore(folder.path(), true).is_err());
        assert!(restore(Path::new("/"), true).is_err());
    }
}
