//! Continuous protection: a backup for each interval in which something was committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use futures::future::BoxFuture;
use mantis_repo::{BackupId, BackupInfo, Repository, WriteOptions};
use mantis_retention::Policy;
use mantis_snapshot::{Coordinator, Engine, Relief, SnapshotError, SnapshotToken};
use mantis_stream::ProgressTracker;
use tokio::time::Instant;

use super::backup::{LOOKS_GOOD_FOR, backup_as_of};
use super::queued_moment::QueuedMoment;
use super::watch_queue::{Base, WatchQueue};
use super::{BackupJob, Exposure, SharedRules};
use crate::Error;

/// How often the source's log is looked after while a backup is on its way or waited for, at most.
const LOG_EVERY: Duration = Duration::from_millis(500);
/// How long is waited at most after a failure, where the interval is not longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Waits until a backup may be made, or fails where none may; what it returns is held until the backup has ended.
pub type Admission =
    Arc<dyn Fn() -> BoxFuture<'static, Result<Box<dyn Send>, Error>> + Send + Sync>;

/// What to watch, and how.
pub struct WatchJob {
    /// Where to.
    pub repo: Repository,
    /// Takes the snapshots.
    pub coordinator: Coordinator,
    /// What.
    pub engine: Arc<dyn Engine>,
    /// The source's name.
    pub name: String,
    /// The user's own words on its backups.
    pub tags: BTreeMap<String, String>,
    /// How they are written; `cancel` ends the watch, and `progress` is not used.
    pub write: WriteOptions,
    /// From one look at the source to the next.
    pub every: Duration,
    /// About how many bytes the source's log may grow to between backups, for the sake of the watch.
    pub max_log: u64,
    /// What is kept, and who sees to that for all sources of the repository; everything without.
    pub rules: Option<(Arc<SharedRules>, (Policy, Tz))>,
    /// Asked before each backup.
    pub admission: Admission,
    /// Told how much is at stake.
    pub exposure: Arc<Exposure>,
}

impl std::fmt::Debug for WatchJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchJob")
            .field("name", &self.name)
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

/// What a watch did.
#[derive(Debug)]
pub enum WatchEvent {
    /// A backup was made.
    Made {
        /// Which.
        info: Box<BackupInfo>,
        /// For how long what it holds was, at the worst, in no backup: from the last moment before it of which all was in backups. Not known
        /// of the first one, as what was committed before the watch began is not.
        exposed: Option<Duration>,
    },
    /// A backup failed. What changed is kept in mind, and goes with the next one.
    Failed {
        /// Why.
        error: Error,
        /// How many failed since the last one that did not.
        failures: u32,
        /// When the next one is tried.
        wait: Duration,
    },
    /// While the store is gone, a moment was kept on the local disk.
    Queued {
        /// How many wait there.
        moments: usize,
        /// Bytes that they take.
        bytes: u64,
    },
    /// A moment waits no more: there is a backup of it, or it was let go of.
    Dequeued {
        /// How many still wait.
        moments: usize,
        /// Bytes that they take.
        bytes: u64,
    },
    /// What changed was lost sight of: the next backup compares all pages.
    Gap,
    /// The source's log was cut short.
    Relieved(Relief),
    /// The log could not be cut short.
    NotRelieved(Error),
    /// Rules removed backups, of this source or of others that share them.
    Expired(BTreeMap<String, Vec<BackupId>>),
    /// Rules could not be applied.
    NotExpired(Error),
}

/// One watch.
pub(super) struct Watch<'a, T> {
    pub(super) job: &'a WatchJob,
    pub(super) tell: T,
    /// The last backup failed, so that the engine's word alone does not tell whether there is something to do.
    pub(super) behind: bool,
    pub(super) failures: u32,
    gaps: u64,
    /// Moments that wait for the store.
    pub(super) queue: Option<WatchQueue>,
    /// The one that is on its way.
    pub(super) under_way: Option<Arc<QueuedMoment>>,
    /// How often in a row one could not be stored, though the store was there.
    pub(super) refused: u32,
    /// The last backup that was made, where the engine knows what changed since.
    pub(super) base: Option<Base>,
}

/// Runs blocking work on an engine.
async fn ask<T: Send + 'static>(
    engine: &Arc<dyn Engine>,
    work: impl FnOnce(&dyn Engine) -> Result<T, mantis_snapshot::SnapshotError> + Send + 'static,
) -> Result<T, Error> {
    let engine = Arc::clone(engine);
    let done = tokio::task::spawn_blocking(move || work(&*engine)).await;
    let done = done.map_err(|error| Error::Other {
        doing: "look after the source".into(),
        source: error.into(),
        help: None,
    })?;
    Ok(done?)
}

/// Watches a source until it is cancelled: looks at it each interval, and backs it up where something was committed. An interval without
/// a commit does nothing in the repository, where the engine can tell ([`Engine::is_idle`]). `tell` hears of everything.
///
/// While the store is slow or gone, the source goes on undisturbed: its log is cut short meanwhile, what changed is kept in mind page by page, and
/// the first backup that can be made has all of it. Where there is a spool and the engine knows what changed, from the first failure on a moment of each
/// interval waits in it, and all of them become backups once the store is back; where the spool is full, those that are closest together become one.
///
/// # Errors
/// What keeps the very first backup from being made, where trying again would be of no use.
pub async fn watch(job: &WatchJob, tell: impl FnMut(WatchEvent)) -> Result<(), Error> {
    let now = Instant::now();
    let gaps = job.engine.gaps();
    let mut watch = Watch {
        job,
        tell,
        behind: true,
        failures: 0,
        gaps,
        queue: job.write.spool.clone().map(WatchQueue::new),
        under_way: None,
        refused: 0,
        base: None,
    };
    let mut due = now;
    let mut made = false;
    loop {
        if !watch.wait_until(due).await {
            return Ok(());
        }
        let looked = Instant::now();
        let wait = match watch.tick(looked).await {
            Ok(()) => {
                made = true;
                watch.apply_rules().await;
                job.every
            }
            Err(error) if error.is_cancelled() && job.write.cancel.is_cancelled() => return Ok(()),
            Err(error) if !made && !error.is_retryable() => return Err(error),
            Err(error) => watch.failed(error),
        };
        watch.relieve().await;
        // A backup that takes longer than the interval is followed by the next one at once.
        due = (looked + wait).max(Instant::now());
    }
}

impl<T: FnMut(WatchEvent)> Watch<'_, T> {
    /// Waits, and looks after the source's log meanwhile; `false` once the watch is cancelled.
    async fn wait_until(&mut self, due: Instant) -> bool {
        loop {
            let next = due.min(Instant::now() + self.job.every.max(LOG_EVERY));
            tokio::select! {
                () = self.job.write.cancel.cancelled() => return false,
                () = tokio::time::sleep_until(next) => {}
            }
            if next == due {
                return true;
            }
            if self.failures > 0 {
                self.have_wait().await;
            }
            self.relieve().await;
        }
    }

    async fn tick(&mut self, looked: Instant) -> Result<(), Error> {
        let job = self.job;
        if self.failures > 0 {
            self.have_wait().await;
        }
        self.store_what_waits().await?;
        if !self.behind && ask(&job.engine, Engine::is_idle).await? {
            let _ = job.exposure.safe_until(looked);
            return Ok(());
        }
        self.behind = true;
        let turn = self.turn().await?;
        let backup = backup_as_of(self.backup_of(Arc::clone(&job.engine)), None);
        let (info, token) = self.looking_after_the_log(backup).await?;
        drop(turn);
        self.made(info, token, looked);
        Ok(())
    }

    /// Waits until a backup may be made. One that is cancelled does not wait for its turn: somebody else may wait for its end.
    pub(super) async fn turn(&mut self) -> Result<Box<dyn Send>, Error> {
        let (admission, cancel) = (Arc::clone(&self.job.admission), self.job.write.cancel.clone());
        let turn = async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(SnapshotError::Cancelled.into()),
                turn = admission() => turn,
            }
        };
        self.looking_after_the_log(turn).await
    }

    pub(super) fn backup_of(&self, engine: Arc<dyn Engine>) -> BackupJob {
        let job = self.job;
        BackupJob {
            repo: job.repo.clone(),
            coordinator: job.coordinator.clone(),
            engine,
            name: job.name.clone(),
            tags: job.tags.clone(),
            write: WriteOptions { progress: Arc::new(ProgressTracker::new()), ..job.write.clone() },
            timeout: None,
            full: false,
            looks_good_for: LOOKS_GOOD_FOR,
        }
    }

    /// A backup was made, which has all that was committed until then.
    pub(super) fn made(&mut self, info: BackupInfo, token: Option<SnapshotToken>, looked: Instant) {
        (self.behind, self.failures) = (false, 0);
        self.base = token.map(|token| Base { info: info.clone(), token });
        if let Some((shared, rules)) = &self.job.rules {
            shared.made(&self.job.name, rules);
        }
        let exposed = self.job.exposure.safe_until(looked);
        self.tell_gaps();
        (self.tell)(WatchEvent::Made { info: Box::new(info), exposed });
    }

    /// Waits for something that may take its time, as a store may: the source's log is not to grow meanwhile.
    pub(super) async fn looking_after_the_log<R>(
        &mut self,
        something: impl Future<Output = R>,
    ) -> R {
        let mut something = std::pin::pin!(something);
        loop {
            tokio::select! {
                done = &mut something => return done,
                () = tokio::time::sleep(self.job.every.max(LOG_EVERY)) => {
                    if self.under_way.is_some() {
                        self.have_wait().await;
                    }
                    self.relieve().await;
                }
            }
        }
    }

    pub(super) fn tell_gaps(&mut self) {
        let gaps = self.job.engine.gaps();
        if gaps > self.gaps {
            self.gaps = gaps;
            (self.tell)(WatchEvent::Gap);
        }
    }

    /// Tells of a failure; how long to wait.
    fn failed(&mut self, error: Error) -> Duration {
        self.behind = true;
        let longest = LONGEST_WAIT.max(self.job.every);
        let wait = self.job.every.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        (self.tell)(WatchEvent::Failed { error, failures: self.failures, wait });
        wait
    }

    async fn relieve(&mut self) {
        let limit = self.job.max_log;
        match ask(&self.job.engine, move |engine| engine.relieve(limit)).await {
            Ok(relief) if relief != Relief::default() => (self.tell)(WatchEvent::Relieved(relief)),
            Ok(_) => {}
            Err(error) => (self.tell)(WatchEvent::NotRelieved(error)),
        }
        self.tell_gaps();
    }

    async fn apply_rules(&mut self) {
        let Some((shared, _)) = &self.job.rules else { return };
        let shared = Arc::clone(shared);
        match self.looking_after_the_log(shared.apply()).await {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => (self.tell)(WatchEvent::Expired(removed)),
            Err(error) => (self.tell)(WatchEvent::NotExpired(error)),
        }
    }
}
