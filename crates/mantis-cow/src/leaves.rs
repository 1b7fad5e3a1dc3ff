//! For each page the generation of its latest image, in leaves that are allocated when a page of
//! theirs is first written under a snapshot: 4 bytes a page of the written parts of a file.

use std::sync::OnceLock;

use crate::sync::AtomicU32;

#[cfg(not(loom))]
const LEAF_BITS: u32 = 16;
#[cfg(loom)]
const LEAF_BITS: u32 = 1;
const NODE_BITS: u32 = 8;

/// One past the largest page index that has a cell.
pub(crate) const CAPACITY: u64 = 1 << (LEAF_BITS + 2 * NODE_BITS);

type Leaf = Box<[AtomicU32]>;
type Node<T> = Box<[OnceLock<T>]>;

/// A sparse array of atomics over page indices below [`CAPACITY`].
#[derive(Debug)]
pub(crate) struct Leaves {
    root: Node<Node<Leaf>>,
}

fn node<T>() -> Node<T> {
    (0..1usize << NODE_BITS).map(|_| OnceLock::new()).collect()
}

const fn path(index: u64) -> (usize, usize, usize) {
    let mask = (1 << NODE_BITS) - 1;
    (
        (index >> (LEAF_BITS + NODE_BITS)) as usize,
        ((index >> LEAF_BITS) & mask) as usize,
        (index & ((1 << LEAF_BITS) - 1)) as usize,
    )
}

impl Leaves {
    pub(crate) fn new() -> Self {
        let leaves = Self { root: node() };
        // Loom does not see the order that `OnceLock` gives, and would take the making of a cell beside
        // another thread's load of it for a race.
        #[cfg(loom)]
        leaves.cell(0);
        leaves
    }

    /// The cell of a page, made where there is none; `None` at [`CAPACITY`] and beyond.
    pub(crate) fn cell(&self, index: u64) -> Option<&AtomicU32> {
        let (high, middle, low) = path(index);
        let leaf = self.root.get(high)?.get_or_init(node).get(middle)?;
        leaf.get_or_init(|| (0..1usize << LEAF_BITS).map(|_| AtomicU32::new(0)).collect()).get(low)
    }

    /// The cell of a page where there is one: without it, the page was never saved.
    pub(crate) fn existing(&self, index: u64) -> Option<&AtomicU32> {
        let (high, middle, low) = path(index);
        self.root.get(high)?.get()?.get(middle)?.get()?.get(low)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn cells_are_distinct_and_end_at_the_capacity() {
        let leaves = Leaves::new();
        for (value, index) in [0, 1, 65_535, 65_536, 1 << 24, CAPACITY - 1].into_iter().enumerate()
        {
            leaves.cell(index).unwrap().store(value as u32 + 1, Ordering::Relaxed);
        }
        assert_eq!(leaves.existing(65_536).unwrap().load(Ordering::Relaxed), 4);
        assert!(leaves.existing(1 << 30).is_none());
        assert!(leaves.cell(CAPACITY).is_none());
    }
}
