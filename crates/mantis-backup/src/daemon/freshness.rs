//! How old the newest good backups are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mantis_repo::{BackupInfo, Catalogue};

use super::telemetry::name;
use crate::clock;
use crate::jobs::Exposure;

/// How often a repository is measured: its objects are listed for that.
const MEASURE: Duration = Duration::from_secs(3600);

/// The newest good backup of each source in each repository.
#[derive(Debug, Default)]
pub struct Freshness {
    /// When it was made, in Unix milliseconds, by repository and source.
    newest: Mutex<BTreeMap<(String, String), i64>>,
    measured: Mutex<BTreeMap<String, Instant>>,
    /// By schedule and source.
    watched: Mutex<BTreeMap<Labels, AtStake>>,
}

/// The place where a watch's backups go, what they are called there, and how much is in none of them.
type AtStake = (String, String, Arc<Exposure>);

/// As the metrics call a watch: its schedule and its source.
pub(super) type Labels = [(&'static str, String); 2];

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Freshness {
    /// Takes note of what a repository holds.
    pub(super) fn see(&self, repository: &str, catalogue: &Catalogue) {
        let mut counts: BTreeMap<&str, (u64, i64)> = BTreeMap::new();
        for backup in &catalogue.backups {
            let (count, newest) = counts.entry(&backup.meta.source).or_default();
            *count += 1;
            *newest = (*newest).max(backup.meta.created_at.0);
        }
        let mut known = lock(&self.newest);
        // Of a source that is gone there are none; how old its last one was is shown on, so that it is missed.
        for (_, source) in
            known.keys().filter(|(at, source)| at == repository && !counts.contains_key(&**source))
        {
            let labels = [("repository", repository.to_owned()), ("source", source.clone())];
            metrics::gauge!(name::COUNT, &labels).set(0.0);
        }
        for (source, (count, newest)) in counts {
            let labels = [("repository", repository.to_owned()), ("source", source.to_owned())];
            metrics::gauge!(name::COUNT, &labels).set(count as f64);
            metrics::gauge!(name::NEWEST, &labels).set(newest as f64 / 1000.0);
            known.insert((repository.to_owned(), source.to_owned()), newest);
        }
    }

    /// Takes note of a backup that was made.
    pub(super) fn made(&self, repository: &str, info: &BackupInfo) {
        let (source, at) = (info.meta.source.clone(), info.meta.created_at.0);
        let labels = [("repository", repository.to_owned()), ("source", source.clone())];
        metrics::gauge!(name::COUNT, &labels).increment(1.0);
        metrics::gauge!(name::NEWEST, &labels).set(at as f64 / 1000.0);
        lock(&self.newest).insert((repository.to_owned(), source), at);
    }

    /// Takes note of what is watched, or is no more: where its backups go and what they are called there, how much may be at stake, and how much is.
    pub(super) fn watch(
        &self,
        labels: &Labels,
        watch: Option<(&str, &str, Duration, Arc<Exposure>)>,
    ) {
        let mut watched = lock(&self.watched);
        // Of one that begins nothing waits yet, and what waited goes with one that ends.
        for gauge in [name::WATCH_QUEUED, name::WATCH_QUEUED_BYTES] {
            metrics::gauge!(gauge, labels).set(0.0);
        }
        let Some((repository, name, limit, exposure)) = watch else {
            watched.remove(labels);
            // Better nothing than what it was when it was last watched.
            metrics::gauge!(name::RPO, labels).set(f64::NAN);
            metrics::gauge!(name::RPO_LIMIT, labels).set(f64::NAN);
            return;
        };
        metrics::gauge!(name::RPO_LIMIT, labels).set(limit.as_secs_f64());
        for counter in [name::WATCH_FAILURES, name::WATCH_GAPS] {
            metrics::counter!(counter, labels).increment(0);
        }
        watched.insert(labels.clone(), (repository.to_owned(), name.to_owned(), exposure));
    }

    /// What would be lost now, in seconds. Before the first backup of a watch: since the newest backup that there is.
    fn at_stake(&self, (repository, name, exposure): &AtStake) -> f64 {
        let newest = || {
            let newest = lock(&self.newest);
            let at = newest.get(&(repository.clone(), name.clone()))?;
            Some((clock::now().0 - at) as f64 / 1000.0)
        };
        let known = exposure.get().map(|exposed| exposed.as_secs_f64());
        known.or_else(newest).unwrap_or_else(|| exposure.of_watch().as_secs_f64())
    }

    /// Shows how old they are now, and how much is at stake.
    pub fn show(&self) {
        for (labels, watched) in lock(&self.watched).iter() {
            metrics::gauge!(name::RPO, labels).set(self.at_stake(watched));
        }
        let now = clock::now().0;
        for ((repository, source), newest) in lock(&self.newest).iter() {
            let labels = [("repository", repository.clone()), ("source", source.clone())];
            metrics::gauge!(name::AGE, &labels).set((now - newest) as f64 / 1000.0);
        }
    }

    /// Whether a repository was not measured for a while; if so, it counts as measured from now on.
    pub(super) fn measure_is_due(&self, repository: &str) -> bool {
        let due = lock(&self.measured).get(repository).is_none_or(|last| last.elapsed() >= MEASURE);
        if due {
            self.measured(repository);
        }
        due
    }

    pub(super) fn measured(&self, repository: &str) {
        lock(&self.measured).insert(repository.to_owned(), Instant::now());
    }
}
