//! Who protects what, worked out by each member from what all of them tell.
//!
//! # The rule
//! Each database has an order of all members, by the hash of both (rendezvous hashing: Thaler and Ravishankar, 1998), so that the databases of
//! one that goes are spread over the others, and no other database moves. A member protects a database if all of these hold:
//!
//! - its own lease has not ended, by its own clock;
//! - it has told that it has the database;
//! - of each other member that is alive and has it, it comes before that one in the database's order, and **that one has told that it gives way**:
//!   its view has this member by a beat since which all that this one told has the database.
//!
//! # Why no two do at once
//! A member tells of a view only once it protects nothing any more that the members of that view come before it in. Let two members have a
//! database and be alive. The one that comes later in its order protects it only while it does not know of the other. The other one does not
//! protect it before it has read that the later one gives way, which is told after the later one has stopped; and what was told stays true, as the
//! later one forgets a member only once that one's lease has ended. Who joins tells of itself before it looks who else is there: so of two that
//! join at once, one at least sees the other, and waits.
//!
//! A lease is counted by its holder from before its beat was put, and ends for it after two thirds; by others from when they first saw the beat, and
//! ends for them after the whole: so a member stops before others go on without it, where clocks go at about the same rate and what it does
//! ends within a third of a lease. A backup that takes longer to be cancelled is one backup more, and harms nothing.
//!
//! A member whose lease has ended comes back as another one: what others told of the old one means nothing for it. It must: one that went on
//! without it may have begun to protect, and not yet have told that it does not give way any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mantis_repo::{MemberId, ObjectHash, hash_of_names};

/// Lists of names of its own that a member remembers: others give way by a beat that they have read, which may not be the newest.
const REMEMBERED: usize = 8;

/// Leases after which what a silent member left is taken away: should it only have slept, it comes back as another one anyway.
const SILENT: u32 = 20;

/// Names of databases, and the hash by which they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) hash: ObjectHash,
    pub(super) names: Arc<BTreeSet<String>>,
}

impl Names {
    pub(super) fn new(names: BTreeSet<String>) -> Self {
        let hash = hash_of_names(names.iter().map(String::as_str));
        Self { hash, names: Arc::new(names) }
    }
}

/// The members that one gives way to, each with the number of the beat by which it does.
pub(super) type View = BTreeMap<MemberId, u64>;

/// Lists of names, each with the first beat that had it, the newest last.
type Lists = [(u64, Names)];

/// What was read of another member.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) number: u64,
    pub(super) names: Names,
    pub(super) view: View,
}

#[derive(Debug, Clone)]
struct Other {
    heard: Heard,
    /// When its beat was first seen, by our clock.
    seen: Duration,
}

/// What one member knows. Times are of a clock of its own that never goes back.
#[derive(Debug, Clone)]
pub(super) struct Membership {
    pub(super) me: MemberId,
    lease: Duration,
    /// Until when its own lease lasts.
    until: Option<Duration>,
    /// Lists of names that it told, or tried to, each with the first beat that had it, the newest last.
    lists: Vec<(u64, Names)>,
    /// The last of its beats that is there for sure.
    sure: Option<u64>,
    others: BTreeMap<MemberId, Other>,
}

/// Where a member stands in a database's order: the smallest comes first.
fn rank(member: MemberId, name: &str) -> ObjectHash {
    ObjectHash::of([&member.0[..], name.as_bytes()])
}

impl Membership {
    pub(super) const fn new(me: MemberId, lease: Duration) -> Self {
        Self { me, lease, until: None, lists: Vec::new(), sure: None, others: BTreeMap::new() }
    }

    /// Notes what a list shows now: all members but this one, with what was read of them. Members that are not there have left.
    pub(super) fn hear(&mut self, now: Duration, all: BTreeMap<MemberId, Heard>) {
        let before = std::mem::take(&mut self.others);
        for (member, heard) in all {
            let same = before.get(&member).filter(|old| old.heard.number == heard.number);
            let seen = same.map_or(now, |old| old.seen);
            self.others.insert(member, Other { heard, seen });
        }
    }

    /// The beat of another member that was read last.
    pub(super) fn heard_of(&self, member: MemberId) -> Option<&Heard> {
        self.others.get(&member).map(|other| &other.heard)
    }

    fn alive(&self, now: Duration) -> impl Iterator<Item = (MemberId, &Heard)> {
        let lease = self.lease;
        let alive = self.others.iter().filter(move |(_, other)| now < other.seen + lease);
        alive.map(|(member, other)| (*member, &other.heard))
    }

    /// The lists of names that others may have read since a beat; none where that is forgotten.
    fn lists_since(&self, beat: u64) -> Option<&Lists> {
        let first = self.lists.iter().rposition(|(number, _)| *number <= beat)?;
        self.lists.get(first..)
    }

    /// How many members are alive, this one among them.
    pub(super) fn count(&self, now: Duration) -> usize {
        1 + self.alive(now).count()
    }

    /// Members of which nothing was heard for so many leases that what they left can go.
    pub(super) fn long_silent(&self, now: Duration) -> Vec<MemberId> {
        let silent = self.others.iter().filter(|(_, other)| now > other.seen + self.lease * SILENT);
        silent.map(|(member, _)| *member).collect()
    }

    /// Whether its lease lasts.
    pub(super) fn is_valid(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Until when its lease lasts, if it has one.
    pub(super) const fn until(&self) -> Option<Duration> {
        self.until
    }

    /// What it protects from now on.
    pub(super) fn owned(&self, now: Duration) -> BTreeSet<String> {
        let sure = self.sure.filter(|_| self.is_valid(now));
        let Some([(_, told), later @ ..]) = sure.and_then(|sure| self.lists_since(sure)) else {
            return BTreeSet::new();
        };
        let has =
            |lists: &Lists, name: &str| lists.iter().all(|(_, names)| names.names.contains(name));
        let alive: Vec<(MemberId, &Heard, Option<&Lists>)> = self
            .alive(now)
            .map(|(member, heard)| {
                let by = heard.view.get(&self.me);
                (member, heard, by.and_then(|beat| self.lists_since(*beat)))
            })
            .collect();
        let is_mine = |name: &&String| {
            let mine = rank(self.me, name);
            alive.iter().all(|(member, heard, given_way)| {
                !heard.names.names.contains(*name)
                    || mine < rank(*member, name) && given_way.is_some_and(|lists| has(lists, name))
            })
        };
        told.names.iter().filter(|name| has(later, name)).filter(is_mine).cloned().collect()
    }

    /// The view that it may tell of once it protects no more than [`Self::owned`] of the same time.
    pub(super) fn view(&self, now: Duration) -> View {
        self.alive(now).map(|(member, heard)| (member, heard.number)).collect()
    }

    /// Notes a beat that is about to be put: from now on others may read it.
    pub(super) fn tells(&mut self, beat: u64, names: Names) {
        if self.lists.last().is_none_or(|(_, last)| *last != names) {
            self.lists.push((beat, names));
            let old = self.lists.len().saturating_sub(REMEMBERED);
            self.lists.drain(..old);
        }
    }

    /// Notes that a beat which was begun to be put at a time is there. One that came too late for the lease changes nothing: others may go on
    /// without this member already.
    pub(super) fn told(&mut self, beat: u64, began: Duration, now: Duration) {
        if self.until.is_some() && !self.is_valid(now) {
            return;
        }
        self.until = Some(began + self.lease * 2 / 3);
        self.sure = Some(beat);
    }
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
