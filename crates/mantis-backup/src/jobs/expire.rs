//! What a policy does not keep is forgotten.

use chrono_tz::Tz;
use mantis_repo::{BackupId, BackupInfo, Catalogue, Repository};
use mantis_retention::{Candidate, Circumstances, Plan, Policy, plan};

use crate::candidates::candidate;
use crate::{Error, clock};

/// What a policy has for the backups of a catalogue, of all sources or of one, as of now.
#[must_use]
pub fn retention_plan(
    catalogue: &Catalogue,
    (policy, zone): (&Policy, Tz),
    source: Option<&str>,
) -> Plan<BackupId> {
    let fits = |backup: &&BackupInfo| source.is_none_or(|source| backup.meta.source == source);
    plan_for(catalogue.backups.iter().filter(fits), (policy, zone))
}

/// What a policy has for backups, as of now.
pub(super) fn plan_for<'a>(
    backups: impl IntoIterator<Item = &'a BackupInfo>,
    (policy, zone): (&Policy, Tz),
) -> Plan<BackupId> {
    let candidates: Vec<Candidate<BackupId>> = backups.into_iter().map(candidate).collect();
    let now = clock::calendar_now();
    plan(policy, &candidates, Circumstances { now, zone: &zone, free: None })
}

/// Forgets the backups of a source that a policy does not keep. Returns which, and what the repository holds after that.
///
/// # Errors
/// What the store reports; then none is forgotten.
pub async fn expire(
    repo: &Repository,
    policy: (&Policy, Tz),
    source: &str,
) -> Result<(Vec<BackupId>, Catalogue), Error> {
    let mut catalogue = repo.catalogue().await?;
    let plan = retention_plan(&catalogue, policy, Some(source));
    let removed: Vec<BackupId> = plan.removed.iter().map(|removed| removed.id).collect();
    if !removed.is_empty() {
        repo.forget(&catalogue, &removed, clock::entropy()?, clock::now()).await?;
        catalogue.backups.retain(|backup| !removed.contains(&backup.id));
    }
    Ok((removed, catalogue))
}
