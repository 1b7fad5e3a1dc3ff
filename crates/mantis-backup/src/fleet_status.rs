//! A fleet as its repository alone tells of it: its members, and how old the newest backup of each source is.

use std::collections::BTreeMap;
use std::time::Duration;

use mantis_repo::{BackupInfo, Beat, MemberId, RepoError, Repository, UnixMillis};

use crate::Error;

/// How often a member is read that goes on meanwhile.
const TRIES: usize = 8;

/// A member, as far as it tells.
#[derive(Debug, Clone)]
pub(crate) struct FleetMember {
    pub(crate) id: MemberId,
    pub(crate) beat: Beat,
    /// How long nothing was heard of it when it was asked for, by its clock and ours.
    pub(crate) silent: Duration,
}

impl FleetMember {
    /// Whether its lease may still have lasted then, should its clock go as ours.
    pub(crate) fn is_alive(&self) -> bool {
        self.silent < self.lease()
    }

    pub(crate) const fn lease(&self) -> Duration {
        Duration::from_millis(self.beat.lease_ms)
    }

    pub(crate) fn state(&self) -> &'static str {
        if self.is_alive() { "alive" } else { "silent" }
    }

    /// How many databases it protects. What a silent one did, others do.
    pub(crate) fn protects(&self) -> Option<u64> {
        self.is_alive().then_some(self.beat.protected)
    }
}

/// What there is of a source.
#[derive(Debug)]
pub(crate) struct FleetSource<'a> {
    pub(crate) name: &'a str,
    pub(crate) backups: u64,
    pub(crate) newest: &'a BackupInfo,
}

impl FleetSource<'_> {
    /// How old its newest backup is.
    pub(crate) fn age(&self) -> Duration {
        since(self.newest.meta.created_at)
    }
}

fn since(then: UnixMillis) -> Duration {
    Duration::from_millis(u64::try_from(crate::now().0.saturating_sub(then.0)).unwrap_or(0))
}

/// A member's newest beat; none where it has left. A beat is gone a moment after the next one is there.
async fn newest_beat(
    repo: &Repository,
    id: MemberId,
    mut number: u64,
) -> Result<Option<Beat>, Error> {
    for _ in 0..TRIES {
        if let Some(beat) = repo.fleet_beat(id, number).await? {
            return Ok(Some(beat));
        }
        match repo.fleet().await?.get(&id) {
            Some(newest) => number = *newest,
            None => return Ok(None),
        }
    }
    let help = "ask again, or give the fleet a longer `lease`";
    Err(Error::usage(format!("the member {id} goes on faster than it can be read"), help))
}

/// The members that tell of themselves, by host, and why others are not among them.
///
/// # Errors
/// What keeps the store from telling.
pub(crate) async fn members(repo: &Repository) -> Result<(Vec<FleetMember>, Vec<Error>), Error> {
    let (mut members, mut damaged) = (Vec::new(), Vec::new());
    for (id, number) in repo.fleet().await? {
        match newest_beat(repo, id, number).await {
            Ok(beat) => {
                let member = |beat: Beat| FleetMember { id, silent: since(beat.at), beat };
                members.extend(beat.map(member));
            }
            Err(error @ Error::Repo(RepoError::Damaged { .. })) => damaged.push(error),
            Err(error) => return Err(error),
        }
    }
    members.sort_by(|a, b| (&a.beat.host, a.id).cmp(&(&b.beat.host, b.id)));
    Ok((members, damaged))
}

/// The sources of these backups, by name.
pub(crate) fn sources(backups: &[BackupInfo]) -> Vec<FleetSource<'_>> {
    let mut sources: BTreeMap<&str, FleetSource<'_>> = BTreeMap::new();
    for info in backups {
        let name = info.meta.source.as_str();
        let source = sources.entry(name).or_insert(FleetSource { name, backups: 0, newest: info });
        source.backups += 1;
        if info.meta.created_at >= source.newest.meta.created_at {
            source.newest = info;
        }
    }
    sources.into_values().collect()
}
