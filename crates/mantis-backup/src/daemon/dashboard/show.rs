//! What templates show of numbers and times.

use std::time::Duration;

use crate::human;

pub(super) fn size(bytes: &u64) -> String {
    human::size(*bytes)
}

pub(super) fn took(milliseconds: &u64) -> String {
    human::time(Duration::from_millis(*milliseconds))
}

/// How long something was held up, as the script shows it too.
pub(super) fn held(milliseconds: &u64) -> String {
    match *milliseconds {
        short @ ..10_000 => format!("{short} ms"),
        long => clock(&(long / 1000)),
    }
}

/// Seconds, in the largest unit of which there is one.
pub(super) fn long(seconds: &i64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "min")];
    let found = units.iter().find(|(unit, _)| *seconds >= *unit);
    found.map_or(format!("{seconds} s"), |(unit, name)| format!("{} {name}", seconds / unit))
}

/// Seconds of something that runs, as the script shows them too.
pub(super) fn clock(seconds: &u64) -> String {
    match *seconds {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// The whole percents of a part.
pub(super) fn percent(part: &u64, whole: &u64) -> u64 {
    let percent = u128::from(*part) * 100 / u128::from((*whole).max(1));
    u64::try_from(percent.min(100)).unwrap_or(100)
}

/// The start of an id, which is enough for every command.
pub(super) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// A time without what every time here has.
pub(super) fn when(time: &str) -> String {
    time.replacen('T', " ", 1).trim_end_matches('Z').to_owned()
}

/// An address without its query, which is nobody's matter here.
pub(super) fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// Text as it may stand in a part of an address.
pub(super) fn encoded(text: &str) -> String {
    let Ok(encoded) = askama::filters::urlencode_strict(text);
    encoded.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people() {
        for (seconds, text) in [(5, "5 s"), (61, "1 min"), (7200, "2 h"), (200_000, "2 d")] {
            assert_eq!(long(&seconds), text);
        }
        for (seconds, text) in [(59, "59 s"), (61, "1 min 1 s"), (3661, "1 h 1 min")] {
            assert_eq!(clock(&seconds), text);
        }
        assert_eq!((held(&9_999), held(&61_500)), ("9999 ms".into(), "1 min 1 s".into()));
        assert_eq!(when("2026-11-27T01:02:03Z"), "2026-11-27 01:02:03");
    }

    #[test]
    fn percents_are_at_most_a_hundred_of_anything() {
        for (part, whole, found) in [(0, 0, 0), (1, 3, 33), (3, 3, 100), (9, 3, 100), (5, 0, 100)] {
            assert_eq!(percent(&part, &whole), found);
        }
        assert_eq!(percent(&u64::MAX, &u64::MAX), 100);
    }

    #[test]
    fn an_address_is_shown_without_its_query() {
        let shown = without_query("s3://bucket/prefix?region=x&key=secret");
        assert_eq!(shown, "s3://bucket/prefix");
        assert_eq!(without_query("/srv/backups"), "/srv/backups");
    }

    #[test]
    fn an_address_takes_no_markup_and_no_query_from_a_text() {
        assert_eq!(encoded("/a b?c=<d>&\"e\""), "%2Fa%20b%3Fc%3D%3Cd%3E%26%22e%22");
    }
}
