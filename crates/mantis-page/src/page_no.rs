//! The number of a page.

use std::fmt;
use std::num::NonZeroU64;

/// The number of a page, counted from 1 as SQLite does; `Option<PageNo>` costs nothing extra.
///
/// ```
/// use mantis_page::PageNo;
/// let first = PageNo::from_index(0).unwrap();
/// assert_eq!(first.get(), 1);
/// assert_eq!(PageNo::new(0), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageNo(NonZeroU64);

const _: () = assert!(size_of::<Option<PageNo>>() == 8);

impl PageNo {
    /// The first page.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The page with this number, or `None` for 0.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The page at a position counted from 0, or `None` where the number would not fit.
    #[must_use]
    pub const fn from_index(index: u64) -> Option<Self> {
        match index.checked_add(1) {
            Some(number) => Self::new(number),
            None => None,
        }
    }

    /// The number, from 1.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The position, from 0.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.0.get() - 1
    }

    /// The page `count` pages further on, or `None` where the number would not fit.
    #[must_use]
    pub const fn checked_add(self, count: u64) -> Option<Self> {
        match self.0.checked_add(count) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

impl fmt::Display for PageNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_one() {
        assert_eq!(PageNo::FIRST.index(), 0);
        assert_eq!(PageNo::from_index(u64::MAX), None);
        assert_eq!(PageNo::FIRST.checked_add(2).map(PageNo::get), Some(3));
        assert_eq!(PageNo::FIRST.checked_add(u64::MAX), None);
    }
}
