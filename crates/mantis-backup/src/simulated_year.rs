//! What rules leave of a year, tried out without a year's wait.

use std::collections::HashSet;

use chrono::{DateTime, Months, Utc};
use chrono_tz::Tz;
use mantis_repo::UnixMillis;
use mantis_retention::{Candidate, Circumstances, Policy, plan};
use mantis_schedule::CronSchedule;

use crate::{Error, format_time};

/// How much work a simulation may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Backups that are made.
    pub(crate) made: usize,
    /// Backups that are kept at once.
    pub(crate) kept: usize,
}

/// What is left of a year in which a backup was made at each of a schedule's times, and the rules were applied after each; and how many
/// were made.
///
/// # Errors
/// Where more are made or kept than may be.
pub(crate) fn simulated_year(
    schedule: &CronSchedule,
    policy: &Policy,
    (now, zone): (DateTime<Utc>, Tz),
    bounds: Bounds,
) -> Result<(Vec<Candidate<String>>, usize), Error> {
    let start = now.checked_sub_months(Months::new(12)).unwrap_or(DateTime::<Utc>::MIN_UTC);
    let times = schedule.after(start, zone).take_while(|time| *time <= now);
    let (mut left, mut made) = (Vec::<Candidate<String>>::new(), 0);
    for time in times {
        made += 1;
        if made > bounds.made {
            return Err(Error::usage(
                format!("this schedule makes more than {} backups a year", bounds.made),
                "simulate one that runs less often",
            ));
        }
        let id = format_time(UnixMillis(time.timestamp_millis()));
        left.push(Candidate::new(id, "simulated", time.timestamp_millis()));
        let plan = plan(policy, &left, Circumstances { now: time, zone: &zone, free: None });
        let gone: HashSet<&String> = plan.removed.iter().map(|removed| &removed.id).collect();
        left.retain(|candidate| !gone.contains(&candidate.id));
        if left.len() > bounds.kept {
            return Err(Error::usage(
                format!("these rules keep more than {} backups of a year", bounds.kept),
                "simulate a schedule that runs less often, or give stricter rules",
            ));
        }
    }
    Ok((left, made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_of_days_leaves_what_the_rules_keep_and_is_bounded() {
        let now = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let daily: CronSchedule = "0 3 * * *".parse().unwrap();
        let policy = Policy { keep_daily: Some(7), keep_monthly: Some(3), ..Policy::default() };
        let year =
            |made, kept| simulated_year(&daily, &policy, (now, Tz::UTC), Bounds { made, kept });
        let (left, made) = year(400, 400).unwrap();
        assert!((365..=366).contains(&made));
        assert!((9..=10).contains(&left.len()), "{}", left.len());
        assert!(year(100, 400).unwrap_err().chain().contains("more than 100 backups a year"));
        assert!(year(400, 8).unwrap_err().chain().contains("keep more than 8"));
    }
}
