//! Which of a job's times have come, and which were missed.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use crate::chance::draw;
use crate::{Job, MissedRuns};

/// A run that begins this much after its time is on time: a process is busy or asleep for a moment.
const TOLERANCE: TimeDelta = TimeDelta::seconds(60);
/// More times than this are not counted one by one: what lies before is taken for missed as a whole.
const MOST_COUNTED: usize = 600_000;

/// What has come since somebody looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Come {
    /// All up to here is decided.
    pub(crate) since: DateTime<Utc>,
    /// Times to run for, oldest first, and whether each is a missed one's.
    pub(crate) runs: Vec<(DateTime<Utc>, bool)>,
    /// Missed: how many, the first, the last.
    pub(crate) missed: Option<(usize, DateTime<Utc>, DateTime<Utc>)>,
}

/// When a run begins whose time is `scheduled`.
pub(crate) fn begins(job: &Job, scheduled: DateTime<Utc>) -> DateTime<Utc> {
    let late = TimeDelta::from_std(draw(job.jitter, &job.id, scheduled, 0));
    late.ok().and_then(|late| scheduled.checked_add_signed(late)).unwrap_or(scheduled)
}

/// What has come after `since`, up to `now`.
pub(crate) fn come(job: &Job, since: DateTime<Utc>, now: DateTime<Utc>) -> Come {
    let mut come = Come { since, runs: Vec::new(), missed: None };
    let mut last: VecDeque<DateTime<Utc>> = VecDeque::new();
    let (mut count, mut first) = (0usize, None);
    for scheduled in job.cron.after(since, job.zone).take_while(|scheduled| *scheduled <= now) {
        if begins(job, scheduled) > now {
            break;
        }
        count += 1;
        first.get_or_insert(scheduled);
        come.since = scheduled;
        last.push_back(scheduled);
        if last.len() > MissedRuns::MOST + 1 {
            last.pop_front();
        }
        if count == MOST_COUNTED {
            come.since = now;
            break;
        }
    }
    let (Some(first), Some(newest)) = (first, last.back().copied()) else { return come };
    let on_time = now - begins(job, newest) <= TOLERANCE;
    let missed = count - usize::from(on_time);
    if on_time {
        last.pop_back();
    }
    if let Some(last_missed) = last.back().copied() {
        come.missed = Some((missed, first, last_missed));
        match job.missed {
            MissedRuns::Skip => {}
            // A run that is due stands for those that were missed before it.
            MissedRuns::Once if on_time => {}
            MissedRuns::Once => come.runs.push((last_missed, true)),
            MissedRuns::All => {
                let from = last.len().saturating_sub(MissedRuns::MOST);
                come.runs.extend(last.iter().skip(from).map(|time| (*time, true)));
            }
        }
    }
    if on_time {
        come.runs.push((newest, false));
    }
    come
}
