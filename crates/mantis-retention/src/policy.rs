//! What to keep.

/// The rules. A backup is kept if one of them keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// The last so many of each source.
    pub keep_last: Option<u32>,
}

impl Policy {
    /// Whether it has no rule: it would keep nothing but the newest of each source.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keep_last.is_none()
    }
}
