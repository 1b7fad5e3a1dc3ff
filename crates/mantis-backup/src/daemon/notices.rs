//! What is told of runs.

use chrono::{DateTime, Utc};

use super::{Entry, Report, RunOutcome};
use crate::config::Occasion;
use crate::notify::Notice;
use crate::when::format_seconds;

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

/// What is told of a run that ended for good; `was_failing`: the one before did not do all that it should.
pub(super) fn of_end(entry: &Entry, report: &Report, was_failing: bool) -> Vec<Notice> {
    let tell = |event, what: &str, message: String| {
        let backup = report.backup.clone();
        let repository = report.repository.clone();
        let error = report.error.clone();
        Notice { backup, repository, error, ..notice(event, entry, what, message) }
    };
    match report.run_outcome() {
        RunOutcome::Done => {
            let summary = || report.summary.clone();
            let recovery = was_failing.then(|| tell(Occasion::Recovery, "works again", summary()));
            let success = tell(Occasion::Success, "done", summary());
            std::iter::once(success).chain(recovery).collect()
        }
        RunOutcome::Part => {
            let message = format!("{}; but: {}", report.summary, report.problems.join("; "));
            vec![tell(Occasion::Failure, "done in part", message)]
        }
        _ if !report.damage.is_empty() => {
            vec![tell(Occasion::Damage, "found damage", report.damage.join("; "))]
        }
        _ => {
            let error = report.error.as_deref().unwrap_or("it failed");
            vec![tell(Occasion::Failure, "failed", error.to_owned())]
        }
    }
}

/// What is told of repositories that are nearly full: not of a source or schedule, as they are full for all of them.
pub(super) fn of_full(report: &Report) -> Vec<Notice> {
    let tell = |(repository, message): &(String, String)| Notice {
        repository: Some(repository.clone()),
        ..Notice::new(
            Occasion::NearlyFull,
            format!("the repository {repository} is nearly full"),
            message.clone(),
        )
    };
    report.full.iter().map(tell).collect()
}

/// What is told of missed runs.
pub(super) fn of_missed(
    entry: &Entry,
    count: usize,
    (first, last): (DateTime<Utc>, DateTime<Utc>),
    made_up: usize,
) -> Notice {
    let when = if count == 1 {
        format!("1 run was missed, of {}", format_seconds(&first))
    } else {
        let (first, last) = (format_seconds(&first), format_seconds(&last));
        format!("{count} runs were missed, from {first} to {last}")
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
