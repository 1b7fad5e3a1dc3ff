//! Several daemons, on several machines, that share a set of databases: each is protected by one of them, through leases in the object store.
//!
//! - [`membership`]: who protects what, and why no two do at once;
//! - [`member`]: what a member reads of others and tells of itself, in the objects of [`mantis_repo`]'s fleet;
//! - [`Fleet`]: what that means for a configuration.

mod member;
mod membership;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mantis_repo::{MemberId, Repository};
use tokio::time::{Instant, timeout};

use super::telemetry::name;
use super::worker::Place;
use crate::Error;
use crate::config::{Config, FleetConfig};
use member::Member;
use membership::View;

/// How long saying that it leaves may take.
const LEAVING: Duration = Duration::from_secs(10);

/// Who is to leave when the daemon ends.
pub(super) type Leaver = Arc<Mutex<Option<(Repository, MemberId)>>>;

/// What of a configuration's databases is protected here, and what is left to other members.
#[derive(Default)]
pub(super) struct Fleet {
    /// What the member was made of.
    of: Option<(FleetConfig, Place)>,
    member: Option<Member>,
    /// What is protected here.
    owned: BTreeSet<String>,
    /// What is told once nothing else is protected.
    view: View,
    /// When it looks again.
    due: Option<Instant>,
    /// What went wrong last, so that it is told once.
    trouble: Option<String>,
    leaver: Leaver,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet")
            .field("of", &self.of)
            .field("owned", &self.owned)
            .finish_non_exhaustive()
    }
}

/// Says that a member leaves, so that others need not wait for the end of its lease.
pub(super) async fn leave(leaver: &Leaver) {
    let Some((repo, member)) = leaver.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        return;
    };
    match timeout(LEAVING, repo.leave_fleet(member)).await {
        Ok(Ok(())) => tracing::info!(%member, "left the fleet"),
        Ok(Err(error)) => {
            tracing::warn!(%member, error = %Error::from(error).chain(), "did not leave the fleet: others wait for its lease to end");
        }
        Err(_) => {
            tracing::warn!(%member, "did not leave the fleet in time: others wait for its lease to end");
        }
    }
}

impl Fleet {
    pub(super) fn leaver(&self) -> Leaver {
        Arc::clone(&self.leaver)
    }

    /// A configuration that leaves to others what is not protected here.
    pub(super) fn apply(&mut self, config: Config) -> Config {
        let of = config.fleet.as_ref().and_then(|fleet| {
            let place = Place::of(&config, &fleet.repository_of(&config)?).ok()?;
            Some((fleet.clone(), place))
        });
        if of != self.of {
            self.of = of;
            self.owned.clear();
            self.due = None;
            // It does not say that it leaves: what it protected has not ended yet. Others wait for the end of its lease.
            self.member = None;
        }
        let Some(fleet) = &config.fleet else {
            return Config { elsewhere: Arc::default(), ..config };
        };
        let all = fleet.databases(&config);
        let elsewhere = all.into_iter().filter(|name| !self.owned.contains(name)).collect();
        Config { elsewhere: Arc::new(elsewhere), ..config }
    }

    /// When it is to look again, if it is a member.
    pub(super) fn due(&self) -> Option<Instant> {
        self.of.as_ref().map(|_| self.due.unwrap_or_else(Instant::now))
    }

    /// How long something else may take meanwhile, if it is a member: its turns are not to wait.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.of.as_ref().map(|(fleet, _)| fleet.lease.0.0 / 4)
    }

    /// Until when something may take that its lease depends on.
    fn bound(&self, lease: Duration) -> Duration {
        self.member.as_ref().and_then(Member::time_left).unwrap_or(lease)
    }

    /// Looks what others tell, and what is protected here from now on: nothing, where the store cannot be reached for as long as the lease lasts.
    pub(super) async fn look(&mut self) {
        let Some((fleet, place)) = self.of.clone() else { return };
        let lease = fleet.lease.0.0;
        let bound = self.bound(lease);
        let looked = match timeout(bound, self.try_to_look(&place, lease)).await {
            Ok(looked) => looked,
            Err(_) => Err(too_late(&place)),
        };
        match looked {
            Ok((owned, view)) => {
                for gone in self.owned.difference(&owned) {
                    tracing::info!(source = %gone, "is left to another member of the fleet");
                }
                for mine in owned.difference(&self.owned) {
                    tracing::info!(source = %mine, "is protected here");
                }
                (self.owned, self.view) = (owned, view);
                self.trouble = None;
            }
            Err(error) => self.stumble(&error),
        }
        self.let_go_if_lapsed();
        self.due =
            Some(Instant::now() + if self.trouble.is_some() { lease / 10 } else { lease / 3 });
    }

    async fn try_to_look(
        &mut self,
        place: &Place,
        lease: Duration,
    ) -> Result<(BTreeSet<String>, View), Error> {
        let member = match &mut self.member {
            Some(member) => member,
            none => {
                let member = Member::new(place.open().await?, lease)?;
                tracing::info!(member = %member.id(), repository = %place.name, "joins the fleet");
                metrics::counter!(name::FLEET_LAPSES).increment(0);
                none.insert(member)
            }
        };
        let looked = member.look().await?;
        metrics::gauge!(name::FLEET_MEMBERS).set(member.count() as f64);
        Ok(looked)
    }

    /// What others may take for theirs once this daemon gives way: all that it has or told that it has, but for what it protects.
    pub(super) fn not_here(&self, config: &Config) -> BTreeSet<String> {
        let has = config.fleet.as_ref().map(|fleet| fleet.databases(config)).unwrap_or_default();
        let told = self.member.iter().flat_map(Member::told_names).cloned();
        has.into_iter().chain(told).filter(|name| !self.owned.contains(name)).collect()
    }

    /// Tells what is protected here. `quiet`: nothing else is, by any run that goes on.
    pub(super) async fn tell(&mut self, config: &Config, quiet: bool) {
        let Some((fleet, place)) = self.of.clone() else { return };
        let lease = fleet.lease.0.0;
        let bound = self.bound(lease);
        let (names, protected, view) =
            (fleet.databases(config), self.owned.len() as u64, self.view.clone());
        let Some(member) = &mut self.member else { return };
        *self.leaver.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((member.repo().clone(), member.id()));
        let first = member.time_left().is_none();
        match timeout(bound, member.tell(names, protected, view, quiet)).await {
            Ok(Ok(())) => {
                // Who has only just told that it is there looks at once who else is.
                if first {
                    self.due = None;
                }
            }
            Ok(Err(error)) => self.stumble(&error),
            Err(_) => self.stumble(&too_late(&place)),
        }
        self.let_go_if_lapsed();
        metrics::gauge!(name::FLEET_PROTECTED).set(self.owned.len() as f64);
    }

    fn stumble(&mut self, error: &Error) {
        let text = error.chain_and_help();
        if self.trouble.as_ref() != Some(&text) {
            tracing::warn!(error = %text, "the fleet cannot be asked, and is tried again");
        }
        self.trouble = Some(text);
    }

    /// Protects nothing any more where the lease has ended: others may.
    fn let_go_if_lapsed(&mut self) {
        let Some(member) = &mut self.member else { return };
        if !member.has_lapsed() {
            return;
        }
        if !self.owned.is_empty() {
            tracing::error!(
                databases = self.owned.len(),
                "the lease ended before the fleet could be told: they are left to others until it can"
            );
        }
        metrics::counter!(name::FLEET_LAPSES).increment(1);
        self.owned.clear();
        self.view.clear();
        if let Err(error) = member.begin_anew() {
            tracing::error!(error = %error.chain(), "no other member can be made");
            self.member = None;
        }
    }
}

fn too_late(place: &Place) -> Error {
    Error::usage(
        format!(
            "the repository {} did not answer before the lease of this member of the fleet ended",
            place.name
        ),
        "see what keeps the store, or give the fleet a longer `lease`",
    )
}
