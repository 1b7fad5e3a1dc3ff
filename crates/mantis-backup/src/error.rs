//! What can go wrong, from any layer.

use mantis_repo::RepoError;
use mantis_sink::SinkError;
use mantis_snapshot::SnapshotError;

/// Why a job failed. Each variant says whose error it is; the source chain says the rest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source, or the restored file.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The repository.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The store.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The configuration file.
    #[cfg(feature = "daemon")]
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// What was asked for makes no sense.
    #[error("{message}")]
    Usage {
        /// Why not.
        message: String,
        /// What would make sense.
        help: String,
    },
    /// There is less space than is to be left free.
    #[error(
        "the repository {place} is nearly full: {free} bytes are free there, and {wanted} are to be left free"
    )]
    Full {
        /// The repository's name.
        place: String,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are to be.
        wanted: u64,
    },
    /// It took longer than allowed.
    #[error("{what} was not done within {} s, and was given up", after.as_secs_f32())]
    TimedOut {
        /// What.
        what: String,
        /// How long it was allowed to take.
        after: std::time::Duration,
    },
    /// Anything else.
    #[error("{doing}")]
    Other {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What to do about it, where that is known.
        help: Option<String>,
    },
}

/// What can be said of an error by what the operating system reported, where there is nothing better.
fn help_by_cause(error: &Error) -> &'static str {
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        if let Some(error) = next.downcast_ref::<std::io::Error>() {
            return match error.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    "free some space"
                }
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    "give this user the right to read and write there"
                }
                std::io::ErrorKind::NotFound => "check that it is there",
                _ => "check the disk, and that this process may open enough files (ulimit -n)",
            };
        }
        cause = next.source();
    }
    "see the causes above; with -v there is more about them"
}

impl Error {
    /// The error with all its causes on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        mantis_sink::error_chain(self)
    }

    /// The same, and what to do about it.
    #[cfg(feature = "daemon")]
    pub(crate) fn chain_and_help(&self) -> String {
        let help = self.help().map(|help| format!("; {help}")).unwrap_or_default();
        format!("{}{help}", self.chain())
    }

    /// Something asked for that makes no sense.
    pub fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: help.into() }
    }

    /// A failure of the operating system.
    pub fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self::Other { doing: doing.into(), source: source.into(), help: None }
    }

    /// Whether it failed because someone asked for that.
    #[must_use]
    pub const fn is_cancelled(&self) -> bool {
        match self {
            Self::Snapshot(error) => error.is_cancelled(),
            Self::Repo(error) => error.is_cancelled(),
            _ => false,
        }
    }

    /// Whether trying the same again may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Snapshot(error) => error.is_retryable(),
            Self::Repo(error) => error.is_retryable(),
            Self::Sink(error) => error.is_retryable(),
            Self::TimedOut { .. } | Self::Full { .. } => true,
            #[cfg(feature = "daemon")]
            Self::Config(_) => false,
            Self::Usage { .. } | Self::Other { .. } => false,
        }
    }

    /// What a person can do about it; nothing for what someone asked for.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        let by_cause = || (!self.is_cancelled()).then(|| help_by_cause(self).to_owned());
        self.own_help().or_else(by_cause)
    }

    fn own_help(&self) -> Option<String> {
        match self {
            Self::Snapshot(error) => error.help(),
            Self::Repo(RepoError::Target { source }) => {
                source.downcast_ref::<SnapshotError>().and_then(SnapshotError::help)
            }
            Self::Repo(error) => error.help().map(str::to_owned),
            Self::Sink(error) => Some(error.help().to_owned()),
            #[cfg(feature = "daemon")]
            Self::Config(error) => Some(error.help().to_owned()),
            Self::Usage { help, .. } => Some(help.clone()),
            Self::Full { .. } => Some(
                "make room: forget and prune more, or lower `min_free_space` of the repository"
                    .into(),
            ),
            Self::TimedOut { .. } => Some("allow more time with --timeout".into()),
            Self::Other { help, .. } => help.clone(),
        }
    }
}
