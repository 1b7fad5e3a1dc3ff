//! Cron expressions, and when they come true in a time zone.

use std::fmt;
use std::str::FromStr;

use chrono::{
    DateTime, Datelike, Days, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;
use saffron::Cron;

use crate::InvalidCron;
use crate::crontab::{self, Allowed, DAY, HOUR, MINUTE, MONTH, WEEKDAY};

/// How many years ahead a date is looked for: leap days come again on each day of the week within 28 years, within 40
/// where a century is no leap year.
const YEARS: u64 = 41;

/// 1 January of the year 0, in seconds since 1970.
const YEAR_ZERO: i64 = -62_167_219_200;

/// A cron expression, as people know it from crontab(5), with saffron's extras.
///
/// Minute, hour, day of month, month and day of week; `*`, lists, ranges (also such that wrap: `22-2`, `FRI-MON`), steps
/// and names; Sunday is 0 and 7. Where day of month and day of week are both restricted, that is without a `*`, one of them
/// is enough; else both must hold. `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. `L` is the last day of the
/// month, `LW` its last weekday, `15W` the weekday nearest to the 15th, `5L` the last Friday, `1#2` the second Monday.
///
/// ```
/// use chrono_tz::Europe::Berlin;
/// use mantis_schedule::CronSchedule;
/// let cron: CronSchedule = "30 2 * * *".parse()?;
/// let night = "2026-03-28T12:00:00Z".parse().unwrap();
/// // 02:30 does not exist on 29 March 2026 in Berlin: the job runs when the gap is over.
/// let next = cron.next_after(night, Berlin).unwrap();
/// assert_eq!(next.with_timezone(&Berlin).to_rfc3339(), "2026-03-29T03:00:00+02:00");
/// assert!("0 0 30 2 *".parse::<CronSchedule>().is_err());
/// # Ok::<(), mantis_schedule::InvalidCron>(())
/// ```
#[derive(Debug, Clone)]
pub struct CronSchedule {
    text: String,
    cron: Cron,
    /// Days of the week that must hold besides, where one of the two fields of days has a `*` and a step.
    also_on: Option<Vec<u32>>,
    /// The day that a month must have: saffron takes `31W` for the end of some shorter months too.
    month_has: Option<u32>,
    /// The hour has a `*`: it is a matter of hours that pass, not of a time of day.
    every_hour: bool,
}

impl PartialEq for CronSchedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CronSchedule {}

impl fmt::Display for CronSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for CronSchedule {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let shown = || text.chars().take(80).collect::<String>();
        let five = match crontab::nickname(text) {
            Some(five) => five,
            None if text.starts_with('@') => return Err(InvalidCron::Nickname { text: shown() }),
            None => text,
        };
        let fields: Vec<&str> = five.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(InvalidCron::Shape { text: shown(), found: fields.len() });
        };
        let minute = crontab::parse(MINUTE, minute)?;
        let hour = crontab::parse(HOUR, hour)?;
        let day = crontab::parse(DAY, day)?;
        let month = crontab::parse(MONTH, month)?;
        let weekday = crontab::parse(WEEKDAY, weekday)?;
        let both = day.star || weekday.star;
        // saffron takes either of two restricted fields; where both must hold, the days of the week are looked at here.
        let apart = both && weekday.extra.is_none() && weekday.to_saffron(WEEKDAY) != "*";
        let given_weekday = if apart { "*".to_owned() } else { weekday.to_saffron(WEEKDAY) };
        if both && weekday.extra.is_some() && day.to_saffron(DAY) != "*" {
            let why = "with a step cannot be joined with such a day of week".into();
            return Err(InvalidCron::field(DAY.name, fields[2], why));
        }
        let mut days = (day.to_saffron(DAY), given_weekday);
        // Either is enough, and one of them is every day, if not written so.
        if !both && (days.0 == "*" || days.1 == "*") {
            days = ("*".into(), "*".into());
        }
        let told = |allowed: &Allowed, field| allowed.to_saffron(field);
        let expression = format!(
            "{} {} {} {} {}",
            told(&minute, MINUTE),
            told(&hour, HOUR),
            days.0,
            told(&month, MONTH),
            days.1,
        );
        let never = || InvalidCron::Never { text: shown() };
        let cron: Cron = expression
            .parse()
            .map_err(|_| InvalidCron::field("expression", text, "cannot be read".into()))?;
        if !cron.any() {
            return Err(never());
        }
        let also_on = apart.then_some(weekday.numbers);
        let nearest = day.extra.as_deref().and_then(|extra| extra.strip_suffix('W'));
        let month_has = nearest.and_then(|number| number.parse().ok());
        let text_of = text.to_owned();
        let parsed = Self { text: text_of, cron, also_on, month_has, every_hour: hour.star };
        let some_day = NaiveDateTime::default();
        if parsed.next_local(some_day).is_none() {
            return Err(never());
        }
        Ok(parsed)
    }
}

impl CronSchedule {
    /// The expression, as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first time of a calendar after another that fits the expression.
    fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let end = after.checked_add_days(Days::new(YEARS * 366))?;
        let mut from = after;
        loop {
            let next = self.cron.next_after(from.and_utc())?.naive_utc();
            let weekday = next.weekday().num_days_from_sunday();
            if self.also_on.as_ref().is_none_or(|days| days.contains(&weekday))
                && self.month_has.is_none_or(|day| next.with_day(day).is_some())
            {
                return Some(next);
            }
            if next > end {
                return None;
            }
            // On to the end of a day that does not fit.
            from = next.date().and_time(NaiveTime::from_hms_opt(23, 59, 59)?);
        }
    }

    /// The first moment after another at which the expression comes true in a zone.
    ///
    /// Where clocks go forward, a time of day that is left out comes true when the gap is over; where they go back, a
    /// time of day that comes twice comes true the first time. An expression with a `*` as its hour is about hours that
    /// pass: it comes true in each of them, left-out hours have none, and the one that comes twice has two. So does
    /// cron on Debian. `None` past the year 9999, and nothing comes true before the year 0: times beyond cannot be
    /// written (RFC 3339), and those at the ends of the calendar have no time of day in some zones.
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        if after.year() > 9999 {
            return None;
        }
        let after = after.max(DateTime::from_timestamp(YEAR_ZERO, 0)?);
        if self.every_hour { self.next_hourly(after, zone) } else { self.next_daily(after, zone) }
    }

    /// The moments after another at which it comes true.
    pub fn after(&self, after: DateTime<Utc>, zone: Tz) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next_after(after, zone), move |last| {
            self.next_after(*last, zone)
        })
    }

    fn next_daily(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let mut local = after.with_timezone(&zone).naive_local();
        loop {
            local = self.next_local(local)?;
            let moment = first_moment(local, zone)?;
            if moment > after {
                return Some(moment);
            }
        }
    }

    fn next_hourly(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let mut from = after;
        let offset =
            |moment: DateTime<Utc>| zone.offset_from_utc_datetime(&moment.naive_utc()).fix();
        loop {
            let here = offset(from);
            let local = from.naive_utc().checked_add_offset(here)?;
            let next = self.next_local(local)?.checked_sub_offset(here)?.and_utc();
            let change = first_change(from, next, offset);
            match change {
                // Clocks change on the way: from the last moment before on, by the clock after it. That moment's minute
                // is counted as not yet over.
                Some(change) => {
                    let after_change = offset(change);
                    let before = change - TimeDelta::seconds(1);
                    let local = before.naive_utc().checked_add_offset(after_change)?;
                    let next = self.next_local(local)?.checked_sub_offset(after_change)?.and_utc();
                    if first_change(change, next, offset).is_none() {
                        return Some(next);
                    }
                    from = change;
                }
                None => return Some(next),
            }
        }
    }
}

/// The first moment that a time of the calendar names: where it comes twice the first one, where it is left out the end of
/// the gap.
fn first_moment(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    if let Some(moment) = zone.from_local_datetime(&local).earliest() {
        return Some(moment.to_utc());
    }
    // A gap is no longer than a day (Samoa left out one), and its end is a whole minute.
    let day_after = local.checked_add_days(Days::new(1))?;
    let (mut inside, mut outside) = (0i64, (day_after - local).num_seconds() + 1);
    while outside - inside > 1 {
        let middle = inside + (outside - inside) / 2;
        let at = local.checked_add_signed(TimeDelta::seconds(middle))?;
        if zone.from_local_datetime(&at).earliest().is_some() {
            outside = middle;
        } else {
            inside = middle;
        }
    }
    let end = local.checked_add_signed(TimeDelta::seconds(outside))?;
    zone.from_local_datetime(&end).earliest().map(|moment| moment.to_utc())
}

/// The first moment after `from`, up to `to`, whose offset is another than that of `from`.
fn first_change(
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    offset: impl Fn(DateTime<Utc>) -> chrono::FixedOffset,
) -> Option<DateTime<Utc>> {
    let before = offset(from);
    // Two changes lie weeks apart at least, but for a few in history; days are close enough to see each.
    let mut low = from;
    loop {
        let high = to.min(low + TimeDelta::days(1));
        if offset(high) != before {
            let (mut same, mut other) = (low.timestamp(), high.timestamp());
            while other - same > 1 {
                let middle = same + (other - same) / 2;
                let at = DateTime::from_timestamp(middle, 0)?;
                if offset(at) == before { same = middle } else { other = middle }
            }
            return DateTime::from_timestamp(other, 0);
        }
        if high == to {
            return None;
        }
        low = high;
    }
}
