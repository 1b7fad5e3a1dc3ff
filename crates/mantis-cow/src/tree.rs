//! A sparse array over page indices: leaves that are made when they are first asked for, found without a lock.

use std::sync::OnceLock;

/// How many pages a leaf is for, as a power of two.
#[cfg(not(loom))]
const LEAF_BITS: u32 = 16;
#[cfg(loom)]
const LEAF_BITS: u32 = 1;
const NODE_BITS: u32 = 8;

/// Pages of a leaf.
pub(crate) const LEAF_PAGES: usize = 1 << LEAF_BITS;
/// One past the largest page index that has a leaf.
pub(crate) const CAPACITY: u64 = 1 << (LEAF_BITS + 2 * NODE_BITS);

/// As long as its index can tell, so that nothing is to be checked.
type Node<T> = [OnceLock<T>; 1 << NODE_BITS];

/// Leaves for page indices below [`CAPACITY`].
#[derive(Debug)]
pub(crate) struct Tree<L> {
    root: Node<Box<Node<L>>>,
}

fn node<T>() -> Node<T> {
    [const { OnceLock::new() }; 1 << NODE_BITS]
}

/// The places in the root and in the node below it; none at [`CAPACITY`] and beyond.
fn path(index: u64) -> Option<(usize, usize)> {
    let mask = (1 << NODE_BITS) - 1;
    let high = (index >> (LEAF_BITS + NODE_BITS)) as usize;
    (high <= mask).then_some((high & mask, (index >> LEAF_BITS) as usize & mask))
}

/// The place of a page in its leaf.
pub(crate) const fn place(index: u64) -> usize {
    (index & ((1 << LEAF_BITS) - 1)) as usize
}

impl<L> Tree<L> {
    pub(crate) fn new() -> Self {
        Self { root: node() }
    }

    /// The leaf of a page, made where there is none; `None` at [`CAPACITY`] and beyond.
    pub(crate) fn leaf(&self, index: u64, make: impl FnOnce() -> L) -> Option<&L> {
        let (high, middle) = path(index)?;
        Some(self.root[high].get_or_init(|| Box::new(node()))[middle].get_or_init(make))
    }

    /// The leaf of a page where there is one.
    pub(crate) fn existing(&self, index: u64) -> Option<&L> {
        let (high, middle) = path(index)?;
        self.root[high].get()?[middle].get()
    }

    /// All leaves there are, each with the index of its first page, ascending.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, &L)> {
        let nodes = (0u64..).zip(&self.root).filter_map(|(at, node)| Some((at, node.get()?)));
        nodes.flat_map(|(high, node)| {
            let leaves = (0u64..).zip(&**node).filter_map(|(at, leaf)| Some((at, leaf.get()?)));
            leaves.map(move |(middle, leaf)| (((high << NODE_BITS) | middle) << LEAF_BITS, leaf))
        })
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_found_again_in_their_order() {
        let tree = Tree::new();
        for index in [CAPACITY - 1, 1 << 24, 65_536, 65_535, 0] {
            tree.leaf(index, || index);
        }
        assert_eq!(tree.leaf(7, || 9), Some(&65_535), "made once");
        assert_eq!(tree.existing(70_000), Some(&65_536));
        assert_eq!(tree.existing(1 << 30), None);
        assert_eq!(tree.leaf(CAPACITY, || 9), None);
        let all: Vec<(u64, u64)> = tree.all().map(|(first, leaf)| (first, *leaf)).collect();
        let last = CAPACITY - 65_536;
        assert_eq!(all, [(0, 65_535), (65_536, 65_536), (1 << 24, 1 << 24), (last, CAPACITY - 1)]);
        assert_eq!(place(65_537), 1);
    }
}
