//! Databases by their configuration, each looked at once.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use mantis_engine::EngineKind;
use mantis_snapshot::Engine;

use crate::config::SourceConfig;
use crate::{Error, Source, SourceOptions};

/// Which engine each file is of, by device and inode.
///
/// A file is opened only once to tell: POSIX locks belong to the process, and closing any descriptor of a database lets go of
/// those that SQLite holds on it for a backup that runs.
#[derive(Debug, Default)]
pub(super) struct Sources(Mutex<HashMap<(u64, u64), EngineKind>>);

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
    /// The engine over a database. Blocks.
    pub(super) fn engine(&self, config: &SourceConfig) -> Result<Arc<dyn Engine>, Error> {
        let named = Source::named(&config.path);
        let source = match named {
            Some(source) => source,
            None => {
                let path = Path::new(&config.path);
                let kind = self.kind(path)?;
                Source { kind, path: path.to_owned() }
            }
        };
        Ok(Arc::from(source.engine(&options(config))?))
    }

    fn kind(&self, path: &Path) -> Result<EngineKind, Error> {
        let metadata = std::fs::metadata(path).map_err(|error| Error::Other {
            doing: format!("look at {}", path.display()),
            source: error.into(),
            help: Some("check the source's `path`, and the right to read it".into()),
        })?;
        let file = (metadata.dev(), metadata.ino());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kind) = known.get(&file) {
            return Ok(*kind);
        }
        let kind = Source::detect(path)?.kind;
        known.insert(file, kind);
        Ok(kind)
    }
}

#[cfg(all(test, feature = "sqlite", feature = "file"))]
mod tests {
    use super::*;

    fn config(path: &str) -> SourceConfig {
        let text = format!("[sources.a]\npath = {path:?}\n");
        crate::config::parse(&text)
            .map(|config| config.sources["a"].clone())
            .unwrap_or_else(|_| unreachable!())
    }

    #[test]
    fn a_file_is_looked_at_once() {
        let folder = tempfile::tempdir().unwrap_or_else(|_| unreachable!());
        let path = folder.path().join("a.db").display().to_string();
        assert!(std::fs::write(&path, b"SQLite format 3\0").is_ok());
        let sources = Sources::default();
        assert_eq!(sources.kind(Path::new(&path)).ok(), Some(EngineKind::Sqlite));
        assert!(std::fs::write(&path, b"something else").is_ok());
        assert_eq!(sources.kind(Path::new(&path)).ok(), Some(EngineKind::Sqlite), "the same file");
        assert!(sources.engine(&config("/nowhere/x")).is_err());
        assert!(sources.engine(&config(&format!("file:{path}"))).is_ok());
    }
}
