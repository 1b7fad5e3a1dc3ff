//! Small files of our own, written so that a crash leaves the old one or the new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// What the names of files begin with that have no final name yet.
const TEMPORARY: &str = ".mantis-tmp-";
/// A file without a final name that is older is a killed process's: nobody takes that long to write one.
const FORSAKEN: Duration = Duration::from_secs(3600);
/// How long a lock is waited for. Whoever has it writes a few kilobytes, unless it is stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes a file in place of the one that may be there: beside it first, then synced, renamed, and its folder synced. A crash
/// before the rename leaves the old file, one after it the new one; a temporary one may be left beside it, which a later call removes.
///
/// # Errors
/// What the file system reports.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    sweep(folder);
    let mut temporary = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    File::open(folder)?.sync_all()
}

/// Removes what killed processes left. Nothing depends on that.
fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let age = changed.ok().and_then(|changed| SystemTime::now().duration_since(changed).ok());
        if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
            && age.is_some_and(|age| age > FORSAKEN)
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
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
/// What the file system reports; `TimedOut` where another process does not let go of it: one that is stopped would else stop all others.
pub(crate) fn lock(file: &Path) -> io::Result<File> {
    lock_within(&file.with_extension("lock"), PATIENCE)
}

fn lock_within(path: &Path, patience: Duration) -> io::Result<File> {
    let lock = lock_file(path)?;
    let since = Instant::now();
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(Errno::WOULDBLOCK) if since.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(Errno::WOULDBLOCK) => {
                let what = format!("another process holds {}: is it stopped?", path.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            Err(error) => return Err(error.into()),
        }
    }
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

    #[test]
    fn what_killed_processes_left_goes_and_what_is_being_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join(format!("{TEMPORARY}old"));
        let new = folder.path().join(format!("{TEMPORARY}new"));
        let other = folder.path().join("other");
        for file in [&old, &new, &other] {
            std::fs::write(file, "half").unwrap();
        }
        let long_ago = SystemTime::now() - 2 * FORSAKEN;
        for file in [&old, &other] {
            File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
        }
        replace(&folder.path().join("file"), b"whole").unwrap();
        assert!(!old.exists() && new.exists() && other.exists());
    }

    #[test]
    fn a_lock_that_nobody_lets_go_of_is_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.lock");
        let held = lock_within(&path, Duration::ZERO).unwrap();
        let refused = lock_within(&path, Duration::from_millis(30)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        drop(held);
        lock_within(&path, Duration::ZERO).unwrap();
    }
}
