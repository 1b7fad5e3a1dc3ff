//! Rules for many sources of one repository, applied to all of them at once: the list of backups is read once, however many there are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono_tz::Tz;
use mantis_repo::{BackupId, BackupInfo, Repository};
use mantis_retention::Policy;
use tokio::time::Instant;

use super::expire::plan_for;
use crate::{Error, clock};

/// How often rules are applied, at most.
const EVERY: Duration = Duration::from_secs(60);

/// What is to be thinned out by which rules.
type Due = BTreeMap<String, (Policy, Tz)>;

/// Rules for the sources of a repository that are backed up again and again.
#[derive(Debug)]
pub struct SharedRules {
    repo: Repository,
    /// Sources of which backups were made since rules were applied: without, there is nothing to remove.
    due: Mutex<Due>,
    /// When they are applied next. Held while they are.
    next: tokio::sync::Mutex<Instant>,
}

impl SharedRules {
    /// Rules for sources of a repository.
    #[must_use]
    pub fn new(repo: Repository) -> Self {
        let next = tokio::sync::Mutex::new(Instant::now() + EVERY);
        Self { repo, due: Mutex::default(), next }
    }

    fn with_due<R>(&self, change: impl FnOnce(&mut Due) -> R) -> R {
        change(&mut self.due.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A backup of a source was made.
    pub fn made(&self, source: &str, rules: &(Policy, Tz)) {
        self.with_due(|due| due.insert(source.to_owned(), rules.clone()));
    }

    /// Forgets what rules do not keep, a minute after that was last done; before, and while another one does it, nothing. Returns which
    /// backups of which sources.
    ///
    /// # Errors
    /// What the store reports; what was not done is done the next time, a minute later.
    pub async fn apply(&self) -> Result<BTreeMap<String, Vec<BackupId>>, Error> {
        let Ok(mut next) = self.next.try_lock() else { return Ok(BTreeMap::new()) };
        if Instant::now() < *next {
            return Ok(BTreeMap::new());
        }
        *next = Instant::now() + EVERY;
        let due = self.with_due(std::mem::take);
        let applied = self.apply_to(&due).await;
        if applied.is_err() {
            // What came meanwhile is newer.
            self.with_due(|now| {
                let newer = std::mem::replace(now, due);
                now.extend(newer);
            });
        }
        applied
    }

    async fn apply_to(&self, due: &Due) -> Result<BTreeMap<String, Vec<BackupId>>, Error> {
        if due.is_empty() {
            return Ok(BTreeMap::new());
        }
        let catalogue = self.repo.catalogue_again().await?;
        let mut by_source: BTreeMap<&str, Vec<&BackupInfo>> = BTreeMap::new();
        for backup in &catalogue.backups {
            if due.contains_key(&backup.meta.source) {
                by_source.entry(&backup.meta.source).or_default().push(backup);
            }
        }
        let mut removed = BTreeMap::new();
        for (source, (policy, zone)) in due {
            let backups = by_source.remove(&**source).unwrap_or_default();
            let plan = plan_for(backups, (policy, *zone));
            let ids: Vec<BackupId> = plan.removed.iter().map(|removed| removed.id).collect();
            if !ids.is_empty() {
                removed.insert(source.clone(), ids);
            }
        }
        let all: Vec<BackupId> = removed.values().flatten().copied().collect();
        if !all.is_empty() {
            self.repo.forget(&catalogue, &all, clock::entropy()?, clock::now()).await?;
        }
        Ok(removed)
    }
}
