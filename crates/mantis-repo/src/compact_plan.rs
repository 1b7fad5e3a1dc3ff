//! Which layers are put together: a plan made of what backups there are, before anything is written.
//!
//! Layers that exactly the same backups use, one behind the other, are of use together only: what the older ones
//! hold of a page that a newer one holds too is **unused**. Putting them together frees that and shortens the
//! stacks, and costs writing them again. So small layers go together first, as in a log-structured merge tree; and
//! where too much of the repository is unused, whole runs of layers, those with most to gain first.

use std::collections::{BTreeMap, BTreeSet};

use mantis_page::PageSet;

use crate::{ObjectHash, SessionId};

/// A layer is put together with the newer ones behind it once they come to this share of its bytes: one in so many.
const TIER: u64 = 3;
/// The fewest layers that are put together for the sake of short stacks alone.
const SHORTEN: usize = 4;

/// Names a layer: the hash of the names of its segments.
pub(crate) type LayerId = ObjectHash;

/// What is known of a layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct LayerFacts {
    pub(crate) bytes: u64,
    pub(crate) pages: PageSet,
    /// Whether it only borrows what was stored for another: put together with the layer of the same backup alone, nothing would be gained.
    pub(crate) borrows: bool,
}

/// The layers of a backup, oldest first, by the session that wrote its manifest.
pub(crate) type Stacks = BTreeMap<SessionId, Vec<LayerId>>;

/// Layers, oldest first, that are to be put together in every backup that uses them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) layers: Vec<LayerId>,
    pub(crate) users: Vec<SessionId>,
    /// Bytes that nothing needs once it is done.
    pub(crate) unused: u64,
}

/// Runs of layers that exactly the same backups use, each oldest first. Layers that are alone are left out.
/// `fixed` ones are in none, and end one.
pub(crate) fn groups(
    stacks: &Stacks,
    fixed: &BTreeSet<LayerId>,
) -> Vec<(Vec<LayerId>, Vec<SessionId>)> {
    let mut users: BTreeMap<LayerId, BTreeSet<SessionId>> = BTreeMap::new();
    for (session, stack) in stacks {
        for layer in stack {
            users.entry(*layer).or_default().insert(*session);
        }
    }
    let mut seen = BTreeSet::new();
    let mut groups = Vec::new();
    for stack in stacks.values() {
        for run in stack.chunk_by(|a, b| {
            users.get(a) == users.get(b) && !fixed.contains(a) && !fixed.contains(b)
        }) {
            let Some(first) = run.first() else { continue };
            // The same run stands in every one of its users.
            if run.len() > 1 && seen.insert(*first) {
                let users = users.get(first).into_iter().flatten().copied().collect();
                groups.push((run.to_vec(), users));
            }
        }
    }
    groups
}

/// How many bytes of each layer of a run nothing needs, as newer layers of the run hold the pages too.
fn unused(run: &[LayerId], facts: &BTreeMap<LayerId, LayerFacts>) -> Vec<u64> {
    let mut newer = PageSet::new();
    let mut unused = Vec::with_capacity(run.len());
    for layer in run.iter().rev() {
        let Some(facts) = facts.get(layer) else {
            unused.push(0);
            continue;
        };
        let dead = facts.pages.pages().filter(|page| newer.contains(*page)).count() as u64;
        let all = facts.pages.len().max(1);
        unused.push((u128::from(facts.bytes) * u128::from(dead) / u128::from(all)) as u64);
        newer.union_with(&facts.pages);
    }
    unused.reverse();
    unused
}

/// Where the newest layers of a run begin that are to go together: each older one is taken in while the newer ones
/// come to a share of it.
fn tier_start(run: &[LayerId], bytes: impl Fn(&LayerId) -> u64) -> usize {
    let mut start = run.len().saturating_sub(1);
    let mut newer = run.get(start).map_or(0, &bytes);
    while let Some(older) = start.checked_sub(1) {
        let size = run.get(older).map_or(0, &bytes);
        if newer.saturating_mul(TIER) < size {
            break;
        }
        newer = newer.saturating_add(size);
        start = older;
    }
    start
}

/// Plans so that at most `max_unused` (a share, from 0 to 1) of `total` bytes are unused.
pub(crate) fn plan(
    (stacks, fixed): (&Stacks, &BTreeSet<LayerId>),
    facts: &BTreeMap<LayerId, LayerFacts>,
    total: u64,
    max_unused: f64,
) -> Vec<Merge> {
    let bytes = |layer: &LayerId| facts.get(layer).map_or(0, |facts| facts.bytes);
    let worth = |run: &[LayerId]| {
        run.iter().filter(|layer| facts.get(layer).is_some_and(|facts| !facts.borrows)).count() > 1
    };
    let mut candidates: Vec<(Merge, u64)> = Vec::new();
    let mut merges = Vec::new();
    let mut left = 0;
    for (run, users) in groups(stacks, fixed) {
        if !worth(&run) {
            continue;
        }
        let whole: u64 = unused(&run, facts).iter().sum();
        let start = tier_start(&run, bytes);
        let tier = &run[start..];
        if worth(tier) && (tier.len() == run.len() || tier.len() >= SHORTEN) {
            let unused: u64 = unused(tier, facts).iter().sum();
            left += whole - unused.min(whole);
            merges.push(Merge { layers: tier.to_vec(), users: users.clone(), unused });
        } else {
            left += whole;
        }
        let cost = run.iter().map(bytes).sum();
        candidates.push((Merge { layers: run, users, unused: whole }, cost));
    }
    // The most gain for what is written first.
    candidates.sort_by(|(a, cost_a), (b, cost_b)| {
        let gain = |unused: u64, cost: u64| unused as f64 / cost.max(1) as f64;
        gain(b.unused, *cost_b).total_cmp(&gain(a.unused, *cost_a))
    });
    for (whole, _) in candidates {
        if left as f64 <= total as f64 * max_unused {
            break;
        }
        let partial = merges.iter().position(|merge| merge.layers.last() == whole.layers.last());
        let gained = partial.map_or(0, |at| merges.swap_remove(at).unused);
        left = left.saturating_sub(whole.unused - gained.min(whole.unused));
        merges.push(whole);
    }
    merges
}

#[cfg(test)]
mod tests {
    use mantis_page::PageNo;
    use proptest::prelude::*;

    use super::*;

    fn layer(n: u8) -> LayerId {
        ObjectHash([n; 32])
    }

    fn session(n: u64) -> SessionId {
        SessionId { sequence: n, unique: [0; 16] }
    }

    fn facts(layers: &[(u8, u64, &[u64])]) -> BTreeMap<LayerId, LayerFacts> {
        let pages = |pages: &[u64]| pages.iter().filter_map(|page| PageNo::new(*page)).collect();
        layers
            .iter()
            .map(|(n, bytes, held)| {
                (layer(*n), LayerFacts { bytes: *bytes, pages: pages(held), borrows: false })
            })
            .collect()
    }

    fn stacks(stacks: &[&[u8]]) -> Stacks {
        let ids = |stack: &&[u8]| stack.iter().copied().map(layer).collect();
        (1..).map(session).zip(stacks.iter().map(ids)).collect()
    }

    #[test]
    fn layers_go_together_only_where_the_same_backups_use_them() {
        // The backup of layers 1 and 2 was forgotten; that of layer 1 was not.
        let found = groups(&stacks(&[&[1], &[1, 2, 3], &[1, 2, 3, 4]]), &BTreeSet::new());
        assert_eq!(found, [(vec![layer(2), layer(3)], vec![session(2), session(3)])]);
        let none = BTreeSet::new();
        assert!(groups(&stacks(&[&[1], &[1, 2], &[1, 2, 3]]), &none).is_empty());
        let fixed = BTreeSet::from([layer(2)]);
        let apart = groups(&stacks(&[&[1, 2, 3, 4]]), &fixed);
        assert_eq!(apart, [(vec![layer(3), layer(4)], vec![session(1)])]);
    }

    #[test]
    fn small_layers_go_together_and_a_large_one_is_left_alone_until_it_pays() {
        let facts = facts(&[
            (1, 1000, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
            (2, 10, &[1]),
            (3, 10, &[1]),
            (4, 10, &[1]),
            (5, 10, &[2]),
        ]);
        let stacks = stacks(&[&[1, 2, 3, 4, 5]]);
        let layers = |merges: &[Merge]| -> Vec<Vec<LayerId>> {
            merges.iter().map(|merge| merge.layers.clone()).collect()
        };
        let lax = plan((&stacks, &BTreeSet::new()), &facts, 1040, 0.5);
        assert_eq!(layers(&lax), [[2, 3, 4, 5].map(layer).to_vec()]);
        let strict = plan((&stacks, &BTreeSet::new()), &facts, 1040, 0.05);
        assert_eq!(layers(&strict), [[1, 2, 3, 4, 5].map(layer).to_vec()]);
        assert_eq!(strict[0].unused, 200 + 20);
    }

    proptest! {
        /// Each layer is in at most one merge; a merge is a run of each of its users' stacks.
        #[test]
        fn merges_are_runs_and_keep_apart(
            forgotten in prop::collection::vec(any::<bool>(), 2..20),
            share in 0.0f64..1.0,
        ) {
            let chain: Vec<u8> = (1..=forgotten.len() as u8).collect();
            let kept: Vec<&[u8]> = (0..forgotten.len())
                .filter(|at| !forgotten[*at])
                .map(|at| &chain[..=at])
                .collect();
            let stacks = stacks(&kept);
            let all: Vec<(u8, u64, &[u64])> =
                chain.iter().map(|n| (*n, 10 + u64::from(*n % 3) * 40, &[1u64, 2][..])).collect();
            let merges = plan((&stacks, &BTreeSet::new()), &facts(&all), 500, share);
            let mut seen = BTreeSet::new();
            for merge in &merges {
                prop_assert!(merge.layers.len() > 1);
                prop_assert!(merge.layers.iter().all(|layer| seen.insert(*layer)));
                for (session, stack) in &stacks {
                    let uses = merge.users.contains(session);
                    let runs = stack.windows(merge.layers.len()).any(|run| run == merge.layers);
                    prop_assert_eq!(uses, runs);
                    prop_assert!(uses || merge.layers.iter().all(|layer| !stack.contains(layer)));
                }
            }
        }
    }
}
