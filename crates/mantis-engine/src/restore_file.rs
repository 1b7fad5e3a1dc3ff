//! Where a restore goes: a temporary file beside the target, synced, renamed, and its folder synced.
//!
//! What a crash leaves, step by step:
//!
//! 1. while pages are written, or before the sync: the temporary file `.NAME.mantis-restore`, which nothing
//!    takes for a database; the target as it was. The next restore to the same target goes on with that file:
//!    pages that are right in it, proved by their hashes, are not fetched again;
//! 2. after the sync, while sidecars of an old database are set aside or removed, and the folder synced: with
//!    `replace`, the old database without its WAL; the restore can be run again. Had the new file come first, a crash
//!    would leave it with a foreign WAL, which SQLite would replay into it;
//! 3. after the rename, before the folder's sync: the old file or the new one, each whole;
//! 4. after the folder's sync: the new one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mantis_page::{PageRange, PageRun};
use mantis_snapshot::{Geometry, PageTarget, SnapshotError};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use crate::sync_ahead::SyncAhead;

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
    /// Locked for as long as it is open.
    file: File,
    geometry: Geometry,
    replace: bool,
    /// Whether there is anything in it but zeros and what was written since.
    reused: bool,
    ahead: SyncAhead,
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

/// Opens the temporary file, and locks it against another restore to the same target. One that another restore
/// removes or renames in that very moment is not taken.
fn open_locked(temporary: &Path, target: &Path) -> Result<File, SnapshotError> {
    let fail = |error| failed("make a file beside", target, error);
    for _ in 0..100 {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
            .open(temporary)
            .map_err(fail)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let error = io::Error::other("another restore to it is under way");
                return Err(failed("restore to", target, error));
            }
            Err(error) => return Err(fail(error.into())),
        }
        let ours = file.metadata().map_err(fail)?;
        let named = fs::symlink_metadata(temporary);
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
            // In a folder that others write, one of them may have put it there, to read along.
            let mine = ours.is_file()
                && ours.nlink() == 1
                && ours.uid() == rustix::process::geteuid().as_raw();
            if !mine {
                let error = io::Error::other("there is a file of someone else's in the way");
                return Err(failed("restore to", temporary, error));
            }
            file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(fail)?;
            return Ok(file);
        }
    }
    Err(fail(io::Error::other("others keep making and removing it")))
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
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".mantis-restore");
        let temporary = folder_of(target).join(hidden);
        let file = open_locked(&temporary, target)?;
        let left = file.metadata().map_err(|error| failed("look at", &temporary, error))?.len();
        let restore = Self {
            target: target.to_owned(),
            temporary,
            file,
            geometry,
            replace,
            reused: left > 0,
            ahead: SyncAhead::default(),
            finished: false,
        };
        // Pages of zeros stay holes.
        let made = restore.file.set_len(geometry.byte_len);
        made.map_err(|error| failed("make room for", target, error))?;
        Ok(restore)
    }

    /// Begins with what the target holds now: shared with it where the file system can, else copied.
    ///
    /// # Errors
    /// What keeps the target from being read.
    pub fn begin_with_target(&mut self) -> Result<(), SnapshotError> {
        let old = match File::open(&self.target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            old => old.map_err(|error| failed("read", &self.target, error))?,
        };
        let copy = || -> io::Result<()> {
            if rustix::fs::ioctl_ficlone(&self.file, &old).is_err() {
                let mut from = &old;
                io::copy(&mut from, &mut &self.file)?;
            }
            self.file.set_len(self.geometry.byte_len)
        };
        copy().map_err(|error| failed("copy", &self.target, error))?;
        self.reused = true;
        Ok(())
    }

    /// Whether there may be pages in it that are right already: of the target, or of a restore that was killed.
    #[must_use]
    pub const fn is_reused(&self) -> bool {
        self.reused
    }

    /// Fills `buf` with the pages of a range as they are now; past the end they are zeros.
    ///
    /// # Errors
    /// What keeps them from being read.
    pub fn read_pages(&self, range: PageRange, buf: &mut [u8]) -> io::Result<()> {
        let offset = self.geometry.page_size.offset_of(range.first());
        mantis_cow::LiveFile::read_at(&self.file, offset.unwrap_or(u64::MAX), buf)
    }

    /// Has pages be zeros; nothing is written where they are so because the file is new.
    ///
    /// # Errors
    /// What keeps them from being written.
    pub fn write_zeros(&self, range: PageRange) -> Result<(), SnapshotError> {
        if !self.reused {
            return Ok(());
        }
        let size = self.geometry.page_size;
        for part in range.split(256) {
            let zeros = vec![0; part.len() as usize * size.bytes()];
            let run = PageRun::new(part.first(), size, zeros.into()).map_err(|error| {
                failed("write pages to", &self.target, io::Error::other(error.to_string()))
            })?;
            self.write_run(&run)?;
        }
        Ok(())
    }

    /// The file while it is not finished: for checks of its content before it is shown.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Takes an old database's sidecars out of the way: removed where the database is replaced, set
    /// aside where there is none whose they could be. It is durable before this returns: a power cut after the rename
    /// that follows must not bring them back beside the new file.
    fn clear_sidecars(&self) -> io::Result<()> {
        let mut cleared = false;
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
            cleared = true;
        }
        if cleared { self.sync_folder() } else { Ok(()) }
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(folder_of(&self.target))?.sync_all()
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
            .map_err(|error| failed("write pages to", &self.target, error))?;
        self.ahead.wrote(&self.file, len);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), SnapshotError> {
        let fail = |doing| {
            let target = self.target.clone();
            move |error| failed(doing, &target, error)
        };
        self.ahead.end().map_err(fail("sync"))?;
        self.file.sync_all().map_err(fail("sync"))?;
        self.clear_sidecars().map_err(fail("take old sidecar files away from"))?;
        self.publish().map_err(fail("rename the restored file to"))?;
        self.finished = true;
        self.sync_folder().map_err(fail("sync the folder of"))
    }
}

impl Drop for RestoreFile {
    fn drop(&mut self) {
        let _ = self.ahead.end();
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
    fn what_a_killed_restore_left_is_gone_on_with_and_one_under_way_is_not_disturbed() {
        let folder = tempfile::tempdir().unwrap();
        let [target, left] = ["a.db", ".a.db.mantis-restore"].map(|name| folder.path().join(name));
        let geometry = Geometry::of_file(PageSize::MIN, 700);
        let first = RestoreFile::create(&target, geometry, false).unwrap();
        assert!(!first.is_reused());
        assert!(RestoreFile::create(&target, geometry, false).is_err(), "one at a time");
        let second = PageNo::new(2).unwrap();
        let run = PageRun::new(second, PageSize::MIN, Bytes::from(vec![2; 512])).unwrap();
        first.write_run(&run).unwrap();
        // Killed: nothing is tidied up.
        std::mem::forget(first.file.try_clone().unwrap());
        let copy = fs::read(&left).unwrap();
        drop(first);
        fs::write(&left, copy).unwrap();
        let next = RestoreFile::create(&target, geometry, false).unwrap();
        assert!(next.is_reused());
        let mut page = [9; 512];
        next.read_pages(PageRange::new(second, 1).unwrap(), &mut page).unwrap();
        assert_eq!((page[0], page[187], page[188]), (2, 2, 0), "past the end are zeros");
        next.write_zeros(PageRange::new(second, 1).unwrap()).unwrap();
        Box::new(next).finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), [0; 700]);
        assert_eq!(names(folder.path()), ["a.db"]);
    }

    #[test]
    fn begins_with_the_target_where_told() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.db");
        fs::write(&target, [7; 2000]).unwrap();
        let geometry = Geometry::of_file(PageSize::MIN, 700);
        let mut file = RestoreFile::create(&target, geometry, true).unwrap();
        file.begin_with_target().unwrap();
        Box::new(file).finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), [7; 700]);
    }

    #[test]
    fn a_file_that_someone_put_in_the_way_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let (target, bait) = (folder.path().join("a.db"), folder.path().join("bait"));
        fs::write(&bait, "precious").unwrap();
        let way = folder.path().join(".a.db.mantis-restore");
        for link in [fs::hard_link, std::os::unix::fs::symlink::<&Path, &Path>] {
            link(&bait, &way).unwrap();
            assert!(restore(&target, false).is_err());
            assert_eq!(fs::read(&bait).unwrap(), b"precious");
            fs::remove_file(&way).unwrap();
        }
    }

    #[test]
    fn a_folder_is_no_target() {
        let folder = tempfile::tempdir().unwrap();
        assert!(restore(folder.path(), true).is_err());
        assert!(restore(Path::new("/"), true).is_err());
    }
}
