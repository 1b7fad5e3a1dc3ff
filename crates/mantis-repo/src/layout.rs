//! The names of all objects of a repository.

use mantis_sink::{InvalidKey, ObjectKey};

use crate::{CollectionId, MemberId, ObjectHash, RepoError, SessionId, SlotId};

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
    /// The list of the segments of a layer, where it is too long for a manifest.
    Layer(SessionId, ObjectHash),
    /// A manifest that a session wrote.
    Manifest(SessionId, ObjectHash),
    /// How a session ended: creating it is the commit.
    Outcome(SessionId),
    /// The backup that a session committed is no longer wanted.
    Forget(SessionId),
    /// One password's way to the keyring.
    KeySlot(SlotId),
    /// The keyring with so many master keys.
    Keyring(u32),
    /// The same again, should the first be damaged.
    KeyringCopy(u32),
    /// What a collector is about to free.
    Condemned(CollectionId),
    /// What a member of a fleet tells of itself, for the nth time.
    Beat(MemberId, u64),
    /// The names of the databases that a member of a fleet has.
    Names(MemberId, ObjectHash),
}

impl Place {
    /// The folder of all outcomes.
    pub const OUTCOMES: &'static str = "out";
    /// The folder of all sessions that began.
    pub const SESSIONS: &'static str = "sess";
    /// The folder of all backups that are no longer wanted.
    pub const FORGOTTEN: &'static str = "forget";
    /// The folder of all segments.
    pub const SEGMENTS: &'static str = "seg";
    /// The folder of all manifests.
    pub const MANIFESTS: &'static str = "man";
    /// The folder of all lists of segments.
    pub const LAYERS: &'static str = "lay";
    /// The folder of all keys.
    pub const KEYS: &'static str = "keys";
    /// The folder of all lists of what collectors are about to free.
    pub const COLLECTIONS: &'static str = "gc";
    /// The folder of all members of a fleet.
    pub const FLEET: &'static str = "fleet";

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
            Self::Layer(s, hash) => format!("lay/{s}/{hash}"),
            Self::KeySlot(slot) => format!("keys/{slot}"),
            Self::Keyring(number) => format!("keys/ring-{number:010}"),
            Self::KeyringCopy(number) => format!("keys/ring-{number:010}.copy"),
            Self::Condemned(collection) => format!("gc/{collection}"),
            Self::Beat(member, number) => format!("fleet/{member}/{number:020}"),
            Self::Names(member, hash) => format!("fleet/{member}/{hash}"),
        })
    }

    /// The number of a keyring by its name; none for a copy or a slot.
    #[must_use]
    pub fn keyring_of(key: &ObjectKey) -> Option<u32> {
        key.as_str().strip_prefix("keys/ring-")?.parse().ok()
    }

    /// The slot of a key by its name.
    #[must_use]
    pub fn slot_of(key: &ObjectKey) -> Option<SlotId> {
        key.as_str().strip_prefix("keys/")?.parse().ok()
    }

    /// The session and the hash of a segment, a manifest or a list of segments.
    #[must_use]
    pub fn written_by(key: &ObjectKey) -> Option<(SessionId, ObjectHash)> {
        let mut parts = key.as_str().split('/').skip(1);
        let (session, hash) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some((session, hash))
    }

    /// The collection by the name of its list.
    #[must_use]
    pub fn collection_of(key: &ObjectKey) -> Option<CollectionId> {
        key.as_str().strip_prefix("gc/")?.parse().ok()
    }

    /// The session of an object in a folder with one object for each session.
    #[must_use]
    pub fn session_of(key: &ObjectKey) -> Option<SessionId> {
        key.as_str().split_once('/')?.1.parse().ok()
    }
}
/// The name of a segment.
pub(crate) fn segment_key(session: SessionId, hash: ObjectHash) -> Result<ObjectKey, RepoError> {
    let key = Place::Segment(session, hash).key();
    key.map_err(|error| RepoError::damaged("a segment", error))
}
