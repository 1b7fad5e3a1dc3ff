//! Why a backup is kept, and why it goes.

use std::fmt;

use crate::{Period, Span, Unit};

/// Why a backup is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is the newest of its source: nothing removes that.
    Newest,
    /// It is among the last ones: which of them, from 1.
    Last(u32),
    /// It is the last of a period.
    Period(Period),
    /// It is the oldest, and a rule has not yet kept as many as it may: history reaches back as far as it can.
    Oldest(Unit),
    /// It is young enough.
    Within(Span),
    /// It has a tag.
    Tag(String),
    /// There is no rule.
    NoRule,
    /// It claims to be of a time that has not come: it is not counted, and not removed.
    Future,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("newest of its source"),
            Self::Last(rank) => write!(f, "last {rank}"),
            Self::Period(period) => period.fmt(f),
            Self::Oldest(unit) => write!(f, "{} (oldest)", unit.adjective()),
            Self::Within(span) => write!(f, "within {span}"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::NoRule => f.write_str("no rule"),
            Self::Future => f.write_str("its time is in the future"),
        }
    }
}

/// Why a backup goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// No rule keeps it.
    NoRule,
    /// It is older than the cap.
    MaxAge,
    /// There are as many newer ones as the cap allows.
    MaxCount,
    /// Space is short.
    MinFree,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRule => "no rule keeps it",
            Self::MaxAge => "older than max_age",
            Self::MaxCount => "more than max_count",
            Self::MinFree => "to have min_free",
        })
    }
}
