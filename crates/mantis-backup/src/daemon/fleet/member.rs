//! A member of a fleet at work: what it reads of others, and what it tells.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mantis_repo::{Beat, MemberId, RepoError, Repository};

use super::membership::{Heard, Membership, Names, View};
use crate::Error;

/// How often members are read anew that go on while they are read.
const TRIES: usize = 4;

/// A member.
pub(super) struct Member {
    repo: Repository,
    membership: Membership,
    lease: Duration,
    /// Of its last beat, whether it came or not.
    number: u64,
    /// Its clock begins here.
    start: Instant,
    /// What it told last.
    told: (View, BTreeSet<String>),
    /// Beats of others that are damaged, so that each is told of once.
    damaged: BTreeSet<(MemberId, u64)>,
}

fn fresh_id() -> Result<MemberId, Error> {
    let mut id = [0; 16];
    id.copy_from_slice(&crate::entropy()?[..16]);
    Ok(MemberId(id))
}

impl Member {
    /// A new member, of which nothing is told yet.
    ///
    /// # Errors
    /// Where the store has objects locked, so that no beat could be taken away.
    pub(super) fn new(repo: Repository, lease: Duration) -> Result<Self, Error> {
        if !repo.can_have_a_fleet() {
            return Err(Error::usage(
                format!(
                    "{} locks its objects: members of a fleet cannot take theirs away",
                    repo.location()
                ),
                "name another repository in [fleet], which may be an empty one",
            ));
        }
        Ok(Self {
            membership: Membership::new(fresh_id()?, lease),
            repo,
            lease,
            number: 0,
            start: Instant::now(),
            told: Default::default(),
            damaged: BTreeSet::new(),
        })
    }

    pub(super) const fn id(&self) -> MemberId {
        self.membership.me
    }

    pub(super) const fn repo(&self) -> &Repository {
        &self.repo
    }

    /// The time by its clock.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// How long its lease lasts from now on; none where it has ended.
    pub(super) fn time_left(&self) -> Option<Duration> {
        self.membership.until()?.checked_sub(self.now()).filter(|left| !left.is_zero())
    }

    /// Whether it had a lease, which has ended.
    pub(super) fn has_lapsed(&self) -> bool {
        self.membership.until().is_some() && self.time_left().is_none()
    }

    /// Goes on as another member.
    pub(super) fn begin_anew(&mut self) -> Result<(), Error> {
        self.membership = Membership::new(fresh_id()?, self.lease);
        self.number = 0;
        self.told = Default::default();
        Ok(())
    }

    /// The databases that it told that it has.
    pub(super) fn told_names(&self) -> impl Iterator<Item = &String> {
        self.told.1.iter()
    }

    /// How many members are alive, this one among them.
    pub(super) fn count(&self) -> usize {
        self.membership.count(self.now())
    }

    /// Reads what all others tell; what is to be protected from now on, and the view to tell of once no more is.
    pub(super) async fn look(&mut self) -> Result<(BTreeSet<String>, View), Error> {
        for _ in 0..TRIES {
            if let Some(all) = self.read().await? {
                let now = self.now();
                self.membership.hear(now, all);
                self.take_away_what_is_left().await;
                let now = self.now();
                return Ok((self.membership.owned(now), self.membership.view(now)));
            }
        }
        Err(Error::usage(
            "members of the fleet go on faster than they can be read",
            "give them a longer `lease`",
        ))
    }

    /// What others tell now; none where one of them went on meanwhile.
    async fn read(&mut self) -> Result<Option<BTreeMap<MemberId, Heard>>, Error> {
        let mut all = BTreeMap::new();
        let there = self.repo.fleet().await?;
        self.damaged.retain(|(member, number)| there.get(member) == Some(number));
        for (member, number) in there {
            if member == self.id() {
                continue;
            }
            let known = self.membership.heard_of(member);
            if let Some(known) = known.filter(|known| known.number == number) {
                all.insert(member, known.clone());
                continue;
            }
            match self.read_one(member, number, known).await {
                Ok(Some(heard)) => drop(all.insert(member, heard)),
                Ok(None) => return Ok(None),
                // Databases are to be protected, whatever somebody put there.
                Err(RepoError::Damaged { .. }) if !self.damaged.insert((member, number)) => {}
                Err(error @ RepoError::Damaged { .. }) => {
                    tracing::warn!(%member, error = %Error::from(error).chain(), "is passed over");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(all))
    }

    async fn read_one(
        &self,
        member: MemberId,
        number: u64,
        known: Option<&Heard>,
    ) -> Result<Option<Heard>, RepoError> {
        let Some(beat) = self.repo.fleet_beat(member, number).await? else { return Ok(None) };
        let names = match known.filter(|known| known.names.hash == beat.names) {
            Some(known) => known.names.clone(),
            None => match self.repo.fleet_names(member, beat.names).await? {
                Some(names) => Names::new(names),
                None => return Ok(None),
            },
        };
        Ok(Some(Heard { number, names, view: beat.view }))
    }

    async fn take_away_what_is_left(&self) {
        for member in self.membership.long_silent(self.now()) {
            match self.repo.leave_fleet(member).await {
                Ok(()) => {
                    tracing::info!(%member, "what a silent member of the fleet left was taken away");
                }
                Err(error) => tracing::debug!(%member, %error, "what a silent member left stays"),
            }
        }
    }

    /// Tells that it has these databases and protects so many of them; where `quiet`, that it gives way by a view. Else it goes on giving way as it
    /// told before, and still has what it had.
    pub(super) async fn tell(
        &mut self,
        mut names: BTreeSet<String>,
        protected: u64,
        mut view: View,
        quiet: bool,
    ) -> Result<(), Error> {
        if !quiet {
            view.clone_from(&self.told.0);
            names.extend(self.told.1.iter().cloned());
        }
        let names = Names::new(names);
        let beat = Beat {
            host: crate::host_name(),
            at: crate::now(),
            lease_ms: u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX),
            names: names.hash,
            databases: names.names.len() as u64,
            protected,
            view: view.clone(),
        };
        self.number += 1;
        self.membership.tells(self.number, names.clone());
        let (began, salts) = (self.now(), [crate::entropy()?, crate::entropy()?]);
        self.repo.put_beat(self.id(), self.number, &beat, &names.names, salts).await?;
        self.told = (view, BTreeSet::clone(&names.names));
        self.membership.told(self.number, began, self.now());
        Ok(())
    }
}
