//! The folder for what outlives the daemon.

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use etcetera::base_strategy::{BaseStrategy, choose_base_strategy};
use mantis_schedule::AgendaState;
use rustix::fs::{FlockOperation, flock};

use super::{History, Proofs};
use crate::config::Config;
use crate::{Error, durable};

/// The folder for what outlives the daemon: what is due and what runs (`agenda.json`), what was run (`history.jsonl`), what was
/// proved (`proofs.json`), the socket that the command talks to, and a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

/// Keeps other daemons out until it is dropped, or its process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not used")] File);

fn failed(doing: String, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let help = "set `state_dir` to a folder that this user can write".to_owned();
    Error::Other { doing, source: source.into(), help: Some(help) }
}

impl StateDir {
    /// The folder of a configuration; without one, or where it names none, systemd's `$STATE_DIRECTORY`, else `mantis` in the
    /// user's state folder.
    ///
    /// # Errors
    /// On a machine without a home.
    pub fn of(config: Option<&Config>) -> Result<Self, Error> {
        if let Some(named) = config.and_then(|config| config.state_dir.clone()) {
            return Ok(Self(named));
        }
        // systemd gives several, separated by colons, to units that ask for several.
        let from_systemd = std::env::var("STATE_DIRECTORY").ok();
        if let Some(first) = from_systemd.as_deref().and_then(|dirs| dirs.split(':').next())
            && !first.is_empty()
        {
            return Ok(Self(first.into()));
        }
        let dirs = choose_base_strategy().map_err(|error| {
            failed("find a folder for the daemon's state".into(), error.to_string())
        })?;
        Ok(Self(dirs.state_dir().unwrap_or_else(|| dirs.data_dir()).join("mantis")))
    }

    /// A folder by its path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it where it is not there, for nobody else to read.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn make(&self) -> Result<(), Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|error| failed(format!("make the state folder {}", self.0.display()), error))
    }

    /// Locks it for one daemon. The system lets go of it when the process ends, however it does.
    ///
    /// # Errors
    /// Where another daemon has it.
    pub fn lock(&self) -> Result<Lock, Error> {
        self.make()?;
        let path = self.0.join("lock");
        let file = durable::lock_file(&path)
            .map_err(|error| failed(format!("open {}", path.display()), error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Other {
                doing: format!("take the state folder {}", self.0.display()),
                source: "another daemon runs there".into(),
                help: Some("stop the other one, or give this one a `state_dir` of its own".into()),
            }),
            Err(error) => Err(failed(format!("lock {}", path.display()), error)),
        }
    }

    /// What was run.
    #[must_use]
    pub fn history(&self) -> History {
        History::at(self.0.join("history.jsonl"))
    }

    /// What was proved.
    #[must_use]
    pub fn proofs(&self) -> Proofs {
        Proofs::at(self.0.join("proofs.json"))
    }

    /// Where the daemon can be talked to.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// What was changed by hand, and by whom.
    #[cfg(feature = "dashboard")]
    pub(super) fn audit_file(&self) -> PathBuf {
        self.0.join("audit.jsonl")
    }

    fn agenda_file(&self) -> PathBuf {
        self.0.join("agenda.json")
    }

    /// What was due and what ran. A file that cannot be understood is set aside, and told: better to begin anew than not
    /// to back up at all.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn agenda(&self) -> Result<AgendaState, Error> {
        let file = self.agenda_file();
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(AgendaState::default()),
            Err(error) => return Err(failed(format!("read {}", file.display()), error)),
        };
        match serde_json::from_slice(&bytes) {
            Ok(state) => Ok(state),
            Err(error) => {
                let aside = self.0.join(format!("agenda.damaged-{}.json", crate::now().0));
                let moved = std::fs::rename(&file, &aside);
                tracing::error!(file = %file.display(), %error, aside = %aside.display(), moved = moved.is_ok(),
                    "what was due cannot be read: schedules begin anew from now, runs that were missed before are not made up for");
                Ok(AgendaState::default())
            }
        }
    }

    /// Keeps what is due and what runs. A crash leaves what was kept before, or this.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn keep_agenda(&self, state: &AgendaState) -> Result<(), Error> {
        let file = self.agenda_file();
        let kept = serde_json::to_vec(state).map_err(std::io::Error::from);
        let kept = kept.and_then(|bytes| durable::replace(&file, &bytes));
        kept.map_err(|error| failed(format!("keep what is due in {}", file.display()), error))
    }

    /// A folder for drills and spooled pages, ours alone and empty: what a killed process left in it is removed.
    ///
    /// # Errors
    /// Where it cannot be made, or is somebody else's.
    pub fn scratch(&self, named: Option<&Path>) -> Result<PathBuf, Error> {
        let folder = match named {
            Some(folder) => {
                let name = mantis_repo::ObjectHash::of([self.0.as_os_str().as_encoded_bytes()]);
                folder.join(format!("mantis-{}", name.to_string().get(..16).unwrap_or_default()))
            }
            None => self.0.join("tmp"),
        };
        let fail = |error| failed(format!("make the folder {}", folder.display()), error);
        if let Some(above) = folder.parent() {
            std::fs::create_dir_all(above).map_err(fail)?;
        }
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(fail(error)),
        }
        let metadata = std::fs::symlink_metadata(&folder).map_err(fail)?;
        if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(failed(format!("use {}", folder.display()), "it is somebody else's"));
        }
        for entry in std::fs::read_dir(&folder).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            tracing::info!(path = %path.display(), "removing what a process left that was killed");
            let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
            let removed = if is_folder {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            removed.map_err(fail)?;
        }
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_daemon_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::at(folder.path().join("a/b"));
        let lock = dir.lock().unwrap();
        assert!(dir.lock().unwrap_err().chain().contains("another daemon"));
        drop(lock);
        assert!(dir.lock().is_ok());
    }

    #[test]
    fn what_is_due_is_kept_and_a_damaged_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::at(folder.path());
        assert_eq!(dir.agenda().unwrap(), AgendaState::default());
        let state = AgendaState { next_run: 7, ..AgendaState::default() };
        dir.keep_agenda(&state).unwrap();
        assert_eq!(dir.agenda().unwrap(), state);
        std::fs::write(dir.agenda_file(), "{\"next_run\": 7, \"jo").unwrap();
        assert_eq!(dir.agenda().unwrap(), AgendaState::default());
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.len() == 1 && names[0].to_string_lossy().contains("damaged"), "{names:?}");
    }

    #[test]
    fn what_a_killed_drill_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::at(folder.path().join("state"));
        for named in [None, Some(folder.path().join("temp"))] {
            let scratch = dir.scratch(named.as_deref()).unwrap();
            std::fs::create_dir_all(scratch.join("mantis-drill-x")).unwrap();
            std::fs::write(scratch.join("mantis-drill-x/restored"), "x").unwrap();
            assert_eq!(dir.scratch(named.as_deref()).unwrap(), scratch);
            assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0);
        }
        let link = folder.path().join("links");
        std::fs::create_dir(&link).unwrap();
        let taken = dir.scratch(Some(&link)).unwrap();
        std::fs::remove_dir(&taken).unwrap();
        std::os::unix::fs::symlink(folder.path(), &taken).unwrap();
        assert!(dir.scratch(Some(&link)).is_err(), "a link leads elsewhere");
    }
}
