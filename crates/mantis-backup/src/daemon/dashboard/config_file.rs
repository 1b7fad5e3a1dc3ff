//! The configuration's file, changed in place by operators, and read again.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use mantis_repo::ObjectHash;

use super::Board;
use super::visitor::Visitor;
use crate::config::{Config, Fault};
use crate::{Error, durable};

/// Why something is not saved that was right when it was looked at.
const MEANWHILE: &str = "the configuration was changed meanwhile: look at it again before you save";

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum NotSaved {
    /// The file is as it was.
    Refused {
        /// What the file is now.
        version: String,
        /// It is not what the visitor saw.
        is_stale: bool,
        /// What is wrong, or would be.
        faults: Vec<String>,
    },
    /// It could not be read, changed, or taken up.
    Failed(Error),
}

impl From<Error> for NotSaved {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Names what a file was.
pub(super) fn version(text: &str) -> String {
    ObjectHash::of([text.as_bytes()]).to_string()
}

/// The file as it is.
pub(super) async fn read(board: &Board) -> Result<String, Error> {
    let path = board.file.to_path_buf();
    let failed = |error| Error::io(format!("read {}", board.file.display()), error);
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    read.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(failed)
}

/// Writes the file anew, for the same owner and as readable as it was. A crash leaves the old one or the new one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let there = std::fs::symlink_metadata(path)?;
    if !there.is_file() {
        return Err(io::Error::other("it is a link, or no file: change what it leads to"));
    }
    durable::replace(path, text.as_bytes())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(there.mode() & 0o7777))?;
    let now = std::fs::metadata(path)?;
    if (now.uid(), now.gid()) != (there.uid(), there.gid()) {
        chown(path, Some(there.uid()), Some(there.gid()))?;
    }
    std::fs::File::open(path)?.sync_all()
}

/// Changes the file and has it read again; `what` of it is changed goes to the log.
async fn save(
    board: &Board,
    visitor: &Visitor,
    text: String,
    what: (&str, &str),
) -> Result<(), Error> {
    board.audit.note(visitor, what, None).await?;
    let path = board.file.to_path_buf();
    let written = tokio::task::spawn_blocking(move || write(&path, &text)).await;
    let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
    let saved = match written {
        Ok(()) => board.reload().await.map_err(|error| Error::Other {
            doing: "read the configuration again".into(),
            source: error.into(),
            help: Some("the file is changed: put right what is told, and send SIGHUP".into()),
        }),
        Err(error) => Err(Error::Other {
            doing: format!("change {}", board.file.display()),
            source: error.into(),
            help: Some(
                "let the daemon's user write the file and its folder, or change it there".into(),
            ),
        }),
    };
    if let Err(error) = &saved {
        board.audit.note(visitor, what, Some(&error.chain())).await?;
    }
    saved
}

/// Changes the file by an edit of its text, one after the other: what one edit has read, no other changes. `seen` is the version that the
/// visitor looked at, where that matters.
pub(super) async fn change(
    board: &Board,
    visitor: &Visitor,
    seen: Option<&str>,
    what: (&str, &str),
    edit: impl FnOnce(&str, &Config) -> Result<String, Vec<Fault>>,
) -> Result<(), NotSaved> {
    let _turn = board.editing.lock().await;
    let text = read(board).await?;
    let version = version(&text);
    if seen.is_some_and(|seen| seen != version) {
        return Err(NotSaved::Refused { version, is_stale: true, faults: vec![MEANWHILE.into()] });
    }
    match edit(&text, &board.config()) {
        Ok(changed) => Ok(save(board, visitor, changed, what).await?),
        Err(faults) => {
            let faults = faults.into_iter().map(|fault| fault.message).collect();
            Err(NotSaved::Refused { version, is_stale: false, faults })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stays_as_readable_as_it_was_and_a_link_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        write(&file, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(write(&link, "newer").is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
    }
}
