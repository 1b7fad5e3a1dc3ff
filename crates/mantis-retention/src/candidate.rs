//! A backup, as far as retention is concerned.

use std::collections::BTreeMap;

/// Whether a backup is one that can be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It was committed and can be read.
    #[default]
    Good,
    /// It is being made.
    Running,
    /// It failed, or it is damaged.
    Failed,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<Id> {
    /// Names it.
    pub id: Id,
    /// What it is of: each source is planned for itself.
    pub source: String,
    /// When its moment was taken, in milliseconds since 1970, UTC.
    pub created_at: i64,
    /// The user's own words on it.
    pub tags: BTreeMap<String, String>,
    /// About how many bytes its removal frees.
    pub bytes: u64,
    /// Only good ones are counted, and only good ones are removed.
    pub state: State,
}

impl<Id> Candidate<Id> {
    /// A good backup without tags, of unknown size.
    pub fn new(id: Id, source: impl Into<String>, created_at: i64) -> Self {
        Self {
            id,
            source: source.into(),
            created_at,
            tags: BTreeMap::new(),
            bytes: 0,
            state: State::Good,
        }
    }
}
