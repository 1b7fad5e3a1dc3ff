//! Minutes, hours, days, weeks, months and years of the calendar.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeZone, Timelike, Utc};

/// What calendars and clocks of a zone show at a time; at the ends of all calendars, what those of UTC show.
pub(crate) fn local_time<Tz: TimeZone>(time: DateTime<Utc>, zone: &Tz) -> NaiveDateTime {
    let utc = time.naive_utc();
    utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix()).unwrap_or(utc)
}

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week from Monday to Sunday, of the year that ISO 8601 puts it in.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Unit {
    /// As an adjective: `daily`.
    #[must_use]
    pub const fn adjective(self) -> &'static str {
        match self {
            Self::Minute => "minutely",
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    /// The name of the rule that counts them: `keep_daily`.
    pub(crate) const fn rule(self) -> &'static str {
        match self {
            Self::Minute => "keep_minutely",
            Self::Hour => "keep_hourly",
            Self::Day => "keep_daily",
            Self::Week => "keep_weekly",
            Self::Month => "keep_monthly",
            Self::Year => "keep_yearly",
        }
    }

    /// The fewest seconds that so many of them may last.
    pub(crate) fn at_least(self, count: u32) -> u64 {
        let days = match self {
            Self::Minute => return u64::from(count) * 60,
            Self::Hour => return u64::from(count) * 3600,
            Self::Day => 1,
            Self::Week => 7,
            Self::Month => 28,
            Self::Year => 365,
        };
        u64::from(count) * days * 86_400
    }
}

/// One minute, hour, day, week, month or year of a zone's calendar: `daily 2026-11-24`.
///
/// The hour that a zone has twice in a night of autumn is one period, as is each minute of it: its name is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    unit: Unit,
    year: i32,
    /// Minute: month, day, hour, minute; hour: month, day, hour; day: month, day; week: the week; month: the month.
    parts: [u32; 4],
}

impl Period {
    /// The period in which a time lies.
    #[must_use]
    pub fn of<Tz: TimeZone>(unit: Unit, time: DateTime<Utc>, zone: &Tz) -> Self {
        let local = local_time(time, zone);
        let (year, parts) = match unit {
            Unit::Minute => {
                (local.year(), [local.month(), local.day(), local.hour(), local.minute()])
            }
            Unit::Hour => (local.year(), [local.month(), local.day(), local.hour(), 0]),
            Unit::Day => (local.year(), [local.month(), local.day(), 0, 0]),
            Unit::Week => (local.iso_week().year(), [local.iso_week().week(), 0, 0, 0]),
            Unit::Month => (local.year(), [local.month(), 0, 0, 0]),
            Unit::Year => (local.year(), [0; 4]),
        };
        Self { unit, year, parts }
    }

    /// How long it is.
    #[must_use]
    pub const fn unit(&self) -> Unit {
        self.unit
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, [first, second, third, fourth]) = (self.year, self.parts);
        write!(f, "{} ", self.unit.adjective())?;
        match self.unit {
            Unit::Minute => {
                write!(f, "{year:04}-{first:02}-{second:02}T{third:02}:{fourth:02}")
            }
            Unit::Hour => write!(f, "{year:04}-{first:02}-{second:02}T{third:02}"),
            Unit::Day => write!(f, "{year:04}-{first:02}-{second:02}"),
            Unit::Week => write!(f, "{year:04}-W{first:02}"),
            Unit::Month => write!(f, "{year:04}-{first:02}"),
            Unit::Year => write!(f, "{year:04}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Europe::Berlin;

    use super::*;

    #[test]
    fn periods_are_those_of_the_zone() {
        let time = DateTime::parse_from_rfc3339("2026-12-31T23:30:00Z").unwrap().to_utc();
        let text = |unit, berlin: bool| {
            if berlin {
                Period::of(unit, time, &Berlin).to_string()
            } else {
                Period::of(unit, time, &Utc).to_string()
            }
        };
        assert_eq!(text(Unit::Minute, false), "minutely 2026-12-31T23:30");
        assert_eq!(text(Unit::Minute, true), "minutely 2027-01-01T00:30");
        assert_eq!(text(Unit::Hour, false), "hourly 2026-12-31T23");
        assert_eq!(text(Unit::Hour, true), "hourly 2027-01-01T00");
        assert_eq!(text(Unit::Day, true), "daily 2027-01-01");
        assert_eq!(text(Unit::Week, true), "weekly 2026-W53");
        assert_eq!(text(Unit::Month, false), "monthly 2026-12");
        assert_eq!(text(Unit::Year, true), "yearly 2027");
    }
}
