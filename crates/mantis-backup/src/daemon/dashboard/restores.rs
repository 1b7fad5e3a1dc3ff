//! Restores that operators begin by the pages: checked first, run beside everything else, and never over a file that is there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mantis_repo::{BackupInfo, RestoreOptions};
use mantis_stream::{CancellationToken, ProgressTracker};
use tokio::sync::Notify;

use super::facts::{Restore, RestoreState};
use crate::config::Config;
use crate::daemon::StateDir;
use crate::daemon::worker::{Place, to_use};
use crate::disk_space::free_space;
use crate::human::{size, time};
use crate::jobs::{self, RestoreJob};
use crate::when::format_seconds;
use crate::{Error, clock, format_time};

/// Restores that run at once.
const AT_ONCE: usize = 2;
/// Restores that are told of.
const KEPT: usize = 50;
/// How long those under way may take to clean up when the daemon stops.
const CLEANING: Duration = Duration::from_secs(30);

/// What is to be restored, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// The repository's name in the configuration.
    pub(super) repository: String,
    /// The backup's id, whole.
    pub(super) backup: String,
    /// One of the folders of `dashboard.restore_folders`.
    pub(super) folder: String,
    /// The name of the file to be made there.
    pub(super) file: String,
    /// Have its engine check it before it is shown.
    pub(super) check: bool,
}

#[derive(Debug)]
struct Entry {
    told: Restore,
    began: Instant,
    progress: Arc<ProgressTracker>,
    cancel: CancellationToken,
}

#[derive(Debug, Default)]
struct All {
    next: u64,
    entries: BTreeMap<u64, Entry>,
    stopping: bool,
}

/// The restores of this daemon, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Restores {
    all: Mutex<All>,
    ended: Notify,
}

/// The file that a wish names: in a folder that people may restore to, with a name that leads nowhere else.
///
/// # Errors
/// What is wrong with it.
pub(super) fn target(config: &Config, wish: &Wish) -> Result<PathBuf, Error> {
    let folders = &config.dashboard.restore_folders;
    let folder = folders.iter().find(|folder| folder.display().to_string() == wish.folder);
    let folder = folder.ok_or_else(|| {
        let what = format!("nothing may be restored to {:?} from here", wish.folder);
        Error::usage(what, "add the folder to `restore_folders` of [dashboard]")
    })?;
    let name = Path::new(&wish.file);
    let is_one_name = matches!(
        name.components().collect::<Vec<_>>()[..],
        [Component::Normal(only)] if only == OsStr::new(&wish.file)
    );
    let is_plain = wish.file.len() <= 200
        && !wish.file.starts_with('.')
        && !wish.file.chars().any(|letter| letter.is_control() || letter == '/');
    if !is_one_name || !is_plain {
        let what = format!("{:?} is no name for a file", wish.file);
        return Err(Error::usage(
            what,
            "choose one without folders, that does not begin with a dot",
        ));
    }
    let target = folder.join(name);
    // What is left of another database would be taken for this one's.
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut there = target.clone().into_os_string();
        there.push(suffix);
        let there = PathBuf::from(there);
        if there.symlink_metadata().is_ok() {
            let what = format!("{} is there already, and nothing is overwritten", there.display());
            return Err(Error::usage(what, "choose another name, or move it away first"));
        }
    }
    Ok(target)
}

/// What a restore would do, checked without doing any of it.
///
/// # Errors
/// What would keep it from being made.
pub(super) fn plan(config: &Config, wish: &Wish, backup: &BackupInfo) -> Result<PathBuf, Error> {
    let target = target(config, wish)?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        let what = format!("{} is no folder", folder.display());
        return Err(Error::usage(what, "make it, for the user that the daemon runs as"));
    }
    match free_space(folder) {
        Some(free) if free < backup.meta.byte_len => {
            let (free, wanted) = (size(free), size(backup.meta.byte_len));
            let what = format!("{} has {free} free, and {wanted} are needed", folder.display());
            Err(Error::usage(what, "make space there, or choose another folder"))
        }
        _ => Ok(target),
    }
}

async fn run(
    (config, dir): (Arc<Config>, StateDir),
    wish: &Wish,
    target: PathBuf,
    (cancel, progress): (CancellationToken, Arc<ProgressTracker>),
) -> Result<String, Error> {
    let place = Place::of(&config, &wish.repository)?;
    let _turn = to_use(&dir, &place, &cancel).await?;
    let repo = place.open().await?;
    let catalogue = repo.catalogue().await?;
    let found = catalogue.backups.iter().find(|backup| backup.id.to_string() == wish.backup);
    let backup = found.cloned().ok_or_else(|| {
        let what = format!("there is no backup {} in {} any more", wish.backup, wish.repository);
        Error::usage(what, "choose another one")
    })?;
    let options = RestoreOptions { cancel, progress, ..RestoreOptions::default() };
    let (replace, delta, check) = (false, false, wish.check);
    let restored =
        jobs::restore(RestoreJob { repo, backup, target, replace, delta, check, options }).await?;
    let checked = if restored.checked { ", checked by its engine" } else { "" };
    let took = time(Duration::from_millis(restored.duration_ms));
    Ok(format!("{} in {} pages{checked}, in {took}", size(restored.bytes), restored.pages))
}

impl Restores {
    fn all(&self) -> std::sync::MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one. Returns its number.
    ///
    /// # Errors
    /// Where it cannot be made, too many run, or the daemon stops.
    pub(super) fn begin(
        self: &Arc<Self>,
        (config, dir): (Arc<Config>, StateDir),
        wish: Wish,
        backup: &BackupInfo,
        by: &str,
    ) -> Result<u64, Error> {
        let target = plan(&config, &wish, backup)?;
        let (cancel, progress) = (CancellationToken::new(), Arc::new(ProgressTracker::new()));
        let mut all = self.all();
        let under_way =
            all.entries.values().filter(|entry| entry.told.state == RestoreState::Running);
        if all.stopping || under_way.count() >= AT_ONCE {
            let what = format!("{AT_ONCE} restores run already, or the daemon stops");
            return Err(Error::usage(what, "wait until one has ended, or cancel it"));
        }
        all.next += 1;
        let id = all.next;
        let told = Restore {
            id,
            state: RestoreState::Running,
            source: backup.meta.source.clone(),
            repository: wish.repository.clone(),
            backup: wish.backup.clone(),
            taken: format_time(backup.meta.created_at),
            target: target.display().to_string(),
            by: by.to_owned(),
            began: format_seconds(&clock::calendar_now()),
            said: String::new(),
            seconds: 0,
            bytes: 0,
            bytes_total: backup.meta.byte_len,
            bytes_per_second: 0,
            eta_seconds: None,
        };
        let entry = Entry {
            told,
            began: Instant::now(),
            progress: Arc::clone(&progress),
            cancel: cancel.clone(),
        };
        all.entries.insert(id, entry);
        while all.entries.len() > KEPT {
            let ended = all.entries.iter().find(|(_, it)| it.told.state != RestoreState::Running);
            let Some(ended) = ended.map(|(id, _)| *id) else { break };
            all.entries.remove(&ended);
        }
        drop(all);
        let (registry, runtime) = (Arc::clone(self), tokio::runtime::Handle::current());
        // On a thread of its own, as runs are: the repository's futures are not known to be `Send`.
        let running = tokio::task::spawn_blocking(move || {
            runtime.block_on(run((config, dir), &wish, target, (cancel, progress)))
        });
        tokio::spawn(async move {
            let ended = running.await.unwrap_or_else(|error| {
                let doing = "restore".to_owned();
                Err(Error::Other { doing, source: error.into(), help: None })
            });
            registry.end(id, ended);
        });
        Ok(id)
    }

    fn end(&self, id: u64, ended: Result<String, Error>) {
        if let Some(entry) = self.all().entries.get_mut(&id) {
            show(entry);
            (entry.told.state, entry.told.said) = match ended {
                Ok(said) => (RestoreState::Done, said),
                Err(error) if error.is_cancelled() => {
                    (RestoreState::Cancelled, "nothing is left of it".to_owned())
                }
                Err(error) => (RestoreState::Failed, error.chain_and_help()),
            };
            let Restore { target, state, said, .. } = &entry.told;
            tracing::info!(id, target, state = state.name(), said, "a restore has ended");
        }
        self.ended.notify_waiters();
    }

    /// All that are told of, newest first.
    pub(super) fn list(&self) -> Vec<Restore> {
        let mut all = self.all();
        let entries = all.entries.values_mut().rev();
        entries
            .map(|entry| {
                if entry.told.state == RestoreState::Running {
                    show(entry);
                }
                entry.told.clone()
            })
            .collect()
    }

    /// Cancels one that runs. Returns whether there was one.
    pub(super) fn cancel(&self, id: u64) -> bool {
        let all = self.all();
        let found = all.entries.get(&id);
        let found = found.filter(|entry| entry.told.state == RestoreState::Running);
        found.inspect(|entry| entry.cancel.cancel()).is_some()
    }

    /// Begins no more, cancels what runs, and waits until it has cleaned up after itself.
    pub(super) async fn stop(&self) {
        let wait = async {
            loop {
                let ended = self.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                let under_way = {
                    let mut all = self.all();
                    all.stopping = true;
                    let running = all.entries.values();
                    let running = running.filter(|entry| entry.told.state == RestoreState::Running);
                    running.inspect(|entry| entry.cancel.cancel()).count()
                };
                if under_way == 0 {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(CLEANING, wait).await.is_err() {
            tracing::error!("a restore did not end in time: its temporary file may be left");
        }
    }
}

/// How far it is now.
fn show(entry: &mut Entry) {
    let progress = entry.progress.get();
    let told = &mut entry.told;
    told.seconds = entry.began.elapsed().as_secs();
    if progress.bytes_total > 0 {
        (told.bytes, told.bytes_total) = (progress.bytes, progress.bytes_total);
    }
    told.bytes_per_second = progress.rate as u64;
    told.eta_seconds = progress.eta.map(|eta| eta.as_secs());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn wish(folder: &Path, file: &str) -> Wish {
        Wish {
            repository: "main".into(),
            backup: "x".into(),
            folder: folder.display().to_string(),
            file: file.into(),
            check: true,
        }
    }

    #[test]
    fn a_name_leads_nowhere_else_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let text = format!("[dashboard]\nrestore_folders = [{:?}]", folder.path());
        let config = parse(&text).unwrap();
        let good = target(&config, &wish(folder.path(), "then.db")).unwrap();
        assert_eq!(good, folder.path().join("then.db"));
        for file in [
            "",
            ".",
            "..",
            "../then.db",
            "a/b",
            "/etc/passwd",
            ".hidden",
            "a\nb",
            "a/",
            "./a",
            "a\0b",
        ] {
            assert!(target(&config, &wish(folder.path(), file)).is_err(), "{file:?}");
        }
        assert!(target(&config, &wish(folder.path(), &"x".repeat(300))).is_err());
        assert!(target(&config, &wish(other.path(), "then.db")).is_err());
        assert!(target(&config, &wish(&folder.path().join(".."), "then.db")).is_err());
        for there in ["then.db", "then.db-wal", "then.db-journal"] {
            std::fs::write(folder.path().join(there), "").unwrap();
            assert!(target(&config, &wish(folder.path(), "then.db")).is_err(), "{there}");
            std::fs::remove_file(folder.path().join(there)).unwrap();
        }
        std::os::unix::fs::symlink("/nowhere", folder.path().join("then.db")).unwrap();
        assert!(target(&config, &wish(folder.path(), "then.db")).is_err(), "a link to nothing");
    }
}
