//! Spans of calendar time, such as "two years, five months, a week".

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};

use crate::period::local_time;

/// A span of calendar time: a month is as long as the month that it goes back over.
///
/// Written as `2y5mo7d3h`, each part at most once, largest first: `y` years, `mo` months, `w` weeks, `d` days, `h` hours,
/// `min` minutes, `s` seconds. A bare `m` is taken for months after years or before days (`2y5m7d`), for minutes after hours
/// (`1h30m`), and refused where it could be either: what a rule removes must not hang on a guess.
///
/// ```
/// use mantis_retention::Span;
/// let span: Span = "2y5m7d3h".parse()?;
/// assert_eq!(span.to_string(), "2y5mo7d3h");
/// assert!("30m".parse::<Span>().is_err());
/// # Ok::<(), mantis_retention::InvalidSpan>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    months: u32,
    days: u32,
    seconds: u32,
}

/// Text that names no span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSpan {
    text: String,
    why: &'static str,
}

impl fmt::Display for InvalidSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no span of time: {}", self.text, self.why)
    }
}

impl std::error::Error for InvalidSpan {}

/// The units, largest first. A bare `m` is none of them yet.
const UNITS: [&str; 7] = ["y", "mo", "w", "d", "h", "min", "s"];
const SHAPE: &str = "write it as 7d, 48h or 2y5mo7d3h (y, mo, w, d, h, min, s)";
const TOO_LONG: &str = "it is longer than a thousand years";

/// Splits `2y5m` into its numbers and units.
fn parts(text: &str) -> Option<Vec<(u32, &str)>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, behind) = rest.split_at_checked(digits)?;
        let end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(end)?;
        parts.push((number.parse().ok()?, unit));
        rest = behind;
    }
    Some(parts)
}

/// Where a unit stands among [`UNITS`]; a bare `m` by its neighbours.
fn rank(parts: &[(u32, &str)], at: usize) -> Result<usize, &'static str> {
    let unit = parts.get(at).map_or("", |(_, unit)| unit);
    if unit != "m" {
        return UNITS.iter().position(|known| *known == unit).ok_or(SHAPE);
    }
    let unit_of = |at: Option<usize>| at.and_then(|at| parts.get(at)).map_or("", |(_, unit)| unit);
    let (before, after) = (unit_of(at.checked_sub(1)), unit_of(at.checked_add(1)));
    match (before, after) {
        ("h" | "d" | "w", _) | (_, "s") if before != "y" => Ok(5),
        ("y", _) | (_, "w" | "d" | "h") => Ok(1),
        _ => Err("m could be months or minutes: write mo or min"),
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |why| InvalidSpan { text: text.chars().take(40).collect(), why };
        let parts = parts(text.trim()).filter(|parts| !parts.is_empty());
        let parts = parts.ok_or_else(|| invalid(SHAPE))?;
        let (mut months, mut days, mut seconds) = (0u64, 0u64, 0u64);
        let mut last = None;
        for (at, (number, _)) in parts.iter().enumerate() {
            let rank = rank(&parts, at).map_err(invalid)?;
            if last.is_some_and(|last| rank <= last) {
                return Err(invalid(SHAPE));
            }
            last = Some(rank);
            let number = u64::from(*number);
            match rank {
                0 => months += number * 12,
                1 => months += number,
                2 => days += number * 7,
                3 => days += number,
                4 => seconds += number * 3600,
                5 => seconds += number * 60,
                _ => seconds += number,
            }
        }
        // Hours beyond a month of them are counted as what they are, up to a bound that no calendar passes.
        if months > 12_000 || days > 365_000 || seconds > 365_000 * 86_400 {
            return Err(invalid(TOO_LONG));
        }
        if months + days + seconds == 0 {
            return Err(invalid("it is empty"));
        }
        // Seconds of a thousand years do not fit 32 bits: whole days of 24 hours are as good.
        let (more_days, seconds) = if seconds > u64::from(u32::MAX) {
            (seconds / 86_400, seconds % 86_400)
        } else {
            (0, seconds)
        };
        let fit = |number: u64| u32::try_from(number).map_err(|_| invalid(TOO_LONG));
        Ok(Self { months: fit(months)?, days: fit(days + more_days)?, seconds: fit(seconds)? })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds) = (self.days, self.seconds);
        let parts = [
            (self.months / 12, "y"),
            (self.months % 12, "mo"),
            (days, "d"),
            (seconds / 3600, "h"),
            (seconds / 60 % 60, "min"),
            (seconds % 60, "s"),
        ];
        for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
            write!(f, "{number}{unit}")?;
        }
        Ok(())
    }
}

impl Span {
    /// So many days of the calendar.
    #[must_use]
    pub const fn days(days: u32) -> Self {
        Self { months: 0, days, seconds: 0 }
    }

    /// About how many seconds it is, with months of 30 and years of 365 days.
    #[must_use]
    pub fn about_seconds(self) -> u64 {
        let (years, months) = (u64::from(self.months / 12), u64::from(self.months % 12));
        (years * 365 + months * 30 + u64::from(self.days)) * 86_400 + u64::from(self.seconds)
    }

    /// The moment that lies this long before `time`, by the calendar of `zone`.
    ///
    /// Days past the end of a shorter month run over into the next one (a month before 31 March is 3 March), as Go's
    /// `AddDate` has it, by which restic counts. A time of day that the zone leaves out is put after the gap.
    #[must_use]
    pub fn before<Tz: TimeZone>(self, time: DateTime<Utc>, zone: &Tz) -> DateTime<Utc> {
        let local = local_time(time, zone);
        let back = move || -> Option<NaiveDateTime> {
            let month =
                i64::from(local.year()) * 12 + i64::from(local.month0()) - i64::from(self.months);
            let (year, month) = (month.div_euclid(12), month.rem_euclid(12));
            let first = NaiveDate::from_ymd_opt(
                i32::try_from(year).ok()?,
                u32::try_from(month).ok()? + 1,
                1,
            )?;
            let date = first
                .checked_add_days(Days::new(u64::from(local.day0())))?
                .checked_sub_days(Days::new(u64::from(self.days)))?;
            Some(date.and_time(local.time()))
        };
        let Some(local) = back() else { return DateTime::<Utc>::MIN_UTC };
        let found = (0..=26).find_map(|half_hours| {
            let shifted = local.checked_add_signed(TimeDelta::minutes(30 * half_hours))?;
            zone.from_local_datetime(&shifted).earliest()
        });
        let moment = found.map_or_else(|| local.and_utc(), |found| found.with_timezone(&Utc));
        moment
            .checked_sub_signed(TimeDelta::seconds(self.seconds.into()))
            .unwrap_or(DateTime::<Utc>::MIN_UTC)
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Europe::Berlin;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn a_bare_m_is_what_its_neighbours_say() {
        for (text, meant) in [
            ("2y5m7d3h", "2y5mo7d3h"),
            ("5m7d", "5mo7d"),
            ("1y5m", "1y5mo"),
            ("1h30m", "1h30min"),
            ("1d5m", "1d5min"),
            ("5m30s", "5min30s"),
            ("2w", "14d"),
            ("90min", "1h30min"),
            ("100h", "100h"),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), meant, "{text}");
        }
        for wrong in [
            "30m",
            "",
            "d",
            "7",
            "7x",
            "1d1y",
            "1d1d",
            "0d",
            "-1d",
            "1 d",
            "9999999999d",
            "2001y",
            "\u{e9}",
        ] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn months_are_as_long_as_the_calendar_has_them() {
        let back = |span: &str, time| span.parse::<Span>().unwrap().before(at(time), &Utc);
        assert_eq!(back("1mo", "2026-03-31T10:00:00Z"), at("2026-03-03T10:00:00Z"));
        assert_eq!(back("1y", "2024-02-29T10:00:00Z"), at("2023-03-01T10:00:00Z"));
        assert_eq!(back("1mo", "2024-03-29T10:00:00Z"), at("2024-02-29T10:00:00Z"));
        assert_eq!(back("1d", "2024-03-01T00:00:00Z"), at("2024-02-29T00:00:00Z"));
        assert_eq!(back("1000y", "2026-01-01T00:00:00Z"), at("1026-01-01T00:00:00Z"));
    }

    #[test]
    fn a_day_is_a_day_of_the_zone() {
        let back = |span: &str, time| span.parse::<Span>().unwrap().before(at(time), &Berlin);
        // The last Sunday of March has 23 hours, that of October 25.
        assert_eq!(back("1d", "2026-03-29T12:00:00+02:00"), at("2026-03-28T12:00:00+01:00"));
        assert_eq!(back("1d", "2026-10-25T12:00:00+01:00"), at("2026-10-24T12:00:00+02:00"));
        assert_eq!(back("24h", "2026-10-25T12:00:00+01:00"), at("2026-10-24T13:00:00+02:00"));
        assert_eq!(back("1d", "2026-03-30T02:30:00+02:00"), at("2026-03-29T03:00:00+02:00"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(months in 0u32..12_000, days in 0u32..300_000, seconds in 0u32..2_000_000_000) {
            let span = Span { months, days, seconds };
            if months + days + seconds > 0 {
                prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
            }
        }

        #[test]
        fn no_text_panics(text in "[0-9a-z ]{0,12}|.{0,8}", time in -4_000_000_000_000i64..4_000_000_000_000) {
            if let Ok(span) = text.parse::<Span>() {
                let now = DateTime::from_timestamp_millis(time).unwrap();
                prop_assert!(span.before(now, &Berlin) < now);
            }
        }
    }

    #[test]
    fn the_longest_spans_and_longer_ones() {
        for (text, fits) in [
            ("1000y", true),
            ("1001y", false),
            ("365000d", true),
            ("365001d", false),
            ("8760000h", true),
            ("8760001h", false),
            ("12000mo", true),
            ("1y5m30s", true),
        ] {
            assert_eq!(text.parse::<Span>().is_ok(), fits, "{text}");
        }
        // Seconds of a thousand years are days and what is left.
        let long: Span = "8759999h".parse().unwrap();
        assert_eq!(long.to_string(), "364999d23h");
    }
}
