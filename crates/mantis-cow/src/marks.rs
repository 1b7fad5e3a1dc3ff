//! Which pages are marked: a bit for each, set without a lock.
//!
//! A page that is marked already costs a few loads; one that is not, an atomic instruction besides. Bits are in leaves of 8 KiB for
//! 65,536 pages each, made when the first of them is marked.

use mantis_page::{PageNo, PageRange, PageSet};

use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::tree::{CAPACITY, LEAF_PAGES, Tree, place};

const WORD_BITS: usize = 64;
const WORDS: usize = LEAF_PAGES.div_ceil(WORD_BITS);

#[derive(Debug)]
struct Leaf(Box<[AtomicU64; WORDS]>);

impl Leaf {
    fn new() -> Self {
        Self(Box::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }

    fn mark(&self, word: usize, bits: u64) {
        let Some(word) = self.0.get(word) else { return };
        if word.load(Ordering::Acquire) & bits != bits {
            word.fetch_or(bits, Ordering::AcqRel);
        }
    }

    /// Takes its bits out; none where there were none.
    fn take(&self) -> Option<Box<[u64]>> {
        let any = self.0.iter().any(|word| word.load(Ordering::Acquire) != 0);
        let take = |word: &AtomicU64| match word.load(Ordering::Acquire) {
            0 => 0,
            _ => word.swap(0, Ordering::AcqRel),
        };
        any.then(|| self.0.iter().map(take).collect())
    }
}

/// Marked pages.
#[derive(Debug)]
pub(crate) struct Marks {
    tree: Tree<Leaf>,
    /// Those that have no leaf: of a file that no table can follow.
    beyond: Mutex<PageSet>,
}

/// What was marked at one time, as it was taken out.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The bits of leaves, each with the index of its first page.
    leaves: Vec<(u64, Box<[u64]>)>,
    beyond: PageSet,
}

impl Marks {
    pub(crate) fn new() -> Self {
        let marks = Self { tree: Tree::new(), beyond: Mutex::new(PageSet::new()) };
        // As for the generations of images: loom does not see the order that `OnceLock` gives.
        #[cfg(loom)]
        marks.tree.leaf(0, Leaf::new);
        marks
    }

    /// Marks every page of a range.
    pub(crate) fn mark(&self, range: PageRange) {
        let (mut next, last) = (range.first().index(), range.last().index());
        if last >= CAPACITY {
            lock(&self.beyond).insert_range(range);
            return;
        }
        while next <= last
            && let Some(leaf) = self.tree.leaf(next, Leaf::new)
        {
            let at = place(next);
            let first_bit = at % WORD_BITS;
            // Up to the end of the word, of the leaf, or of the range.
            let room = (WORD_BITS - first_bit).min(LEAF_PAGES - at) as u64;
            let count = room.min(last - next + 1);
            let ones = if count == 64 { u64::MAX } else { (1 << count) - 1 };
            leaf.mark(at / WORD_BITS, ones << first_bit);
            next += count;
        }
    }

    /// Whether a page is marked; of one that has no leaf, that it is not.
    #[inline]
    pub(crate) fn is_marked(&self, index: u64) -> bool {
        let at = place(index);
        let word = self.tree.existing(index).and_then(|leaf| leaf.0.get(at / WORD_BITS));
        word.is_some_and(|word| word.load(Ordering::Acquire) & (1 << (at % WORD_BITS)) != 0)
    }

    /// Takes all marks out. Those that are made meanwhile are among them, or stay.
    pub(crate) fn take(&self) -> Taken {
        let leaves = self.tree.all().filter_map(|(first, leaf)| Some((first, leaf.take()?)));
        Taken { leaves: leaves.collect(), beyond: std::mem::take(&mut *lock(&self.beyond)) }
    }

    /// Marks again what was taken out.
    pub(crate) fn put_back(&self, taken: &Taken) {
        for (first, words) in &taken.leaves {
            let Some(leaf) = self.tree.leaf(*first, Leaf::new) else { continue };
            let marked = words.iter().enumerate().filter(|(_, bits)| **bits != 0);
            marked.for_each(|(word, bits)| leaf.mark(word, *bits));
        }
        lock(&self.beyond).union_with(&taken.beyond);
    }
}

impl Taken {
    /// The pages.
    pub(crate) fn pages(&self) -> PageSet {
        let mut pages = self.beyond.clone();
        for (first, words) in &self.leaves {
            for (at, bits) in (0u64..).zip(words) {
                let mut left = *bits;
                while left != 0 {
                    let index = first + at * WORD_BITS as u64 + u64::from(left.trailing_zeros());
                    PageNo::from_index(index).into_iter().for_each(|page| {
                        pages.insert(page);
                    });
                    left &= left - 1;
                }
            }
        }
        pages
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(first: u64, len: u64) -> PageRange {
        PageRange::new(PageNo::from_index(first).unwrap(), len).unwrap()
    }

    #[test]
    fn what_is_taken_is_gone_and_comes_back() {
        let marks = Marks::new();
        marks.mark(range(65_500, 100));
        marks.mark(range(CAPACITY - 1, 3));
        assert!(marks.is_marked(65_599) && !marks.is_marked(65_600));
        assert!(!marks.is_marked(CAPACITY - 1) && !marks.is_marked(u64::MAX));
        let taken = marks.take();
        let pages = taken.pages();
        assert_eq!(pages.len(), 103);
        assert!(marks.take().pages().pages().next().is_none());
        marks.mark(range(7, 1));
        marks.put_back(&taken);
        let mut all = pages;
        all.insert(PageNo::from_index(7).unwrap());
        assert_eq!(marks.take().pages(), all);
    }

    #[test]
    fn none_is_lost_between_threads() {
        let marks = Marks::new();
        let mut found = PageSet::new();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let marks = &marks;
                scope.spawn(move || {
                    (0..2000).for_each(|page| marks.mark(range(page * 4 + thread, 1)));
                });
            }
            for _ in 0..50 {
                found.union_with(&marks.take().pages());
            }
        });
        found.union_with(&marks.take().pages());
        assert_eq!(found.len(), 8000);
    }

    proptest! {
        #[test]
        fn marks_what_a_set_would_hold(
            ranges in prop::collection::vec((prop_oneof![0u64..300, 65_400u64..65_700, CAPACITY - 100..CAPACITY + 50], 1u64..200), 0..20)
        ) {
            let (marks, mut set) = (Marks::new(), PageSet::new());
            for (first, len) in ranges {
                marks.mark(range(first, len));
                set.insert_range(range(first, len));
            }
            prop_assert_eq!(marks.take().pages(), set);
        }
    }
}
