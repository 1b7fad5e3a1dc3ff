//! One source that is watched.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono_tz::Tz;
use mantis_repo::{BackupInfo, WriteOptions};
use mantis_retention::Policy;
use mantis_snapshot::{Coordinator, SnapshotConfig};
use mantis_stream::{CancellationToken, Compression};

use super::backup::{Task, show};
use super::place::Place;
use super::watches::Shared;
use super::{no_such, turn};
use crate::Error;
use crate::config::{Config, SourceConfig};
use crate::daemon::Entry;
use crate::daemon::telemetry::name;
use crate::jobs::{Admission, Exposure, WatchEvent, WatchJob, watch};
use crate::spool::spool_for;

/// How long the WAL may grow where nobody says so, in bytes.
const USUAL_LOG: u64 = 16 << 20;
/// How long is waited before a watch that could not begin is begun again, at first and at most.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What is watched, and how: while none of it changes, the watch goes on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) place: Place,
    pub(super) source: SourceConfig,
    /// What the source is called in the repository.
    pub(super) name: String,
    tags: BTreeMap<String, String>,
    pub(super) every: Duration,
    /// How much may be at stake.
    pub(super) limit: Duration,
    max_log: u64,
    compression: Compression,
    rate: Option<u64>,
    spool_limit: Option<u64>,
    jobs: usize,
    rules: Option<(Policy, Tz)>,
}

impl Plan {
    /// What is to be done for a job whose schedule has `watch`.
    pub(super) fn of(config: &Config, entry: &Entry) -> Result<Self, Error> {
        let task = Task::of(config, entry)?;
        let schedule = task.schedule;
        let missing = || no_such("watch of", &entry.id);
        let every = schedule.watch.ok_or_else(missing)?.0.0;
        let repository = schedule.repositories(config).into_iter().next().ok_or_else(missing)?;
        let retention = schedule.retention.as_ref();
        let retention = retention.and_then(|named| config.retention.get(named.get_ref()));
        Ok(Self {
            place: Place::of(config, &repository)?,
            source: task.source.clone(),
            every,
            limit: schedule.most_exposed().unwrap_or(every),
            max_log: schedule.max_wal.map_or(USUAL_LOG, |size| size.0.0),
            compression: schedule.compression.map_or_else(Compression::default, |codec| codec.0),
            rate: schedule.limit_rate.map(|rate| rate.0.0),
            spool_limit: schedule.spool_limit.map(|limit| limit.0.0),
            jobs: usize::try_from(schedule.jobs).unwrap_or(0),
            rules: retention.map(|retention| (retention.policy(), task.zone)),
            name: task.name,
            tags: task.tags,
        })
    }
}

/// What a watch has come to.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Why the last try failed, and which repository is nearly full, if that is why.
    pub(super) error: Option<(String, Vec<(String, String)>)>,
    /// Backups since the watch began.
    pub(super) backups: u64,
    /// The newest of them.
    pub(super) last: Option<Box<BackupInfo>>,
    /// Backups since it was last told how it stands, and how much was at stake at most.
    pub(super) untold: (u64, Duration),
    /// Moments that wait for the store.
    pub(super) waiting: u64,
    /// It was told that the WAL cannot be put into the database, and it still cannot.
    is_stuck: bool,
}

/// A watch.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) entry: Entry,
    pub(super) plan: Plan,
    pub(super) exposure: Arc<Exposure>,
    pub(super) state: Mutex<State>,
    pub(super) cancel: CancellationToken,
    /// Cancelled once nothing of it runs any more.
    pub(super) ended: CancellationToken,
}

impl Watch {
    pub(super) fn new(entry: Entry, plan: Plan) -> Self {
        Self {
            entry,
            plan,
            exposure: Arc::new(Exposure::new()),
            state: Mutex::default(),
            cancel: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: &Error) {
        self.state().error = Some((error.chain_and_help(), super::full(error)));
        metrics::counter!(name::WATCH_FAILURES, &self.labels()).increment(1);
    }

    /// As the metrics call it.
    pub(super) fn labels(&self) -> [(&'static str, String); 2] {
        let source = self.entry.source.clone().unwrap_or_default();
        [("schedule", self.entry.schedule.clone()), ("source", source)]
    }

    /// Watches until it is cancelled. What keeps a watch from beginning is tried again: the database or the store may come yet.
    pub(super) async fn run(&self, shared: &Shared) {
        let mut wait = WAITS.0;
        while !self.cancel.is_cancelled() {
            if let Err(error) = self.attempt(shared).await
                && !self.cancel.is_cancelled()
            {
                let job = &self.entry.id;
                tracing::warn!(%job, error = %error.chain_and_help(), again_in = wait.as_secs(), "cannot be watched");
                self.failed(&error);
                if matches!(error, Error::Repo(_)) {
                    // Another one may have taken its place.
                    shared.repositories.let_go_of(&self.plan.place);
                }
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.cancel.cancelled() => {}
                }
                wait = wait.saturating_mul(2).min(WAITS.1);
            }
        }
    }

    async fn attempt(&self, shared: &Shared) -> Result<(), Error> {
        let job = tokio::select! {
            job = self.job(shared) => job?,
            () = self.cancel.cancelled() => return Ok(()),
        };
        watch(&job, |event| self.heard(shared, event)).await
    }

    async fn job(&self, shared: &Shared) -> Result<WatchJob, Error> {
        let plan = &self.plan;
        let (repo, rules) = shared.repositories.open(&plan.place).await?;
        let (sources, source) = (Arc::clone(&shared.sources), plan.source.clone());
        let job = self.entry.id.clone();
        let engine = tokio::task::spawn_blocking(move || sources.follower(&job, &source)).await;
        let engine = engine.map_err(|error| Error::Other {
            doing: format!("open {}", plan.source.path),
            source: error.into(),
            help: None,
        })??;
        Ok(WatchJob {
            coordinator: Coordinator::new(SnapshotConfig {
                freeze_timeout: plan.source.freeze_timeout.0.0,
                temp_folder: Some(shared.scratch.to_path_buf()),
                ..SnapshotConfig::default()
            }),
            engine,
            name: plan.name.clone(),
            tags: plan.tags.clone(),
            write: WriteOptions {
                compression: plan.compression,
                jobs: plan.jobs,
                rate: plan.rate,
                spool: spool_for(&repo, Some(&shared.scratch), plan.spool_limit),
                cancel: self.cancel.clone(),
                ..WriteOptions::default()
            },
            every: plan.every,
            max_log: plan.max_log,
            rules: plan.rules.clone().map(|of_source| (rules, of_source)),
            admission: self.admission(shared, repo.is_remote()),
            exposure: Arc::clone(&self.exposure),
            repo,
        })
    }

    /// Backups take turns, leave space free, and do not run beside a prune that is to be alone.
    fn admission(&self, shared: &Shared, is_remote: bool) -> Admission {
        let (place, path) = (self.plan.place.clone(), self.plan.source.path().to_owned());
        let (dir, turns, cancel) = (shared.dir.clone(), shared.turns.clone(), self.cancel.clone());
        Arc::new(move || {
            let (place, dir, cancel) = (place.clone(), dir.clone(), cancel.clone());
            let (turns, path) = (turns.clone(), path.clone());
            Box::pin(async move {
                place.check_space()?;
                let beside_prunes = turn::to_use(&dir, &place, &cancel).await?;
                let turn = turns.take(is_remote, &path).await;
                Ok(Box::new((beside_prunes, turn)) as Box<dyn Send>)
            })
        })
    }

    /// So many moments wait for the store.
    fn wait_now(&self, moments: usize, bytes: u64) {
        self.state().waiting = moments as u64;
        let labels = self.labels();
        metrics::gauge!(name::WATCH_QUEUED, &labels).set(moments as f64);
        metrics::gauge!(name::WATCH_QUEUED_BYTES, &labels).set(bytes as f64);
    }

    fn heard(&self, shared: &Shared, event: WatchEvent) {
        let job = &self.entry.id;
        match event {
            WatchEvent::Made { info, exposed } => {
                tracing::debug!(%job, backup = %info.id, pages = info.pages_changed, ?exposed, "backed up");
                let source = self.entry.source.as_deref().unwrap_or_default();
                show(source, &info);
                shared.freshness.made(&self.plan.place.name, &info);
                let mut state = self.state();
                state.error = None;
                state.backups += 1;
                state.untold.0 += 1;
                state.untold.1 = state.untold.1.max(exposed.unwrap_or_default());
                state.last = Some(info);
            }
            WatchEvent::Failed { error, failures, wait } => {
                tracing::warn!(%job, error = %error.chain_and_help(), failures, again_in = wait.as_secs(), "a backup of the watch failed");
                self.failed(&error);
            }
            WatchEvent::Queued { moments, bytes } => {
                tracing::debug!(%job, moments, bytes, "a moment waits for the store");
                self.wait_now(moments, bytes);
            }
            WatchEvent::Dequeued { moments, bytes } => {
                tracing::debug!(%job, moments, bytes, "a moment waits no more");
                self.wait_now(moments, bytes);
            }
            WatchEvent::Gap => {
                tracing::warn!(%job, "lost sight of what changed: all pages are compared");
                metrics::counter!(name::WATCH_GAPS, &self.labels()).increment(1);
            }
            WatchEvent::Relieved(relief) => {
                tracing::debug!(%job, writers_held = ?relief.writers_held, "WAL put into the database");
                self.state().is_stuck = false;
            }
            WatchEvent::NotRelieved(error) => {
                // It is tried again and again, and told once.
                if !std::mem::replace(&mut self.state().is_stuck, true) {
                    tracing::warn!(%job, error = %error.chain_and_help(), "its WAL cannot be put into the database");
                }
            }
            WatchEvent::Expired(removed) => {
                let place = self.plan.place.name.clone();
                let backups = removed.values().map(Vec::len).sum::<usize>();
                metrics::counter!(name::EXPIRED, "repository" => place).increment(backups as u64);
                tracing::debug!(sources = removed.len(), backups, "retention removed backups");
            }
            WatchEvent::NotExpired(error) => {
                tracing::warn!(%job, error = %error.chain_and_help(), "retention was not applied");
            }
        }
    }
}
