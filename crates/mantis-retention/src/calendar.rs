//! A year at a glance: which of its days still have a backup, and thanks to which rule.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate, TimeZone, Utc};

use crate::period::local_time;
use crate::{Reason, Unit};

/// What a day shows: the rule that keeps its backups the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// By `keep_last`, as the newest, or as no rule removes it.
    Last,
    /// By `keep_within`.
    Within,
    /// By `keep_minutely`.
    Minutely,
    /// By `keep_hourly`.
    Hourly,
    /// By `keep_daily`.
    Daily,
    /// By `keep_weekly`.
    Weekly,
    /// By `keep_monthly`.
    Monthly,
    /// By `keep_yearly`.
    Yearly,
    /// By a tag.
    Tagged,
}

impl Cell {
    /// The cell of one reason.
    #[must_use]
    pub const fn of(reason: &Reason) -> Self {
        let unit = match reason {
            Reason::Period(period) => period.unit(),
            Reason::Oldest(unit) => *unit,
            Reason::Within(_) => return Self::Within,
            Reason::Tag(_) => return Self::Tagged,
            Reason::Newest | Reason::Last(_) | Reason::NoRule | Reason::Future => {
                return Self::Last;
            }
        };
        match unit {
            Unit::Minute => Self::Minutely,
            Unit::Hour => Self::Hourly,
            Unit::Day => Self::Daily,
            Unit::Week => Self::Weekly,
            Unit::Month => Self::Monthly,
            Unit::Year => Self::Yearly,
        }
    }

    /// The letter that it is drawn as.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Last => 'L',
            Self::Within => 'i',
            Self::Minutely => 'n',
            Self::Hourly => 'h',
            Self::Daily => 'd',
            Self::Weekly => 'w',
            Self::Monthly => 'm',
            Self::Yearly => 'y',
            Self::Tagged => 't',
        }
    }
}

/// Under every calendar.
const LEGEND: &str = "L last, i within, n minutely, h hourly, d daily, w weekly, m monthly, y yearly, t tagged, \
    + several of one day, . none";

/// The twelve months up to `now`, a line each, a sign for each day: the letter of the rule that keeps its backup the
/// longest, with a `+` where there is more than one. Days after `now` stay empty.
#[must_use]
pub fn calendar<'a, Tz: TimeZone>(
    kept: impl IntoIterator<Item = (DateTime<Utc>, &'a [Reason])>,
    now: DateTime<Utc>,
    zone: &Tz,
) -> String {
    let date = |time: DateTime<Utc>| local_time(time, zone).date();
    let mut days: BTreeMap<NaiveDate, (Cell, usize)> = BTreeMap::new();
    for (time, reasons) in kept {
        let Some(cell) = reasons.iter().map(Cell::of).max() else { continue };
        let day = days.entry(date(time)).or_insert((cell, 0));
        *day = (day.0.max(cell), day.1 + 1);
    }
    let today = date(now);
    let mut out = String::from("          ");
    for day in 1..=31 {
        out.push_str(&format!("{day:<3}"));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    let newest_month = i64::from(today.year()) * 12 + i64::from(today.month0());
    for month in newest_month - 11..=newest_month {
        let first = i32::try_from(month.div_euclid(12)).ok().and_then(|year| {
            NaiveDate::from_ymd_opt(year, u32::try_from(month.rem_euclid(12)).ok()? + 1, 1)
        });
        let Some(first) = first else { continue };
        let mut line = format!("{}  ", first.format("%Y %b"));
        let days_of_month = first.iter_days().take_while(|day| day.month() == first.month());
        for day in days_of_month.take_while(|day| *day <= today) {
            let sign = match days.get(&day) {
                Some((cell, 1)) => format!("{}  ", cell.letter()),
                Some((cell, _)) => format!("{}+ ", cell.letter()),
                None => ".  ".to_owned(),
            };
            line.push_str(&sign);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push_str(LEGEND);
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Candidate, Circumstances, Policy, plan};

    #[test]
    fn a_year_fits_twelve_lines() {
        let now = DateTime::parse_from_rfc3339("2026-03-03T12:00:00Z").unwrap().to_utc();
        let hours = 0..365 * 24;
        let backups: Vec<Candidate<i64>> = hours
            .map(|hour| Candidate::new(hour, "s", now.timestamp_millis() - hour * 3_600_000))
            .collect();
        let policy = Policy {
            keep_hourly: Some(3),
            keep_daily: Some(2),
            keep_monthly: Some(3),
            ..Policy::default()
        };
        let plan = plan(&policy, &backups, Circumstances { now, zone: &Utc, free: None });
        let time = |id: i64| now - chrono::TimeDelta::hours(id);
        let kept = plan.kept.iter().map(|kept| (time(kept.id), &kept.reasons[..]));
        let text = calendar(kept, now, &Utc);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 14);
        assert_eq!(lines[12], "2026 Mar  .  d  m+");
        assert!(lines[11].starts_with("2026 Feb  .") && lines[11].ends_with("  m"), "{text}");
        assert!(lines[10].ends_with("  m") && lines[1].starts_with("2025 Apr  ."), "{text}");
        assert!(!lines[9].contains('m'), "{text}");
    }
}
