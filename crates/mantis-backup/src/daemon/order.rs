//! What the supervisor asks of a worker, and what it hears of it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use mantis_schedule::{Outcome, Run};
use mantis_stream::{CancellationToken, ProgressTracker};

use super::{Entry, Wanted, Watched};
use crate::config::Config;

/// One try of a run.
#[derive(Debug, Clone)]
pub struct Order {
    /// Which job it is of.
    pub entry: Entry,
    /// Which run it is.
    pub run: Run,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// The configuration when it began: a newer one does not change it.
    pub config: Arc<Config>,
    /// Cancels it.
    pub cancel: CancellationToken,
    /// Shows how far it is.
    pub progress: Arc<ProgressTracker>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Well, or how badly.
    pub outcome: Outcome,
    /// What it did, in a few words.
    pub summary: String,
    /// Why it failed: the error with all its causes.
    pub error: Option<String>,
    /// What failed of it though it did what it should: a place of several, or what comes after the backup.
    pub problems: Vec<String>,
    /// What was found damaged.
    pub damage: Vec<String>,
    /// Repositories that are nearly full, by their names, and what there is to say of them.
    pub full: Vec<(String, String)>,
    /// The backup that was made.
    pub backup: Option<String>,
    /// The repository's name in the configuration.
    pub repository: Option<String>,
}

impl Report {
    /// A report of which nothing but the outcome is known.
    #[must_use]
    pub const fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            summary: String::new(),
            error: None,
            problems: Vec::new(),
            damage: Vec::new(),
            full: Vec::new(),
            backup: None,
            repository: None,
        }
    }

    /// All went well.
    pub fn done(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), ..Self::new(Outcome::Done) }
    }
}

/// Does what schedules ask for.
pub trait Worker: Send + Sync + 'static {
    /// Does it, and ends soon after it is cancelled.
    fn work(&self, order: Order) -> BoxFuture<'static, Report>;

    /// Watches what is wanted from now on, and nothing else. The future ends once what is not wanted any more has ended; it need not be
    /// waited for. A worker without an answer of its own watches nothing.
    fn watch(&self, wanted: Wanted) -> BoxFuture<'static, ()> {
        drop(wanted);
        Box::pin(std::future::ready(()))
    }

    /// How what is watched stands.
    fn watched(&self) -> Vec<Watched> {
        Vec::new()
    }

    /// Databases of which a watch that is not wanted any more has yet to end.
    fn ending(&self) -> Vec<String> {
        Vec::new()
    }
}
