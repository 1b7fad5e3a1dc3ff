//! The one function.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeZone, Utc};

use crate::rules;
use crate::{Candidate, Policy, Reason, State, Warning, Why, check};

/// A backup that is kept, and every reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<Id> {
    /// The backup.
    pub id: Id,
    /// Never empty.
    pub reasons: Vec<Reason>,
}

/// A backup that goes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed<Id> {
    /// The backup.
    pub id: Id,
    /// Why.
    pub why: Why,
    /// Rules that would have kept it, were it not for the cap.
    pub despite: Vec<Reason>,
}

/// What is kept and what is removed: every candidate is in one of the three, oldest first within its source, the
/// sources in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<Id> {
    /// Kept.
    pub kept: Vec<Kept<Id>>,
    /// To be removed.
    pub removed: Vec<Removed<Id>>,
    /// Failed and running ones: not counted, and left alone.
    pub ignored: Vec<Id>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

/// The circumstances of a plan.
#[derive(Debug)]
pub struct Circumstances<'a, Tz> {
    /// The time now.
    pub now: DateTime<Utc>,
    /// Whose hours, days and weeks are meant.
    pub zone: &'a Tz,
    /// Bytes that are free where backups are stored, those that earlier removals are going to free with them; `None`
    /// where that is not known: [`Policy::min_free`] then does nothing.
    pub free: Option<u64>,
}

// Not derived: a zone need not be copied for a reference to it to be.
impl<Tz> Clone for Circumstances<'_, Tz> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Tz> Copy for Circumstances<'_, Tz> {}

/// What became of one backup.
enum Fate {
    Kept(Vec<Reason>),
    Removed(Why, Vec<Reason>),
}

/// One source's good backups, newest first, and their fates.
struct Planned<'a, Id> {
    backups: Vec<(&'a Candidate<Id>, Fate)>,
}

/// Plans for every source by itself; only free space is shared by all.
///
/// Of backups of one moment, the one with the larger id counts as newer. The newest good backup of a source is always
/// kept, and one that claims to be of a time after `now` is neither counted nor removed: a clock that ran ahead must not push
/// out what is real.
#[must_use]
pub fn plan<Id: Clone + Ord, Tz: TimeZone>(
    policy: &Policy,
    candidates: &[Candidate<Id>],
    circumstances: Circumstances<'_, Tz>,
) -> Plan<Id> {
    let mut sources: BTreeMap<&str, Vec<&Candidate<Id>>> = BTreeMap::new();
    let mut ignored: Vec<&Candidate<Id>> = Vec::new();
    for candidate in candidates {
        match candidate.state {
            State::Good => sources.entry(&candidate.source).or_default().push(candidate),
            State::Running | State::Failed => ignored.push(candidate),
        }
    }
    ignored.sort_by(|a, b| (&a.source, a.created_at, &a.id).cmp(&(&b.source, b.created_at, &b.id)));
    let mut warnings = check(policy);
    let mut planned: Vec<Planned<'_, Id>> = Vec::new();
    for (source, mut backups) in sources {
        backups.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        planned.push(plan_source(policy, source, &backups, circumstances, &mut warnings));
    }
    if let (Some(wanted), Some(free)) = (policy.min_free, circumstances.free) {
        make_room(&mut planned, wanted, free, &mut warnings);
    }
    let mut plan = Plan {
        kept: Vec::new(),
        removed: Vec::new(),
        ignored: ignored.into_iter().map(|candidate| candidate.id.clone()).collect(),
        warnings,
    };
    for source in planned {
        for (backup, fate) in source.backups.into_iter().rev() {
            let id = backup.id.clone();
            match fate {
                Fate::Kept(reasons) => plan.kept.push(Kept { id, reasons }),
                Fate::Removed(why, despite) => plan.removed.push(Removed { id, why, despite }),
            }
        }
    }
    plan
}

fn plan_source<'a, Id: Clone + Ord, Tz: TimeZone>(
    policy: &Policy,
    source: &str,
    newest_first: &[&'a Candidate<Id>],
    circumstances: Circumstances<'_, Tz>,
    warnings: &mut Vec<Warning>,
) -> Planned<'a, Id> {
    let now = circumstances.now;
    let is_future = |backup: &&&Candidate<Id>| backup.time() > now;
    let future = newest_first.iter().take_while(is_future).count();
    let (ahead, counted) = newest_first.split_at(future);
    if future > 0 {
        warnings.push(Warning::Future { source: source.to_owned(), backups: future });
    }
    let mut backups: Vec<(&Candidate<Id>, Fate)> =
        ahead.iter().map(|backup| (*backup, Fate::Kept(vec![Reason::Future]))).collect();
    let oldest_allowed = policy.max_age.map(|age| age.before(now, circumstances.zone));
    let mut kept = 0u32;
    let reasons = rules::apply(policy, counted, circumstances.zone);
    for (at, (backup, mut reasons)) in counted.iter().zip(reasons).enumerate() {
        let too_old = oldest_allowed.is_some_and(|oldest| backup.time() < oldest);
        let too_many = policy.max_count.is_some_and(|most| kept >= most);
        let fate = if at == 0 {
            if too_old {
                warnings.push(Warning::NewestTooOld { source: source.to_owned() });
            }
            reasons.push(Reason::Newest);
            Fate::Kept(reasons)
        } else if reasons.is_empty() {
            Fate::Removed(Why::NoRule, reasons)
        } else if too_old {
            Fate::Removed(Why::MaxAge, reasons)
        } else if too_many {
            Fate::Removed(Why::MaxCount, reasons)
        } else {
            Fate::Kept(reasons)
        };
        kept = kept.saturating_add(u32::from(matches!(fate, Fate::Kept(_))));
        backups.push((backup, fate));
    }
    Planned { backups }
}

/// Removes the oldest of all sources until enough is free; the newest of each stays, and what is ahead of time.
fn make_room<Id: Clone + Ord>(
    planned: &mut [Planned<'_, Id>],
    wanted: u64,
    free: u64,
    warnings: &mut Vec<Warning>,
) {
    let all = planned.iter().flat_map(|source| &source.backups);
    let going = all.filter(|(_, fate)| matches!(fate, Fate::Removed(..)));
    let mut free = going.fold(free, |free, (backup, _)| free.saturating_add(backup.bytes));
    let may_go = |fate: &Fate| match fate {
        Fate::Kept(reasons) => {
            !reasons.iter().any(|reason| matches!(reason, Reason::Newest | Reason::Future))
        }
        Fate::Removed(..) => false,
    };
    let mut oldest_first: Vec<&mut (&Candidate<Id>, Fate)> = planned
        .iter_mut()
        .flat_map(|source| &mut source.backups)
        .filter(|(_, fate)| may_go(fate))
        .collect();
    oldest_first.sort_by(|(a, _), (b, _)| {
        (a.created_at, &a.source, &a.id).cmp(&(b.created_at, &b.source, &b.id))
    });
    for (backup, fate) in oldest_first {
        if free >= wanted {
            return;
        }
        // One that frees nothing is no help.
        if backup.bytes == 0 {
            continue;
        }
        free = free.saturating_add(backup.bytes);
        if let Fate::Kept(reasons) = fate {
            let despite = std::mem::take(reasons);
            *fate = Fate::Removed(Why::MinFree, despite);
        }
    }
    if free < wanted {
        warnings.push(Warning::StillShort { missing: wanted - free });
    }
}
