//! A database by its path.

use std::path::{Path, PathBuf};

use mantis_engine::{EngineKind, detect};
use mantis_snapshot::Engine;

use crate::Error;

/// A database by its path, and which engine reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The engine.
    pub kind: EngineKind,
    /// The path.
    pub path: PathBuf,
}

/// How sources are read, where their engine leaves a choice.
#[derive(Debug, Clone, Copy, Default)]
pub struct SourceOptions {
    /// For SQLite.
    #[cfg(feature = "sqlite")]
    pub sqlite: mantis_engine::sqlite::SqliteOptions,
}

/// The engine that a text names, and the path. No file is looked at.
pub(crate) fn split_engine(text: &str) -> (Option<EngineKind>, &str) {
    let named = text.split_once(':').and_then(|(engine, path)| Some((kind_of(engine)?, path)));
    named.map_or((None, text), |(engine, path)| (Some(engine), path))
}

/// The text that names an engine, if one, and a path.
#[cfg(feature = "daemon")]
pub(crate) fn join_engine(engine: Option<EngineKind>, path: &str) -> String {
    engine.map_or_else(|| path.to_owned(), |engine| format!("{}:{path}", engine.name()))
}

fn kind_of(prefix: &str) -> Option<EngineKind> {
    [EngineKind::Sqlite, EngineKind::Redb, EngineKind::File]
        .into_iter()
        .find(|kind| kind.name() == prefix)
}

impl Source {
    /// A database whose engine is told from its first bytes.
    ///
    /// # Errors
    /// Where the path leads to no readable file, or its first bytes do not tell.
    pub fn detect(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        match detect(&path)? {
            Some(kind) => Ok(Self { kind, path }),
            None => Err(Error::usage(
                format!("cannot tell which engine {} belongs to", path.display()),
                "say it: sqlite:PATH, redb:PATH, or file:PATH for a raw file that nobody writes",
            )),
        }
    }

    /// `sqlite:PATH`, `redb:PATH`, `file:PATH`, or a path whose engine is told from the file.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::named(text).map_or_else(|| Self::detect(text), Ok)
    }

    /// `sqlite:PATH`, `redb:PATH` or `file:PATH`: a database whose engine is named. No file is opened.
    pub(crate) fn named(text: &str) -> Option<Self> {
        let (kind, path) = split_engine(text);
        let kind = kind?;
        // A file whose name begins like an engine's wins: it was there first.
        (!Path::new(text).exists()).then(|| Self { kind, path: PathBuf::from(path) })
    }

    /// The name that a source has when it is given none: its file's name without the extension.
    #[must_use]
    pub fn default_name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or(self.path.as_os_str());
        stem.to_string_lossy().into_owned()
    }

    /// The engine over this database, for one backup after another: it keeps in mind what changed in between.
    ///
    /// # Errors
    /// As [`Self::engine`], and for an engine that cannot do so from outside.
    pub fn follower(&self, options: &SourceOptions) -> Result<Box<dyn Engine>, Error> {
        let _ = options;
        if self.kind != EngineKind::Sqlite {
            return Err(Error::usage(
                format!("{} databases cannot be watched from outside", self.kind.name()),
                "back it up by schedule, or watch it in the application, with the library",
            ));
        }
        #[cfg(feature = "sqlite")]
        {
            use mantis_engine::sqlite::{SqliteEngine, SqliteFollower};
            let engine = SqliteEngine::with_options(&self.path, options.sqlite)?;
            Ok(Box::new(SqliteFollower::new(engine)))
        }
        #[cfg(not(feature = "sqlite"))]
        Err(Error::usage(
            "this build cannot watch SQLite databases",
            "use a build with the feature `sqlite`",
        ))
    }

    /// The engine over this database.
    ///
    /// # Errors
    /// Where the path leads to no regular file, or this build lacks the engine.
    pub fn engine(&self, options: &SourceOptions) -> Result<Box<dyn Engine>, Error> {
        let _ = options;
        match self.kind {
            #[cfg(feature = "sqlite")]
            EngineKind::Sqlite => {
                let engine =
                    mantis_engine::sqlite::SqliteEngine::with_options(&self.path, options.sqlite)?;
                Ok(Box::new(engine))
            }
            #[cfg(feature = "redb")]
            EngineKind::Redb => Ok(Box::new(mantis_engine::redb::ClosedRedb::open(&self.path)?)),
            #[cfg(feature = "file")]
            EngineKind::File => Ok(Box::new(mantis_engine::file::FileEngine::open(&self.path)?)),
            #[allow(unreachable_patterns, reason = "which arms there are depends on features")]
            kind => Err(Error::usage(
                format!("this build cannot read {} databases", kind.name()),
                format!("use a build with the feature `{}`", kind.name()),
            )),
        }
    }
}
