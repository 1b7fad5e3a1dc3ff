//! A set of page numbers, compact whether it holds few pages or most of them.
//!
//! The numbers are cut into blocks of 65,536. A block with few members is a sorted list of 16-bit
//! offsets (2 bytes a member); from 4,096 members on it is a bitmap (8 KiB, at most 2 bytes a
//! member); a full one is a mark. This is the layout of Roaring bitmaps (Chambi, Lemire, Kaser, Godin: "Better bitmap
//! performance with Roaring bitmaps", 2016) without its run containers: runs appear in the
//! serialised form instead.

use std::collections::BTreeMap;

use crate::{PageNo, PageRange};

/// Members from which a block is a bitmap.
const DENSE_FROM: usize = 4096;
const WORDS: usize = 65536 / 64;
const BLOCK: u64 = 65536;

/// A set of page numbers: which pages changed, which were written already.
///
/// ```
/// use mantis_page::{PageNo, PageSet};
/// let mut changed = PageSet::new();
/// changed.insert(PageNo::new(7).unwrap());
/// changed.insert(PageNo::new(8).unwrap());
/// let range = changed.ranges().next().unwrap();
/// assert_eq!((range.first().get(), range.len()), (7, 2));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageSet {
    blocks: BTreeMap<u64, Block>,
    len: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Block {
    Sparse(Vec<u16>),
    Dense {
        words: Box<[u64; WORDS]>,
        len: u32,
    },
    /// All 65,536 pages; a dense block that becomes full is one of these.
    Full,
}

impl Block {
    fn len(&self) -> u64 {
        match self {
            Self::Sparse(list) => list.len() as u64,
            Self::Dense { len, .. } => (*len).into(),
            Self::Full => BLOCK,
        }
    }

    fn insert(&mut self, low: u16) -> bool {
        match self {
            Self::Sparse(list) => match list.binary_search(&low) {
                Ok(_) => false,
                Err(at) if list.len() + 1 < DENSE_FROM => {
                    list.insert(at, low);
                    true
                }
                Err(_) => {
                    let mut words = Box::new([0u64; WORDS]);
                    for member in list.iter().copied().chain([low]) {
                        words[usize::from(member) / 64] |= 1 << (member % 64);
                    }
                    *self = Self::Dense { words, len: DENSE_FROM as u32 };
                    true
                }
            },
            Self::Dense { words, len } => {
                let word = &mut words[usize::from(low) / 64];
                let new = *word & (1 << (low % 64)) == 0;
                *word |= 1 << (low % 64);
                *len += u32::from(new);
                if u64::from(*len) == BLOCK {
                    *self = Self::Full;
                }
                new
            }
            Self::Full => false,
        }
    }

    fn contains(&self, low: u16) -> bool {
        match self {
            Self::Sparse(list) => list.binary_search(&low).is_ok(),
            Self::Dense { words, .. } => words[usize::from(low) / 64] & (1 << (low % 64)) != 0,
            Self::Full => true,
        }
    }

    /// The smallest member that is `low` or larger and (`member == wanted`).
    fn next(&self, low: u16, wanted: bool) -> Option<u16> {
        match self {
            Self::Sparse(list) => {
                let at = list.partition_point(|member| *member < low);
                if wanted {
                    return list.get(at).copied();
                }
                let mut gap = low;
                for member in list.get(at..)? {
                    if *member != gap {
                        break;
                    }
                    gap = gap.checked_add(1)?;
                }
                Some(gap)
            }
            Self::Dense { words, .. } => {
                let mut at = usize::from(low) / 64;
                let flip = if wanted { 0 } else { u64::MAX };
                let mut word = (words[at] ^ flip) & (u64::MAX << (low % 64));
                while word == 0 {
                    at += 1;
                    word = words.get(at)? ^ flip;
                }
                Some((at as u32 * 64 + word.trailing_zeros()) as u16)
            }
            Self::Full => wanted.then_some(low),
        }
    }
}

const fn split(page: PageNo) -> (u64, u16) {
    (page.index() >> 16, (page.index() & 0xFFFF) as u16)
}

impl PageSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { blocks: BTreeMap::new(), len: 0 }
    }

    /// How many pages are in the set.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether no page is in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a page; whether it is new.
    pub fn insert(&mut self, page: PageNo) -> bool {
        let (high, low) = split(page);
        let block = self.blocks.entry(high).or_insert_with(|| Block::Sparse(Vec::new()));
        let new = block.insert(low);
        self.len += u64::from(new);
        new
    }

    /// Adds every page of a range; whole blocks at once.
    pub fn insert_range(&mut self, range: PageRange) {
        let (mut next, last) = (range.first().index(), range.last().index());
        while next <= last {
            let block_last = next | (BLOCK - 1);
            if next % BLOCK == 0 && block_last <= last {
                let old = self.blocks.insert(next / BLOCK, Block::Full);
                self.len += BLOCK - old.map_or(0, |block| block.len());
            } else {
                for page in (next..=block_last.min(last)).filter_map(PageNo::from_index) {
                    self.insert(page);
                }
            }
            match block_last.checked_add(1) {
                Some(following) => next = following,
                None => break,
            }
        }
    }

    /// Adds every page of another set.
    pub fn union_with(&mut self, other: &Self) {
        for range in other.ranges() {
            self.insert_range(range);
        }
    }

    /// Whether a page is in the set.
    #[must_use]
    pub fn contains(&self, page: PageNo) -> bool {
        let (high, low) = split(page);
        self.blocks.get(&high).is_some_and(|block| block.contains(low))
    }

    /// How many pages of a range are in the set.
    #[must_use]
    pub fn len_within(&self, range: PageRange) -> u64 {
        let (first, last) = (range.first().index(), range.last().index());
        let mut count = 0;
        for (high, block) in self.blocks.range(first >> 16..=last >> 16) {
            let (begin, end) = (high << 16, (high << 16) | 0xFFFF);
            if first <= begin && end <= last {
                count += block.len();
                continue;
            }
            let mut next = block.next((first.max(begin) & 0xFFFF) as u16, true);
            while let Some(low) = next.filter(|low| begin | u64::from(*low) <= last) {
                count += 1;
                next = low.checked_add(1).and_then(|low| block.next(low, true));
            }
        }
        count
    }

    /// The set as ranges, ascending, as long as each can be.
    #[must_use]
    pub fn ranges(&self) -> Ranges<'_> {
        Ranges { set: self, from: Some(0) }
    }

    /// The pages, ascending.
    pub fn pages(&self) -> impl Iterator<Item = PageNo> {
        self.ranges().flat_map(PageRange::pages)
    }

    /// The first page from `page` on that is not in the set; none where all up to the last possible page are.
    #[must_use]
    pub fn first_missing(&self, page: PageNo) -> Option<PageNo> {
        self.next_gap(page.index()).and_then(PageNo::from_index)
    }

    /// The first member at or after a position counted from 0.
    fn next_member(&self, index: u64) -> Option<u64> {
        let (high, low) = (index >> 16, (index & 0xFFFF) as u16);
        for (at, block) in self.blocks.range(high..) {
            let from = if *at == high { low } else { 0 };
            if let Some(found) = block.next(from, true) {
                return Some((at << 16) | u64::from(found));
            }
        }
        None
    }

    /// The first position at or after `index` that is no member.
    fn next_gap(&self, index: u64) -> Option<u64> {
        let (mut high, mut low) = (index >> 16, (index & 0xFFFF) as u16);
        while let Some(block) = self.blocks.get(&high) {
            if let Some(found) = block.next(low, false) {
                return Some((high << 16) | u64::from(found));
            }
            high = high.checked_add(1).filter(|high| *high < 1 << 48)?;
            low = 0;
        }
        Some((high << 16) | u64::from(low))
    }
}

impl Extend<PageNo> for PageSet {
    fn extend<I: IntoIterator<Item = PageNo>>(&mut self, pages: I) {
        for page in pages {
            self.insert(page);
        }
    }
}

impl FromIterator<PageNo> for PageSet {
    fn from_iter<I: IntoIterator<Item = PageNo>>(pages: I) -> Self {
        let mut set = Self::new();
        set.extend(pages);
        set
    }
}

/// The ranges of a [`PageSet`], ascending; made by [`PageSet::ranges`].
#[derive(Debug, Clone)]
pub struct Ranges<'a> {
    set: &'a PageSet,
    from: Option<u64>,
}

impl Iterator for Ranges<'_> {
    type Item = PageRange;

    fn next(&mut self) -> Option<PageRange> {
        let start = self.set.next_member(self.from?)?;
        let end = self.set.next_gap(start);
        self.from = end;
        PageRange::new(PageNo::from_index(start)?, end.unwrap_or(u64::MAX) - start)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Ranges that touch block borders, empty blocks and both kinds of block.
    pub(crate) fn any_ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
        let start = prop_oneof![
            1u64..200,
            65_400u64..65_700,
            131_000u64..140_000,
            1u64 << 40..(1 << 40) + 9
        ];
        prop::collection::vec(
            (start, prop_oneof![1u64..4, 1u64..300, 4000u64..9000, 60_000u64..140_000]),
            0..12,
        )
    }

    pub(crate) fn build(ranges: &[(u64, u64)]) -> (PageSet, BTreeSet<u64>) {
        let mut set = PageSet::new();
        let mut model = BTreeSet::new();
        for (first, len) in ranges {
            set.insert_range(PageRange::new(PageNo::new(*first).unwrap(), *len).unwrap());
            model.extend(*first..first + len);
        }
        (set, model)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn behaves_like_a_plain_set(ranges in any_ranges(), probe in 1u64..150_000, len in 1u64..200_000) {
            let (set, model) = build(&ranges);
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert_eq!(set.contains(PageNo::new(probe).unwrap()), model.contains(&probe));
            let within = model.range(probe..probe + len).count() as u64;
            let range = PageRange::new(PageNo::new(probe).unwrap(), len).unwrap();
            prop_assert_eq!(set.len_within(range), within);
            let missing = (probe..).find(|page| !model.contains(page));
            let found = set.first_missing(PageNo::new(probe).unwrap()).map(PageNo::get);
            prop_assert_eq!(found, missing);
            let pages: Vec<u64> = set.pages().map(PageNo::get).collect();
            prop_assert_eq!(pages, model.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn ranges_are_as_long_as_can_be(ranges in any_ranges()) {
            let (set, _) = build(&ranges);
            let found: Vec<PageRange> = set.ranges().collect();
            for pair in found.windows(2) {
                prop_assert!(pair[0].last().get() + 1 < pair[1].first().get());
            }
        }

        #[test]
        fn union_is_union(a in any_ranges(), b in any_ranges()) {
            let (mut set, mut model) = build(&a);
            let (other, more) = build(&b);
            set.union_with(&other);
            model.extend(more);
            prop_assert_eq!(set.len(), model.len() as u64);
        }
    }

    #[test]
    fn the_very_last_page_is_a_member_like_any_other() {
        let last = PageNo::new(u64::MAX).unwrap();
        let set: PageSet = [last].into_iter().collect();
        assert!(set.contains(last));
        assert_eq!(set.pages().collect::<Vec<_>>(), [last]);
    }
}
