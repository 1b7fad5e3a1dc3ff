//! What can go wrong with a repository.

use mantis_sink::SinkError;
use mantis_stream::StreamError;

/// Why a repository, or something in it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// There is no repository.
    #[error("there is no repository at {location}")]
    NoRepository {
        /// Where it was looked for.
        location: String,
    },
    /// There is one already.
    #[error("there is a repository at {location} already")]
    AlreadyExists {
        /// Where.
        location: String,
    },
    /// A newer version of the format, or a feature that this version does not have.
    #[error("{object} needs {needs}, which this version of mantis does not know")]
    TooNew {
        /// The object.
        object: String,
        /// What it needs.
        needs: String,
    },
    /// An object is not what was written.
    #[error("{object} is damaged: {what}")]
    Damaged {
        /// The object.
        object: String,
        /// What is wrong with it.
        what: String,
    },
    /// A frame of an object cannot be read or made.
    #[error("frame {frame} of {object}")]
    Frame {
        /// The object.
        object: String,
        /// Which frame, from 0.
        frame: usize,
        /// What is wrong with it.
        source: StreamError,
    },
    /// The store failed.
    #[error("the repository's store failed")]
    Sink {
        /// How.
        #[from]
        source: SinkError,
    },
    /// No backup is what was asked for.
    #[error("no backup {wanted}")]
    NoSuchBackup {
        /// What was asked for.
        wanted: String,
    },
    /// More than one backup is what was asked for.
    #[error("{count} backups have ids that start with {prefix}")]
    Ambiguous {
        /// The start given.
        prefix: String,
        /// How many there are.
        count: usize,
    },
    /// A commit is named, and not of which source.
    #[error("commits of more than one source could be meant: {:?} and {:?}, at least", sources[0], sources[1])]
    ManySources {
        /// Two of them.
        sources: [String; 2],
    },
    /// Which backups are from before a commit cannot be told.
    #[error("which backups are from before commit {lsn} cannot be told: {why}")]
    UnknownCommit {
        /// Its position.
        lsn: u64,
        /// Why not.
        why: &'static str,
    },
    /// A collector gave this session up: what it wrote may be gone.
    #[error("the session was given up by a collector before it could commit")]
    Fenced,
    /// Pages came in another order or another shape than announced.
    #[error("the pages of the backup are not what was announced: {what}")]
    WrongPages {
        /// What is wrong.
        what: String,
    },
    /// Restored pages could not be passed on.
    #[error("write restored pages")]
    Target {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What waited on the local disk for the store cannot be read back.
    #[error("read back what waited for the store in {folder}")]
    Spool {
        /// The folder.
        folder: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A stage of the work stopped.
    #[error("the work stopped")]
    Stream {
        /// Why.
        source: StreamError,
    },
    /// The repository is encrypted and neither password nor identity was given.
    #[error("the repository at {location} is encrypted, and no password was given")]
    NeedsPassword {
        /// Where it is.
        location: String,
    },
    /// No key slot opens with what was given.
    #[error("the {credential} opens none of the keys of the repository at {location}")]
    WrongPassword {
        /// What was given: `password` or `identity`.
        credential: &'static str,
        /// Where it is.
        location: String,
    },
    /// A password or an identity was given for a repository that is not encrypted.
    #[error("a password or identity was given, but the repository at {location} is not encrypted")]
    NotEncrypted {
        /// Where it is.
        location: String,
    },
    /// This build cannot encrypt.
    #[error("this build has no encryption")]
    NoEncryption,
    /// No key has that id, or several have.
    #[error("{count} keys have an id that starts with {prefix}")]
    NoSuchKey {
        /// The start given.
        prefix: String,
        /// How many have it.
        count: usize,
    },
    /// The last key cannot be removed.
    #[error("key {id} is the only one: without it nobody could read the repository again")]
    LastKey {
        /// The key.
        id: crate::SlotId,
    },
    /// There are as many keys as there may be.
    #[error("the repository has {limit} keys, as many as there may be")]
    TooManyKeys {
        /// How many that is.
        limit: usize,
    },
    /// A key could not be made.
    #[error("make a key: {what}")]
    Kdf {
        /// Why not.
        what: String,
    },
    /// What a collector relies on is not as it must be; nothing was removed.
    #[error("the collection stopped before it removed anything: {what}")]
    Unsafe {
        /// What is wrong.
        what: String,
    },
    /// The store does not see to it that of two who create one object, one wins.
    #[error(
        "it could not be shown that of two who create one object in {location}, one wins: {what}"
    )]
    NotExclusive {
        /// Where it is.
        location: String,
        /// What was found.
        what: String,
    },
    /// There is another repository where a replica is to be.
    #[error("the repository at {location} is another one, and no replica of this one")]
    OtherRepository {
        /// Where it is.
        location: String,
    },
    /// The newest backup of a source is kept unless it is named itself.
    #[error("backup {id} is the newest of source {source_name:?}")]
    NewestOfSource {
        /// The backup.
        id: crate::BackupId,
        /// Its source.
        source_name: String,
    },
    /// Someone asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl From<StreamError> for RepoError {
    fn from(source: StreamError) -> Self {
        match source {
            StreamError::Cancelled => Self::Cancelled,
            source => Self::Stream { source },
        }
    }
}

impl RepoError {
    pub(crate) fn damaged(object: impl ToString, what: impl ToString) -> Self {
        Self::Damaged { object: object.to_string(), what: what.to_string() }
    }

    /// Whether there is no repository.
    #[must_use]
    pub const fn is_no_repository(&self) -> bool {
        matches!(self, Self::NoRepository { .. })
    }

    /// Whether it is the password that is missing or wrong.
    #[must_use]
    pub const fn is_password(&self) -> bool {
        matches!(
            self,
            Self::NeedsPassword { .. } | Self::WrongPassword { .. } | Self::NotEncrypted { .. }
        )
    }

    /// Whether it failed because someone asked for that.
    #[must_use]
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Whether stored bytes are missing or are not what was written, as against a store that failed.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Frame { .. } => true,
            Self::Sink { source } => {
                source.is_not_found() || source.kind() == mantis_sink::SinkErrorKind::WrongLength
            }
            _ => false,
        }
    }

    /// Whether trying the same again may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Fenced => true,
            Self::Sink { source } => source.is_retryable(),
            _ => false,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoRepository { .. } => {
                "make one with `mantis init`, or check the address and the mount"
            }
            Self::AlreadyExists { .. } => "use it as it is, or choose another place",
            Self::TooNew { .. } => "use a newer mantis",
            Self::Damaged { .. } | Self::Frame { .. } => {
                "run `mantis verify` to see which backups are touched; others restore as ever"
            }
            Self::Sink { source } => source.help(),
            Self::NoSuchBackup { .. } => "`mantis list` shows the backups there are",
            Self::Ambiguous { .. } => "give more digits of the id",
            Self::ManySources { .. } => "name one by --source",
            Self::UnknownCommit { .. } => "name a time instead: --at",
            Self::Fenced => "run the backup again; nothing was lost",
            Self::WrongPages { .. } => "run the backup again; nothing was stored",
            Self::Target { .. } => "check the space and the rights at the target",
            Self::Spool { .. } => "check that disk, and run the backup again; nothing was stored",
            Self::NeedsPassword { .. } => {
                "give it with --password-file, --password-command or MANTIS_PASSWORD, or an identity of age with \
                 --identity-file"
            }
            Self::WrongPassword { .. } => {
                "check what was given, and that this is the right repository"
            }
            Self::NotEncrypted { .. } => {
                "leave it out, if the repository never was encrypted; if it was, someone replaced it"
            }
            Self::NoEncryption => "use a build with the feature `encryption`",
            Self::NoSuchKey { .. } => "`mantis key list` shows the keys there are",
            Self::LastKey { .. } => "add another one first, with `mantis key add`",
            Self::TooManyKeys { .. } => {
                "remove one that is of no use any more, with `mantis key remove`"
            }
            Self::Kdf { .. } => "another process may need less memory; then try again",
            Self::Unsafe { .. } => {
                "run `mantis verify`, then `mantis repair`; a backup that stays unreadable can be forgotten by its id, and is freed after its time of grace"
            }
            Self::NotExclusive { .. } => {
                "see `mantis doctor`; while nothing else uses the repository, --exclusive goes without"
            }
            Self::OtherRepository { .. } => "choose an empty place for the replica",
            Self::NewestOfSource { .. } => "name it by its id, if it is to go all the same",
            Self::Stream { .. } | Self::Cancelled => return None,
        })
    }
}
