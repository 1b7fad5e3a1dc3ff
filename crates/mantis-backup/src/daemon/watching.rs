//! What is watched, and what the supervisor hears of it.
//!
//! Watches run beside the agenda: they begin with the daemon, end with it, and stand still while their schedule is paused. What a watch tells is
//! treated as the end of a run of its job: it is in the history and in the metrics, and notifications go out.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Entry, Report, Supervisor};
use crate::config::Config;

/// What is to be watched from now on, and nothing else.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The jobs whose sources are watched.
    pub entries: Vec<Entry>,
    /// The configuration that they are of.
    pub config: Arc<Config>,
    /// Hears how watches stand, when that changes.
    pub news: mpsc::UnboundedSender<News>,
}

/// How a watch stands.
#[derive(Debug, Clone)]
pub struct News {
    /// The job.
    pub entry: Entry,
    /// That it is as it should be, or that too much is at stake.
    pub report: Report,
}

/// How a watch stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "dashboard", derive(utoipa::ToSchema))]
pub struct Watched {
    /// The job.
    pub job: String,
    /// For how many milliseconds what was committed may be in no backup: since the watch began, where it has made none yet.
    pub exposed_ms: u64,
    /// For how many milliseconds it may be.
    pub limit_ms: u64,
    /// Backups that it made.
    pub backups: u64,
    /// Moments that wait on the local disk while the store is gone.
    #[serde(default)]
    pub waiting: u64,
    /// Why its last try failed, if it did.
    pub error: Option<String>,
}

impl Watched {
    /// Whether more is at stake than should be.
    #[must_use]
    pub const fn is_late(&self) -> bool {
        self.exposed_ms > self.limit_ms
    }

    /// The time that is at stake.
    #[must_use]
    pub const fn exposed(&self) -> Duration {
        Duration::from_millis(self.exposed_ms)
    }
}

impl Supervisor {
    fn wanted(&self, entries: Vec<Entry>) -> Wanted {
        Wanted { entries, config: Arc::clone(&self.config), news: self.news.0.clone() }
    }

    /// Has watched what is to be: the sources of schedules with `watch` that are not paused.
    pub(super) fn watch(&self) {
        let is_watched = |entry: &&Entry| {
            let schedule = self.config.schedules.get(&entry.schedule);
            let stands_still = self.agenda.get(&entry.id).is_none_or(|(_, state)| state.paused);
            schedule.is_some_and(|schedule| schedule.watch.is_some()) && !stands_still
        };
        let entries = self.roster.iter().filter(is_watched).cloned().collect();
        // What is watched no more ends by itself.
        drop(self.worker.watch(self.wanted(entries)));
    }

    /// Has nothing watched any more. The future ends once nothing is.
    pub(super) fn watch_nothing(&self) -> BoxFuture<'static, ()> {
        self.worker.watch(self.wanted(Vec::new()))
    }

    /// Notes how a watch stands, and tells of it.
    pub(super) async fn hear(&mut self, News { entry, report }: News) {
        let now = self.timer.now();
        let job = &entry.id;
        match &report.error {
            Some(error) => tracing::error!(%job, %error, "watched, and too much is at stake"),
            None => tracing::info!(%job, "{}", report.summary),
        }
        let record = report.record(&entry, now);
        self.conclude(&entry, &report, &record, now).await;
    }
}
