//! Adjacent pages by number.

use crate::PageNo;

/// Adjacent pages: a first page and how many follow it, itself included. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageRange {
    first: PageNo,
    len: u64,
}

impl PageRange {
    /// `len` pages from `first` on, or `None` where `len` is 0 or the last number would not fit.
    #[must_use]
    pub const fn new(first: PageNo, len: u64) -> Option<Self> {
        if len == 0 || first.checked_add(len - 1).is_none() {
            None
        } else {
            Some(Self { first, len })
        }
    }

    /// The first page.
    #[must_use]
    pub const fn first(self) -> PageNo {
        self.first
    }

    /// How many pages, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u64 {
        self.len
    }

    /// The last page.
    #[must_use]
    pub const fn last(self) -> PageNo {
        // `new` checked the sum; the fallback cannot be taken.
        match self.first.checked_add(self.len - 1) {
            Some(last) => last,
            None => self.first,
        }
    }

    /// The page numbers, ascending.
    pub fn pages(self) -> impl Iterator<Item = PageNo> {
        (self.first.get()..=self.last().get()).filter_map(PageNo::new)
    }

    /// The range cut into pieces of at most `max` pages (at least 1).
    pub fn split(self, max: u64) -> impl Iterator<Item = Self> {
        let max = max.max(1);
        (0..self.len.div_ceil(max)).filter_map(move |piece| {
            let skip = piece * max;
            Self::new(self.first.checked_add(skip)?, max.min(self.len - skip))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_the_empty_and_the_endless() {
        assert_eq!(PageRange::new(PageNo::FIRST, 0), None);
        let last = PageNo::new(u64::MAX).unwrap();
        assert!(PageRange::new(last, 1).is_some());
        assert_eq!(PageRange::new(last, 2), None);
    }

    proptest! {
        #[test]
        fn pieces_cover_the_range(first in 1u64..1000, len in 1u64..500, max in 0u64..600) {
            let range = PageRange::new(PageNo::new(first).unwrap(), len).unwrap();
            let joined: Vec<PageNo> = range.split(max).flat_map(PageRange::pages).collect();
            prop_assert_eq!(joined, range.pages().collect::<Vec<_>>());
            prop_assert!(range.split(max).all(|piece| piece.len() <= max.max(1)));
        }
    }
}
