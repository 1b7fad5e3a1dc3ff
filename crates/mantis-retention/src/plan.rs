//! The one function.

use std::collections::BTreeMap;

use crate::{Candidate, Policy, Reason};

/// A backup that is kept, and every reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<Id> {
    /// The backup.
    pub id: Id,
    /// Never empty.
    pub reasons: Vec<Reason>,
}

/// What is kept and what is removed: every candidate is in one of the two, oldest first within its source, the
/// sources in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<Id> {
    /// Kept.
    pub kept: Vec<Kept<Id>>,
    /// To be removed.
    pub removed: Vec<Id>,
}

/// Plans for every source by itself. Of backups of one moment, the one with the larger id counts as newer. The
/// newest backup of a source is always kept.
#[must_use]
pub fn plan<Id: Clone + Ord>(policy: Policy, candidates: &[Candidate<Id>]) -> Plan<Id> {
    let mut sources: BTreeMap<&str, Vec<&Candidate<Id>>> = BTreeMap::new();
    for candidate in candidates {
        sources.entry(&candidate.source).or_default().push(candidate);
    }
    let mut plan = Plan { kept: Vec::new(), removed: Vec::new() };
    for backups in sources.values_mut() {
        backups.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        let count = backups.len();
        for (at, backup) in backups.iter().enumerate() {
            let reasons = reasons(policy, count - at);
            let id = backup.id.clone();
            if reasons.is_empty() {
                plan.removed.push(id);
            } else {
                plan.kept.push(Kept { id, reasons });
            }
        }
    }
    plan
}

/// What keeps the backup that is the `rank`-newest of its source, from 1.
fn reasons(policy: Policy, rank: usize) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let rank = u32::try_from(rank).unwrap_or(u32::MAX);
    if policy.keep_last.is_some_and(|last| rank <= last) {
        reasons.push(Reason::Last(rank));
    }
    if rank == 1 {
        reasons.push(Reason::Newest);
    }
    reasons
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn any_candidates() -> impl Strategy<Value = Vec<Candidate<u32>>> {
        prop::collection::vec((0u8..3, 0i64..50), 0..40).prop_map(|backups| {
            let named = backups.into_iter().zip(0..);
            named
                .map(|((source, created_at), id)| Candidate {
                    id,
                    source: format!("s{source}"),
                    created_at,
                })
                .collect()
        })
    }

    fn kept(plan: &Plan<u32>) -> BTreeSet<u32> {
        plan.kept.iter().map(|kept| kept.id).collect()
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_every_candidate_is_decided(
            candidates in any_candidates(),
            last in prop::option::of(1u32..9),
        ) {
            let policy = Policy { keep_last: last };
            let forth = plan(policy, &candidates);
            let back: Vec<_> = candidates.iter().rev().cloned().collect();
            prop_assert_eq!(&forth, &plan(policy, &back));
            let decided = forth.kept.len() + forth.removed.len();
            prop_assert_eq!(decided, candidates.len());
        }

        #[test]
        fn planning_again_after_the_removal_removes_nothing(
            candidates in any_candidates(),
            last in prop::option::of(1u32..9),
        ) {
            let policy = Policy { keep_last: last };
            let first = plan(policy, &candidates);
            let left: Vec<_> = candidates
                .into_iter()
                .filter(|candidate| !first.removed.contains(&candidate.id))
                .collect();
            prop_assert_eq!(plan(policy, &left).removed, Vec::<u32>::new());
        }

        #[test]
        fn a_larger_rule_never_removes_more(candidates in any_candidates(), last in 1u32..9) {
            let less = plan(Policy { keep_last: Some(last) }, &candidates);
            let more = plan(Policy { keep_last: Some(last + 1) }, &candidates);
            prop_assert!(kept(&less).is_subset(&kept(&more)));
            prop_assert!(kept(&plan(Policy::default(), &candidates)).is_subset(&kept(&less)));
        }

        #[test]
        fn the_newest_of_every_source_stays(candidates in any_candidates()) {
            let plan = plan(Policy::default(), &candidates);
            let sources: BTreeSet<&str> =
                candidates.iter().map(|candidate| &*candidate.source).collect();
            prop_assert_eq!(plan.kept.len(), sources.len());
            for candidate in &candidates {
                let newest = candidates
                    .iter()
                    .filter(|other| other.source == candidate.source)
                    .max_by_key(|other| (other.created_at, other.id));
                let is_newest = newest.is_some_and(|newest| newest.id == candidate.id);
                prop_assert_eq!(kept(&plan).contains(&candidate.id), is_newest);
            }
        }
    }
}
