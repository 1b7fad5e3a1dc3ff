//! What must outlive the process: what was decided, what waits and what runs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Names a run among all that there were.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct RunId(pub u64);

/// A run that waits, or that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Names it, the same for all its tries.
    pub run: RunId,
    /// The time that the schedule gave it.
    pub scheduled: DateTime<Utc>,
    /// Which try it is, from 1.
    pub attempt: u32,
    /// It does not begin before; while it runs, when it began.
    pub at: DateTime<Utc>,
    /// Somebody asked for it.
    #[serde(default)]
    pub manual: bool,
    /// It makes up for one that was missed.
    #[serde(default)]
    pub late: bool,
    /// How often the process ended while it ran.
    #[serde(default)]
    pub interruptions: u32,
}

/// One job's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobState {
    /// What the schedule has up to here is decided.
    pub since: DateTime<Utc>,
    /// It is not to run.
    #[serde(default)]
    pub paused: bool,
    /// Runs that are due, or wait for their next try.
    #[serde(default)]
    pub waiting: Vec<Run>,
    /// Runs under way.
    #[serde(default)]
    pub running: Vec<Run>,
}

impl JobState {
    pub(crate) const fn new(since: DateTime<Utc>) -> Self {
        Self { since, paused: false, waiting: Vec::new(), running: Vec::new() }
    }
}

/// All jobs'.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AgendaState {
    /// The next run's name.
    #[serde(default)]
    pub next_run: u64,
    /// By the job's name.
    #[serde(default)]
    pub jobs: BTreeMap<String, JobState>,
}

impl AgendaState {
    /// A run that nobody had before, to begin at once.
    pub(crate) fn new_run(&mut self, scheduled: DateTime<Utc>, now: DateTime<Utc>) -> Run {
        let run = RunId(self.next_run);
        self.next_run = self.next_run.saturating_add(1);
        Run { run, scheduled, attempt: 1, at: now, manual: false, late: false, interruptions: 0 }
    }

    /// Runs under way.
    pub(crate) fn running(&self) -> usize {
        self.jobs.values().map(|state| state.running.len()).sum()
    }
}
