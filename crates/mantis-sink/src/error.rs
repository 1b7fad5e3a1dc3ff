//! What can go wrong with a store.

use std::io;

use crate::ObjectKey;

/// An error with all its causes on one line.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", error_chain(cause)),
        None => error.to_string(),
    }
}

/// What went wrong, as far as a caller acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SinkErrorKind {
    /// There is no such object, or no such folder or bucket.
    NotFound,
    /// The object exists; nothing was written.
    AlreadyExists,
    /// The store does not allow it.
    PermissionDenied,
    /// There is nothing to prove oneself with to the store, or it cannot be had.
    NoCredentials,
    /// The store is full.
    NoSpace,
    /// The object is shorter or longer than it must be.
    WrongLength,
    /// The store is not to be reached, or asks to come again later.
    Unavailable,
    /// This build or this store cannot do that.
    Unsupported,
    /// The address of the store makes no sense.
    InvalidAddress,
    /// Anything else.
    Other,
}

/// Why a call to a store failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {object} in {store}")]
pub struct SinkError {
    kind: SinkErrorKind,
    doing: &'static str,
    object: String,
    store: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SinkError {
    /// An error on one object.
    pub fn new(
        kind: SinkErrorKind,
        doing: &'static str,
        object: impl ToString,
        store: impl ToString,
    ) -> Self {
        Self { kind, doing, object: object.to_string(), store: store.to_string(), source: None }
    }

    /// The same with its cause.
    #[must_use]
    pub fn caused_by(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// An error of the operating system.
    pub fn io(
        doing: &'static str,
        object: impl ToString,
        store: impl ToString,
        source: io::Error,
    ) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => SinkErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => SinkErrorKind::AlreadyExists,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                SinkErrorKind::PermissionDenied
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SinkErrorKind::NoSpace,
            io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => SinkErrorKind::Unavailable,
            _ => SinkErrorKind::Other,
        };
        Self::new(kind, doing, object, store).caused_by(source)
    }

    /// An object has another length than it must have.
    pub fn wrong_length(key: &ObjectKey, store: impl ToString, found: u64, wanted: u64) -> Self {
        Self::new(SinkErrorKind::WrongLength, "read", key, store)
            .caused_by(format!("it has {found} bytes where {wanted} are needed"))
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> SinkErrorKind {
        self.kind
    }

    /// Whether the object, or the whole store, is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == SinkErrorKind::NotFound
    }

    /// Whether the object was there already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.kind == SinkErrorKind::AlreadyExists
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind == SinkErrorKind::Unavailable
    }

    /// What a person can do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self.kind {
            SinkErrorKind::NotFound => {
                "check the repository's address; its disk must be mounted, its bucket must be there"
            }
            SinkErrorKind::AlreadyExists => "someone else wrote it first; run the command again",
            SinkErrorKind::PermissionDenied => "give this user the right to read and write there",
            SinkErrorKind::NoCredentials => {
                "set the provider's usual variables or files (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, \
                 AZURE_STORAGE_ACCOUNT_KEY, …)"
            }
            SinkErrorKind::NoSpace => "free some space, or use another place",
            SinkErrorKind::WrongLength => "run `mantis verify` to see what is damaged",
            SinkErrorKind::Unavailable => "check the connection, then run the command again",
            SinkErrorKind::Unsupported => "use another store, or a build with more features",
            SinkErrorKind::InvalidAddress => "write it as a path, or as scheme://place",
            SinkErrorKind::Other => "see the cause above",
        }
    }
}
