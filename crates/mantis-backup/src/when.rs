//! Times as people and JSON write them: RFC 3339.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use mantis_repo::UnixMillis;

/// Text that names no time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidTime(String);

impl fmt::Display for InvalidTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no time: write it as 2026-11-24T14:00:00Z or 2026-11-24T15:00:00+01:00",
            self.0
        )
    }
}

impl std::error::Error for InvalidTime {}

/// A time in RFC 3339, in UTC, with milliseconds.
#[must_use]
pub fn format_time(time: UnixMillis) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(time.0);
    time.map_or_else(
        || "a time out of range".into(),
        |time| time.to_rfc3339_opts(SecondsFormat::Millis, true),
    )
}

/// A time in RFC 3339, in its own zone, with seconds.
#[cfg(feature = "daemon")]
pub(crate) fn format_seconds<Z: chrono::TimeZone>(time: &DateTime<Z>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Reads a time in RFC 3339.
///
/// # Errors
/// [`InvalidTime`] for any other text.
pub fn parse_time(text: &str) -> Result<UnixMillis, InvalidTime> {
    let time =
        DateTime::parse_from_rfc3339(text.trim()).map_err(|_| InvalidTime(text.to_owned()))?;
    Ok(UnixMillis(time.timestamp_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_comes_back_from_its_text_in_any_zone() {
        let time = UnixMillis(1_795_528_800_123);
        assert_eq!(parse_time(&format_time(time)), Ok(time));
        assert_eq!(parse_time("2026-11-24T15:00:00+01:00"), parse_time("2026-11-24T14:00:00Z"));
        assert!(parse_time("yesterday").is_err());
        assert_eq!(format_time(UnixMillis(i64::MAX)), "a time out of range");
    }
}
