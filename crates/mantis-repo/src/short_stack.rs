//! Keeps stacks short while backups are made: now and then one stores again what the newest layers below it hold, and stands in their place.
//!
//! A backup every few seconds would pile layer upon layer, and a restore looks into all of them. So the backup on top of a stack that is
//! [`FULL`] takes in the newest layers: their pages are stored again, as they are by now, and the layers are left out of its stack.
//! Backups before it keep theirs. Which layers, is told as in a log-structured merge tree (O'Neil et al. 1996): an older one is taken in
//! while it is no larger than a little more than what was taken in so far, so that a page is written again as often as the stack filled up
//! and the layers doubled, not each time.

use mantis_page::PageSet;

use crate::compact::borrowed_len;
use crate::{Layer, Manifest, RepoError, Repository};

/// Layers on which a backup is not simply put another one.
pub(crate) const FULL: usize = 32;
/// Layers that are left at most: what comes next is to have room for some time.
const ROOM: usize = 16;
/// A layer that is so many times as large as all that is taken in is left alone all the same: a database of many terabytes is many
/// such layers, and writing one again would take longer than restores from a long stack.
const LARGE: u64 = 16;

/// How many of the layers, given by their bytes, oldest first, a backup on top of them keeps. Those behind are taken in.
fn kept(bytes: &[u64]) -> usize {
    if bytes.len() < FULL {
        return bytes.len();
    }
    let (mut kept, mut taken) = (bytes.len(), 0u64);
    while let Some(older) = kept.checked_sub(1) {
        let size = bytes.get(older).copied().unwrap_or(0);
        let small = size <= taken.saturating_add(taken / 4);
        let large = size > taken.saturating_mul(LARGE);
        if kept < bytes.len() && !small && (large || kept <= ROOM) {
            break;
        }
        taken = taken.saturating_add(size);
        kept = older;
    }
    kept
}

/// What a backup takes in of the stack below it.
#[derive(Debug, Clone)]
pub(crate) struct TakenIn {
    /// Layers that stay, oldest first.
    pub(crate) kept: usize,
    /// Pages of the others: they are stored again.
    pub(crate) pages: PageSet,
}

impl TakenIn {
    /// Of a stack that stays as it is.
    pub(crate) const fn nothing(layers: usize) -> Self {
        Self { kept: layers, pages: PageSet::new() }
    }
}

impl Repository {
    /// What a backup on top of this one takes in: nothing where the stack has room.
    ///
    /// # Errors
    /// What keeps the indexes of its newest layers from being read.
    pub(crate) async fn to_take_in(&self, manifest: &Manifest) -> Result<TakenIn, RepoError> {
        let layers = &manifest.layers;
        let len = |layer: &Layer| match layer.borrows.is_empty() {
            true => layer.segments.iter().map(|segment| segment.len).sum(),
            false => borrowed_len(layer),
        };
        let mut taken = TakenIn::nothing(kept(&layers.iter().map(len).collect::<Vec<u64>>()));
        for layer in layers.get(taken.kept..).unwrap_or_default() {
            taken.pages.union_with(&self.layer_facts(layer).await?.pages);
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stack_with_room_stays() {
        assert_eq!(kept(&[]), 0);
        assert_eq!(kept(&[1000; FULL - 1]), FULL - 1);
    }

    #[test]
    fn the_small_ones_go_together_and_the_large_one_below_stays() {
        let mut stack = vec![1_000_000];
        stack.extend([10; FULL - 1]);
        assert_eq!(kept(&stack), 1);
        // What was put together before is taken in again only by its like.
        stack.truncate(1);
        stack.push(5000);
        stack.extend([10; FULL - 2]);
        assert_eq!(kept(&stack), 2);
        stack[1] = 350;
        assert_eq!(kept(&stack), 1);
    }

    #[test]
    fn the_layers_of_a_very_large_database_are_left_alone() {
        let mut stack = vec![1 << 40; FULL];
        stack.extend([10; 3]);
        assert_eq!(kept(&stack), FULL);
        stack.truncate(FULL);
        stack.push(30);
        assert_eq!(kept(&stack), FULL);
    }

    proptest! {
        #[test]
        fn there_is_room_afterwards(bytes in prop::collection::vec(0u64..1 << 40, FULL..100)) {
            let kept = kept(&bytes);
            let taken: u64 = bytes[kept..].iter().sum();
            prop_assert!(kept < bytes.len());
            prop_assert!(kept <= ROOM || bytes[kept - 1] > taken * LARGE);
        }

        /// Over a long time: stacks stay short, and a page is written again some times, not each time.
        #[test]
        fn little_is_written_again(ticks in 1u64..4000, base in 1u64..1 << 30) {
            let (mut stack, mut written) = (vec![base], 0);
            for _ in 0..ticks {
                let keep = kept(&stack);
                let layer = stack.drain(keep..).sum::<u64>() + 1000;
                written += layer;
                stack.push(layer);
                prop_assert!(stack.len() <= FULL);
            }
            let doublings = u64::from((ticks / 8).max(1).ilog2());
            prop_assert!(written <= ticks * 1000 * (3 + doublings) + base, "{written} for {ticks}");
        }
    }
}
