//! Why a backup is kept.

use std::fmt;

/// Why a backup is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is the newest of its source: no rule removes that.
    Newest,
    /// It is among the last ones: which of them, from 1.
    Last(u32),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("newest of its source"),
            Self::Last(rank) => write!(f, "last {rank}"),
        }
    }
}
