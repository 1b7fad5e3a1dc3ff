//! The position of a commit in an engine's log.

use std::fmt;

/// The position of a commit in an engine's log: larger is later, within one timeline.
///
/// What the number counts is the engine's affair (frames of a WAL, transaction ids, change
/// counters). Positions of two databases, or of one database before and after its log began
/// anew, cannot be compared; the engine's timeline says whether they can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// Wraps an engine's own position.
    #[must_use]
    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    /// The engine's own position.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Lsn {
    /// Two halves of eight hexadecimal digits, as PostgreSQL prints its log positions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:08X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_both_halves() {
        assert_eq!(Lsn::new((3 << 32) | 0xBEEF).to_string(), "3/0000BEEF");
    }
}
