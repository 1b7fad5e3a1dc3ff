//! A backup, as far as retention is concerned.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// A time in milliseconds since 1970, UTC, as one of the calendar; past the calendar's ends, its nearer end.
#[must_use]
pub fn calendar_time(millis: i64) -> DateTime<Utc> {
    let end = if millis < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    DateTime::from_timestamp_millis(millis).unwrap_or(end)
}

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

    /// When its moment was taken.
    #[must_use]
    pub fn time(&self) -> DateTime<Utc> {
        calendar_time(self.created_at)
    }
}
