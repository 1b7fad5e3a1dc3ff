//! What can go wrong while a moment is taken or read.

use std::time::Duration;

use mantis_page::PageNo;

/// A foreign error, as the cause of ours.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a snapshot cannot be taken, read or finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// As many snapshots as allowed are open.
    #[error("{limit} snapshots are open already, and no more are allowed")]
    TooMany {
        /// How many are allowed.
        limit: usize,
    },
    /// The moment did not come in time, or the snapshot lived too long.
    #[error("{doing} {object}: not done within {} s", after.as_secs_f32())]
    TimedOut {
        /// What was being done.
        doing: &'static str,
        /// On what.
        object: String,
        /// How long it was allowed to take.
        after: Duration,
    },
    /// Someone asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The moment is gone: the source changed in a way that the snapshot cannot bridge.
    #[error("the snapshot of {object} is lost: {reason}")]
    Lost {
        /// The source.
        object: String,
        /// What happened to it.
        reason: String,
    },
    /// The source is nothing that can be backed up this way.
    #[error("cannot back up {object}: {reason}")]
    Unsupported {
        /// The source.
        object: String,
        /// Why not.
        reason: String,
        /// What to do instead.
        help: String,
    },
    /// A page could not be read.
    #[error("read pages from {first} on of {object}")]
    Read {
        /// The source.
        object: String,
        /// The first page of the failed read.
        first: PageNo,
        /// Why.
        source: BoxError,
    },
    /// The engine or the operating system refused something.
    #[error("{doing} {object}")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// On what.
        object: String,
        /// Why it failed.
        source: BoxError,
        /// What to do about it, where that is known.
        help: Option<String>,
        /// Whether trying again may succeed.
        retryable: bool,
    },
}

impl SnapshotError {
    /// An engine's failure with nothing more to say about it.
    pub fn engine(doing: &'static str, object: impl ToString, source: impl Into<BoxError>) -> Self {
        let object = object.to_string();
        Self::Engine { doing, object, source: source.into(), help: None, retryable: false }
    }

    /// Whether a new snapshot may succeed where this one did not.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::TooMany { .. } | Self::TimedOut { .. } | Self::Lost { .. } => true,
            Self::Engine { retryable, .. } => *retryable,
            Self::Cancelled | Self::Unsupported { .. } | Self::Read { .. } => false,
        }
    }

    /// Whether it failed because someone asked for that.
    #[must_use]
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// What a person can do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::TooMany { .. } => {
                "wait for a running backup to end, or allow more at once".into()
            }
            Self::TimedOut { .. } => {
                "try again when the database is less busy, or allow more time".into()
            }
            Self::Lost { .. } => "run the backup again; nothing was stored".into(),
            Self::Unsupported { help, .. } => help.clone(),
            Self::Engine { help, .. } => return help.clone(),
            Self::Read { .. } => {
                "check the disk that holds the source, then run the backup again".into()
            }
            Self::Cancelled => return None,
        })
    }
}
