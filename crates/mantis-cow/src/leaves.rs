//! For each page the generation of its latest image, in leaves that are allocated when a page of
//! theirs is first written under a snapshot: 4 bytes a page of the written parts of a file.

use crate::sync::AtomicU32;
use crate::tree::{LEAF_PAGES, Tree, place};

pub(crate) use crate::tree::CAPACITY;

/// A sparse array of atomics over page indices below [`CAPACITY`].
#[derive(Debug)]
pub(crate) struct Leaves(Tree<Box<[AtomicU32]>>);

impl Leaves {
    pub(crate) fn new() -> Self {
        let leaves = Self(Tree::new());
        // Loom does not see the order that `OnceLock` gives, and would take the making of a cell beside
        // another thread's load of it for a race.
        #[cfg(loom)]
        leaves.cell(0);
        leaves
    }

    /// The cell of a page, made where there is none; `None` at [`CAPACITY`] and beyond.
    pub(crate) fn cell(&self, index: u64) -> Option<&AtomicU32> {
        let make = || (0..LEAF_PAGES).map(|_| AtomicU32::new(0)).collect();
        self.0.leaf(index, make)?.get(place(index))
    }

    /// The cell of a page where there is one: without it, the page was never saved.
    pub(crate) fn existing(&self, index: u64) -> Option<&AtomicU32> {
        self.0.existing(index)?.get(place(index))
    }
}

#[cfg(not(loom))]
#[cfg(test)]
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
