//! How old the newest good backups are.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mantis_repo::Catalogue;

use super::telemetry::name;
use crate::clock;

/// How often a repository is measured: its objects are listed for that.
const MEASURE: Duration = Duration::from_secs(3600);

/// The newest good backup of each source in each repository.
#[derive(Debug, Default)]
pub struct Freshness {
    /// When it was made, in Unix milliseconds, by repository and source.
    newest: Mutex<BTreeMap<(String, String), i64>>,
    measured: Mutex<BTreeMap<String, Instant>>,
}

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

    /// Shows how old they are now.
    pub fn show(&self) {
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
