//! The keys that a repository had when an identity first opened it.
//!
//! Everyone may seal for a recipient of age: someone who can write to the store could put keys of his own there, and
//! read what is written from then on. So what `Repository::keyring_id` says is kept on this machine, one file for each
//! repository, as SSH keeps the keys of known hosts, and compared each time.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use etcetera::base_strategy::{BaseStrategy, choose_base_strategy};
use mantis_repo::{ObjectHash, Repository};

use crate::whereabouts::whereabouts;
use crate::{Error, durable};

/// The file for a repository; none on a machine without a home.
fn file_of(repo: &Repository) -> Option<PathBuf> {
    let dirs = choose_base_strategy().ok()?;
    let state = dirs.state_dir().unwrap_or_else(|| dirs.data_dir());
    let name = ObjectHash::of([whereabouts(repo).as_bytes()]).to_string();
    Some(state.join("mantis/known-keys").join(&name[..32]))
}

fn remember_in(file: &Path, repo: &Repository) -> Result<(), Error> {
    let text = format!("{}\n{}\n", repo.keyring_id()?, repo.location());
    durable::replace(file, text.as_bytes()).map_err(|error| Error::Other {
        doing: format!("note the keys of the repository in {}", file.display()),
        source: error.into(),
        help: Some("set XDG_STATE_HOME to a folder that can be written".into()),
    })
}

/// Notes the keys of a repository that this machine made.
#[cfg(feature = "cli")]
pub(crate) fn remember(repo: &Repository) -> Result<(), Error> {
    match file_of(repo) {
        Some(file) => remember_in(&file, repo),
        None => Ok(()),
    }
}

/// Compares the keys of a repository with those that it had; notes them the first time.
pub(crate) fn check(repo: &Repository) -> Result<(), Error> {
    let Some(file) = file_of(repo) else {
        tracing::warn!(
            "there is no home folder to note the repository's keys in: they are taken as they are"
        );
        return Ok(());
    };
    let known = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            tracing::info!(file = %file.display(), "the repository's keys are noted for the first time");
            return remember_in(&file, repo);
        }
        Err(error) => {
            return Err(Error::io(format!("read the known keys in {}", file.display()), error));
        }
    };
    if known.lines().next() == Some(&*repo.keyring_id()?.to_string()) {
        return Ok(());
    }
    Err(Error::Other {
        doing: format!("trust the keys of the repository at {}", repo.location()),
        source:
            "they are others than when it was opened here before: someone may have replaced them"
                .into(),
        help: Some(format!("if you made it anew yourself, remove {}", file.display())),
    })
}
