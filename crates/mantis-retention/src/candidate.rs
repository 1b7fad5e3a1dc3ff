//! A backup, as far as retention is concerned.

/// A good backup: one that was committed and can be read. Others must not be given to the planner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<Id> {
    /// Names it.
    pub id: Id,
    /// What it is of: each source is planned for itself.
    pub source: String,
    /// When its moment was taken, in milliseconds since 1970, UTC.
    pub created_at: i64,
}
