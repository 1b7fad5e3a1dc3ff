//! A time as stored: milliseconds since 1970, UTC.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// A time of the system's clock; the nearest that there is for one out of range.
    pub(crate) fn of(time: SystemTime) -> Self {
        let millis = |length: std::time::Duration| i64::try_from(length.as_millis());
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self(millis(since).unwrap_or(i64::MAX)),
            Err(before) => Self(millis(before.duration()).map_or(i64::MIN, |before| -before)),
        }
    }
}
