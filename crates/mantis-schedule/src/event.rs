//! What comes of asking an agenda what is due.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{Run, RunId};

/// What there is to do, or to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Begin this run, and say [`finished`](crate::Agenda::finished) when it has ended.
    Begin {
        /// The job.
        job: String,
        /// The run.
        run: Run,
        /// How long it may take.
        timeout: Option<Duration>,
    },
    /// Cancel this run: a newer one replaces it.
    Cancel {
        /// The job.
        job: String,
        /// The run.
        run: RunId,
    },
    /// Runs were missed.
    Missed {
        /// The job.
        job: String,
        /// How many.
        count: usize,
        /// The time of the first.
        first: DateTime<Utc>,
        /// The time of the last.
        last: DateTime<Utc>,
        /// How many runs are made up for them.
        made_up: usize,
    },
    /// A run is dropped, as the one before has not ended.
    Skipped {
        /// The job.
        job: String,
        /// Its time.
        scheduled: DateTime<Utc>,
    },
    /// A run that waited for another try gives way to the next one, or to nothing if the job was taken out of its hands.
    Superseded {
        /// The job.
        job: String,
        /// The run.
        run: Run,
    },
    /// The process ended while this ran.
    Interrupted {
        /// The job.
        job: String,
        /// The run.
        run: Run,
        /// It is going to be run again.
        again: bool,
    },
    /// The clock went back by hours: what comes by the new time runs, even if it ran by the old one.
    ClockWentBack {
        /// The job.
        job: String,
        /// How far.
        by: Duration,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Done,
    /// Badly; trying again may help.
    Failed,
    /// Badly, and trying again cannot help.
    Hopeless,
    /// It was cancelled.
    Cancelled,
}

/// What follows on a run's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Another try.
    Retry {
        /// When.
        at: DateTime<Utc>,
        /// Which, from 2.
        attempt: u32,
    },
    /// Nothing: it was the last try.
    GaveUp,
}
