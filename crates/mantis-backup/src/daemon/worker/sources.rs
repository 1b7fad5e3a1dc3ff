//! Databases by their configuration, each looked at once.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use mantis_engine::EngineKind;
use mantis_snapshot::Engine;

use crate::config::SourceConfig;
use crate::{Error, Source, SourceOptions};

/// Which engine each file is of, by device and inode.
///
/// A file is opened only once to tell: POSIX locks belong to the process, and closing any descriptor of a database lets go of
/// those that SQLite holds on it for a backup that runs.
#[derive(Default)]
pub(super) struct Sources {
    kinds: Mutex<HashMap<(u64, u64), EngineKind>>,
    /// What follows a source for its watch, by the watch's job: it knows what changed since the last backup. Of no other job: what is stored
    /// elsewhere, or under another name, is not stored where this watch stores.
    followers: Mutex<HashMap<String, Follower>>,
}

/// What a follower follows, as long as a watch has it.
type Follower = (SourceConfig, Weak<dyn Engine>);

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(feature = "sqlite")]
fn options(config: &SourceConfig) -> SourceOptions {
    use crate::config::JournalLocking;
    use mantis_engine::sqlite::{JournalLock, SqliteOptions};
    let journal_lock = match config.journal_lock {
        JournalLocking::Spool => JournalLock::Spool,
        JournalLocking::Hold => JournalLock::Hold,
        JournalLocking::Refuse => JournalLock::Refuse,
    };
    SourceOptions { sqlite: SqliteOptions { journal_lock, immutable: config.immutable } }
}

#[cfg(not(feature = "sqlite"))]
fn options(config: &SourceConfig) -> SourceOptions {
    let _ = config;
    SourceOptions::default()
}

impl Sources {
    /// The engine over a database, for a job: that of its own watch, where it is watched. Blocks.
    pub(super) fn engine(
        &self,
        job: &str,
        config: &SourceConfig,
    ) -> Result<Arc<dyn Engine>, Error> {
        let followed = lock(&self.followers)
            .get(job)
            .and_then(|(of, follower)| if of == config { follower.upgrade() } else { None });
        if let Some(follower) = followed {
            return Ok(follower);
        }
        Ok(Arc::from(self.source(config)?.engine(&options(config))?))
    }

    /// What follows a database, for the watch of a job. Blocks.
    pub(super) fn follower(
        &self,
        job: &str,
        config: &SourceConfig,
    ) -> Result<Arc<dyn Engine>, Error> {
        let follower: Arc<dyn Engine> = Arc::from(self.source(config)?.follower(&options(config))?);
        let mut followers = lock(&self.followers);
        followers.retain(|_, (_, follower)| follower.strong_count() > 0);
        followers.insert(job.to_owned(), (config.clone(), Arc::downgrade(&follower)));
        Ok(follower)
    }

    fn source(&self, config: &SourceConfig) -> Result<Source, Error> {
        Ok(match Source::named(&config.path) {
            Some(source) => {
                // Known from here on: another source may lead to the same file without naming its engine.
                if let Ok(metadata) = std::fs::metadata(&source.path) {
                    self.known().entry((metadata.dev(), metadata.ino())).or_insert(source.kind);
                }
                source
            }
            None => {
                let path = Path::new(&config.path);
                Source { kind: self.kind(path)?, path: path.to_owned() }
            }
        })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(u64, u64), EngineKind>> {
        lock(&self.kinds)
    }

    fn kind(&self, path: &Path) -> Result<EngineKind, Error> {
        let metadata = std::fs::metadata(path).map_err(|error| Error::Other {
            doing: format!("look at {}", path.display()),
            source: error.into(),
            help: Some("check the source's `path`, and the right to read it".into()),
        })?;
        let file = (metadata.dev(), metadata.ino());
        // Held while the file is looked at: no backup of it begins meanwhile.
        let mut known = self.known();
        if let Some(kind) = known.get(&file) {
            return Ok(*kind);
        }
        let kind = Source::detect(path)?.kind;
        known.insert(file, kind);
        Ok(kind)
    }
}

#[cfg(all(test, feature = "sqlite", feature = "file"))]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn config(path: &str) -> SourceConfig {
        let config = crate::config::parse(&format!("[sources.a]\npath = {path:?}\n"));
        config.unwrap().sources["a"].clone()
    }

    #[test]
    fn a_file_is_looked_at_once_and_not_where_its_engine_was_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db").display().to_string();
        std::fs::write(&path, b"SQLite format 3\0").unwrap();
        let sources = Sources::default();
        assert_eq!(sources.kind(Path::new(&path)).unwrap(), EngineKind::Sqlite);
        std::fs::write(&path, b"something else").unwrap();
        assert_eq!(sources.kind(Path::new(&path)).unwrap(), EngineKind::Sqlite, "the same file");
        assert!(sources.engine("s/a", &config("/nowhere/x")).is_err());
        let named = folder.path().join("b").display().to_string();
        std::fs::write(&named, b"nothing known").unwrap();
        assert!(sources.engine("s/a", &config(&format!("file:{named}"))).is_ok());
        assert_eq!(sources.kind(Path::new(&named)).unwrap(), EngineKind::File);
    }

    #[test]
    fn what_a_watch_knows_is_known_to_its_own_job_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db").display().to_string();
        std::fs::write(&path, b"SQLite format 3\0").unwrap();
        let (sources, config) = (Sources::default(), config(&path));
        let follower = sources.follower("live/a", &config).unwrap();
        let same = |job| Arc::ptr_eq(&sources.engine(job, &config).unwrap(), &follower);
        assert!(same("live/a"));
        assert!(!same("nightly/a"), "it stores elsewhere");
        let mut other = config.clone();
        other.immutable = true;
        assert!(!Arc::ptr_eq(&sources.engine("live/a", &other).unwrap(), &follower));
        drop(follower);
        assert!(!sources.followers.lock().unwrap().is_empty());
        assert!(sources.engine("live/a", &config).is_ok(), "one that is gone is not used");
    }
}
