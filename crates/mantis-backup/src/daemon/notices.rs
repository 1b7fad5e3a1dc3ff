//! What is told of runs.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{Entry, Report};
use crate::config::Occasion;
use crate::notify::Notice;

/// What a job is called in sentences.
pub(super) fn subject(entry: &Entry) -> String {
    let action = entry.action.name();
    match &entry.source {
        Some(source) => format!("{action} of {source} ({})", entry.schedule),
        None => format!("{action} ({})", entry.schedule),
    }
}

fn notice(event: Occasion, entry: &Entry, what: &str, message: String) -> Notice {
    Notice {
        schedule: Some(entry.schedule.clone()),
        source: entry.source.clone(),
        ..Notice::new(event, format!("{} {what}", subject(entry)), message)
    }
}

/// What is told of a run that ended for good; `was_failing`: the one before failed.
pub(super) fn of_end(entry: &Entry, report: &Report, ok: bool, was_failing: bool) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut tell = |event, what: &str, message: String| {
        let backup = report.backup.clone();
        let repository = report.repository.clone();
        let error = report.error.clone();
        notices.push(Notice { backup, repository, error, ..notice(event, entry, what, message) });
    };
    if ok {
        tell(Occasion::Success, "done", report.summary.clone());
        if was_failing {
            tell(Occasion::Recovery, "works again", report.summary.clone());
        }
    } else if report.damage.is_empty() {
        let error = report.error.as_deref().unwrap_or("it failed");
        tell(Occasion::Failure, "failed", error.to_owned());
    }
    if !report.problems.is_empty() {
        let message = format!("{}; but: {}", report.summary, report.problems.join("; "));
        tell(Occasion::Failure, "done in part", message);
    }
    if !report.damage.is_empty() {
        tell(Occasion::Damage, "found damage", report.damage.join("; "));
    }
    notices
}

/// What is told where a place is nearly full.
pub(super) fn of_full(entry: &Entry, report: &Report) -> Option<Notice> {
    let full = report.full.clone()?;
    // Not of the source or schedule: the same place is full for all of them.
    Some(Notice {
        schedule: None,
        source: None,
        repository: report.repository.clone(),
        ..notice(Occasion::NearlyFull, entry, "has no room", full)
    })
}

/// What is told of missed runs.
pub(super) fn of_missed(
    entry: &Entry,
    count: usize,
    (first, last): (DateTime<Utc>, DateTime<Utc>),
    made_up: usize,
) -> Notice {
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let when = if count == 1 {
        format!("1 run was missed, of {}", time(first))
    } else {
        format!("{count} runs were missed, from {} to {}", time(first), time(last))
    };
    let then = match made_up {
        0 => "they are not made up for".to_owned(),
        1 => "one is made up for now".to_owned(),
        count => format!("{count} are made up for now"),
    };
    notice(Occasion::Missed, entry, "was missed", format!("{when}; {then}"))
}

/// What is told of a run that is not begun again, as the process ended each time it ran.
pub(super) fn of_given_up(entry: &Entry, interruptions: u32) -> Notice {
    let message = format!(
        "the process ended {interruptions} times while it ran; it is not begun again before its next time"
    );
    notice(Occasion::Failure, entry, "was interrupted", message)
}
