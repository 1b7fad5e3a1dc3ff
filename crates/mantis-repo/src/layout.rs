//! The names of all objects of a repository.

use mantis_sink::{InvalidKey, ObjectKey};

use crate::{ObjectHash, SessionId};

/// Where an object stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// What the repository is.
    Params,
    /// The same again, should the first be damaged.
    ParamsCopy,
    /// A session began.
    Session(SessionId),
    /// A segment that a session wrote.
    Segment(SessionId, ObjectHash),
    /// A manifest that a session wrote.
    Manifest(SessionId, ObjectHash),
    /// How a session ended: creating it is the commit.
    Outcome(SessionId),
    /// The backup that a session committed is no longer wanted.
    Forget(SessionId),
}

impl Place {
    /// The folder of all outcomes.
    pub const OUTCOMES: &'static str = "out";
    /// The folder of all sessions that began.
    pub const SESSIONS: &'static str = "sess";
    /// The folder of all backups that are no longer wanted.
    pub const FORGOTTEN: &'static str = "forget";

    /// The object's name.
    ///
    /// # Errors
    /// None: every place has a valid name.
    pub fn key(&self) -> Result<ObjectKey, InvalidKey> {
        ObjectKey::new(match self {
            Self::Params => "mantis.repo".into(),
            Self::ParamsCopy => "mantis.repo.copy".into(),
            Self::Session(s) => format!("sess/{s}"),
            Self::Segment(s, hash) => format!("seg/{s}/{hash}"),
            Self::Manifest(s, hash) => format!("man/{s}/{hash}"),
            Self::Outcome(s) => format!("out/{s}"),
            Self::Forget(s) => format!("forget/{s}"),
        })
    }

    /// The session of an object in a folder with one object for each session.
    #[must_use]
    pub fn session_of(key: &ObjectKey) -> Option<SessionId> {
        key.as_str().split_once('/')?.1.parse().ok()
    }
}
