//! Times as people and JSON write them: RFC 3339.

use std::fmt;
#[cfg(feature = "cli")]
use std::time::Duration;

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

/// A moment that people mean: a time as [`parse_time`] reads it, `now`, or so long ago: `5 minutes ago`, `2h ago`.
///
/// # Errors
/// How it is written.
#[cfg(feature = "cli")]
pub(crate) fn parse_moment(text: &str) -> Result<UnixMillis, String> {
    moment_at(text, crate::clock::now())
}

#[cfg(feature = "cli")]
fn moment_at(text: &str, now: UnixMillis) -> Result<UnixMillis, String> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") {
        return Ok(now);
    }
    let Some(long) = text.strip_suffix("ago") else {
        let how = |error: InvalidTime| format!("{error}, or as \"5 minutes ago\"");
        return parse_time(text).map_err(how);
    };
    let how = || {
        let units = "seconds, minutes, hours, days or weeks";
        format!(
            "{text:?} is no moment: it is written as \"5 minutes ago\" or \"2h ago\", in {units}"
        )
    };
    let long = long_of(long).ok_or_else(how)?;
    let before = i64::try_from(long.as_millis()).ok().and_then(|long| now.0.checked_sub(long));
    before.map(UnixMillis).ok_or_else(how)
}

/// How long `5 minutes` is.
#[cfg(feature = "cli")]
fn long_of(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = (&text[..end], text[end..].trim());
    let (times, unit) = match unit.strip_suffix('s').filter(|unit| unit.len() > 1).unwrap_or(unit) {
        "second" | "sec" => (1, "s"),
        "minute" | "min" => (1, "m"),
        "hour" => (1, "h"),
        "day" => (1, "d"),
        "week" | "w" => (7, "d"),
        unit => (1, unit),
    };
    crate::parse::duration(&format!("{number}{unit}")).ok()?.checked_mul(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "cli")]
    fn moments_are_told_as_people_tell_them() {
        let now = UnixMillis(1_795_528_800_123);
        let back = |text| moment_at(text, now).map(|moment| now.0 - moment.0);
        for (text, seconds) in [
            ("5 minutes ago", 300),
            ("1 minute ago", 60),
            ("90s ago", 90),
            ("5m ago", 300),
            ("5 m ago", 300),
            ("5 mins ago", 300),
            ("1h ago", 3600),
            ("2d ago", 172_800),
            (" 2h ago ", 7200),
            ("10 min ago", 600),
            ("1.5 hours ago", 5400),
            ("3 days ago", 259_200),
            ("2 weeks ago", 1_209_600),
            ("1 w ago", 604_800),
            ("now", 0),
        ] {
            assert_eq!(back(text), Ok(seconds * 1000), "{text}");
        }
        assert_eq!(back("250ms ago"), Ok(250));
        assert_eq!(back("2026-11-24T14:00:00Z"), Ok(now.0 - 1_795_528_800_000));
        for wrong in [
            "",
            "ago",
            "minutes ago",
            "5 ago",
            "-5 minutes ago",
            "5 moons ago",
            "yesterday",
            "1e30 days ago",
            "99999999999999 weeks ago",
        ] {
            assert!(moment_at(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn time_comes_back_from_its_text_in_any_zone() {
        let time = UnixMillis(1_795_528_800_123);
        assert_eq!(parse_time(&format_time(time)), Ok(time));
        assert_eq!(parse_time("2026-11-24T15:00:00+01:00"), parse_time("2026-11-24T14:00:00Z"));
        assert!(parse_time("yesterday").is_err());
        assert_eq!(format_time(UnixMillis(i64::MAX)), "a time out of range");
    }
}
