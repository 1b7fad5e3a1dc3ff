//! A job: when it runs, and what happens when it cannot.

use std::time::Duration;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::CronSchedule;

/// What becomes of runs whose time passed while nobody was there to begin them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissedRuns {
    /// They are dropped, and told.
    Skip,
    /// One run stands for all of them.
    #[default]
    Once,
    /// Each is made up for, one after another; of more than [`MissedRuns::MOST`] the newest.
    All,
}

impl MissedRuns {
    /// How many runs [`MissedRuns::All`] makes up for at most.
    pub const MOST: usize = 100;
}

/// What happens when a run is due and the one before has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// The new one is dropped, and told.
    #[default]
    Skip,
    /// The new one waits; not more than one does.
    Queue,
    /// The one before is cancelled, and the new one begins when it has ended.
    Replace,
    /// Both run.
    Allow,
}

/// How often a run is tried, and how long to wait before each time.
///
/// The wait is drawn from nothing to a bound that doubles with each try: exponential backoff with full jitter (Marc Brooker,
/// "Exponential Backoff And Jitter", 2015).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, the first included.
    pub attempts: u32,
    /// The bound of the wait before the second try.
    pub delay: Duration,
    /// The bound of any wait.
    pub max_delay: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            delay: Duration::from_secs(30),
            max_delay: Duration::from_secs(15 * 60),
        }
    }
}

impl Retry {
    /// The longest wait before the try after `attempt`, counted from 1.
    #[must_use]
    pub fn bound(&self, attempt: u32) -> Duration {
        let factor = 1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.delay.saturating_mul(factor).min(self.max_delay)
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Names it.
    pub id: String,
    /// When it runs.
    pub cron: CronSchedule,
    /// Whose time of day is meant.
    pub zone: Tz,
    /// Each run begins up to this much later, by chance that is the same each time it is asked for.
    pub jitter: Duration,
    /// What becomes of runs that were missed.
    pub missed: MissedRuns,
    /// What happens when the run before has not ended.
    pub overlap: Overlap,
    /// How often a run is tried.
    pub retry: Retry,
    /// How long a try may take.
    pub timeout: Option<Duration>,
}

impl Job {
    /// A job with the usual answers to everything but its time.
    pub fn new(id: impl Into<String>, cron: CronSchedule, zone: Tz) -> Self {
        Self {
            id: id.into(),
            cron,
            zone,
            jitter: Duration::ZERO,
            missed: MissedRuns::default(),
            overlap: Overlap::default(),
            retry: Retry::default(),
            timeout: None,
        }
    }
}
