//! What can be told of a source by its path, without opening it.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
#[cfg(any(feature = "sqlite", feature = "redb", feature = "file"))]
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mantis_snapshot::SnapshotError;

#[cfg(any(feature = "sqlite", feature = "redb", feature = "file"))]
/// Which file it is, whatever its name: device and inode.
pub(crate) type Identity = (u64, u64);

fn unsupported(path: &Path, reason: &str, help: &str) -> SnapshotError {
    SnapshotError::Unsupported {
        object: path.display().to_string(),
        reason: reason.to_owned(),
        help: help.to_owned(),
    }
}

/// An error of the operating system on a source.
pub(crate) fn os_error(doing: &'static str, path: &Path, error: io::Error) -> SnapshotError {
    let help = match error.kind() {
        io::ErrorKind::NotFound => Some("check the path"),
        io::ErrorKind::PermissionDenied => Some("run as a user who may read the file"),
        io::ErrorKind::StorageFull => {
            Some("free some space, or set another folder for temporary files")
        }
        _ if is_out_of_files(&error) => {
            Some("allow more open files (ulimit -n), or back up fewer sources at once")
        }
        _ => Some("check the disk that holds it"),
    };
    SnapshotError::Engine {
        doing,
        object: path.display().to_string(),
        source: error.into(),
        help: help.map(str::to_owned),
        retryable: false,
    }
}

/// `EMFILE`, `ENFILE`: this process, or the system, may have no more files open.
fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Refuses what is no regular file; symbolic links are followed.
pub(crate) fn check(path: &Path) -> Result<fs::Metadata, SnapshotError> {
    let metadata = fs::metadata(path).map_err(|error| os_error("look at", path, error))?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(unsupported(path, "it is a folder", "name the database file in it"));
    }
    if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
        return Err(unsupported(path, "it is no regular file", "name a database file"));
    }
    Ok(metadata)
}

#[cfg(any(feature = "sqlite", feature = "redb", feature = "file"))]
/// What changes when a file is written to or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) identity: Identity,
    pub(crate) len: u64,
    modified: Option<std::time::SystemTime>,
}

#[cfg(any(feature = "sqlite", feature = "redb", feature = "file"))]
impl Stamp {
    /// That of a source as it is now.
    pub(crate) fn of(path: &Path) -> Result<Self, SnapshotError> {
        let metadata = check(path)?;
        Ok(Self {
            identity: identity(&metadata),
            len: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }
}

#[cfg(any(feature = "sqlite", feature = "redb", feature = "file"))]
/// Which file a path leads to now.
pub(crate) fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}
