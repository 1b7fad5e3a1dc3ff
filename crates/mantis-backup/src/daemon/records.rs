//! Runs as the history and the metrics have them.

use chrono::{DateTime, Utc};
use mantis_schedule::{Outcome, Run, RunId};

use super::telemetry::name;
use super::{Entry, Record, Report, Roster, RunOutcome};

/// The number of runs that are of no schedule: the agenda counts from the other end.
pub(super) const ONCE: RunId = RunId(u64::MAX);

/// A run's number, where it has one of its own.
pub(super) fn number(run: &Run) -> Option<u64> {
    (run.run != ONCE).then_some(run.run.0)
}

impl Report {
    /// What became of the run, as the history has it.
    #[must_use]
    pub const fn run_outcome(&self) -> RunOutcome {
        match self.outcome {
            Outcome::Done if self.problems.is_empty() => RunOutcome::Done,
            Outcome::Done => RunOutcome::Part,
            Outcome::Failed | Outcome::Hopeless => RunOutcome::Failed,
            Outcome::Cancelled => RunOutcome::Cancelled,
        }
    }

    /// The record of a run that began at a time, as far as the report knows it.
    #[must_use]
    pub fn record(&self, entry: &Entry, began: DateTime<Utc>) -> Record {
        let problems = (!self.problems.is_empty()).then(|| self.problems.join("; "));
        Record {
            backup: self.backup.clone(),
            summary: self.summary.clone(),
            error: self.error.clone().or(problems),
            ..record(entry, self.run_outcome(), began, began)
        }
    }
}

/// A record of what did not begin.
pub(super) fn record(
    entry: &Entry,
    outcome: RunOutcome,
    scheduled: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Record {
    Record {
        schedule: entry.schedule.clone(),
        source: entry.source.clone(),
        action: entry.action,
        outcome,
        scheduled,
        began: now,
        duration_ms: 0,
        attempt: 1,
        run: None,
        manual: false,
        late: false,
        again: false,
        backup: None,
        summary: String::new(),
        error: None,
    }
}

/// A record of a run.
pub(super) fn of_run(entry: &Entry, run: &Run, outcome: RunOutcome, now: DateTime<Utc>) -> Record {
    Record {
        attempt: run.attempt,
        run: number(run),
        manual: run.manual,
        late: run.late,
        ..record(entry, outcome, run.scheduled, now)
    }
}

/// The labels of a job.
pub(super) type Labels = [(&'static str, String); 3];

pub(super) fn labels(entry: &Entry) -> Labels {
    let source = entry.source.clone().unwrap_or_default();
    [
        ("schedule", entry.schedule.clone()),
        ("source", source),
        ("action", entry.action.name().to_owned()),
    ]
}

/// The labels of a run that ended.
pub(super) fn outcome_labels(entry: &Entry, outcome: RunOutcome) -> [(&'static str, String); 4] {
    let [schedule, source, action] = labels(entry);
    [schedule, source, action, ("outcome", outcome.name().to_owned())]
}

/// Shows the counters of jobs before they count: what is not there cannot be seen to grow.
pub(super) fn begin_to_count(roster: &Roster) {
    use RunOutcome::{Cancelled, Done, Failed, Interrupted, Part};
    for entry in roster.iter() {
        for outcome in [Done, Part, Failed, Cancelled, Interrupted] {
            metrics::counter!(name::RUNS, &outcome_labels(entry, outcome)).increment(0);
        }
        for counter in [name::RETRIES, name::MISSED, name::SKIPPED] {
            metrics::counter!(counter, &labels(entry)).increment(0);
        }
    }
}

/// Shows how a job's last run ended.
pub(super) fn show_end(record: &Record) {
    let ok = record.outcome == RunOutcome::Done;
    let labels = [
        ("schedule", record.schedule.clone()),
        ("source", record.source.clone().unwrap_or_default()),
        ("action", record.action.name().to_owned()),
    ];
    metrics::gauge!(name::OK, &labels).set(if ok { 1.0 } else { 0.0 });
    if record.outcome != RunOutcome::Failed {
        metrics::gauge!(name::LAST_SUCCESS, &labels).set(record.began.timestamp() as f64);
    }
}
