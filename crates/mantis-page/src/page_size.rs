//! The size of a page.

use std::fmt;

use crate::PageNo;

/// The size of a page in bytes: a power of two from 512 to 65536, known at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize(u32);

/// The number given is not a page size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPageSize(pub u64);

impl PageSize {
    /// The smallest page size, 512 bytes.
    pub const MIN: Self = Self(512);
    /// The largest page size, 65536 bytes.
    pub const MAX: Self = Self(65536);
    /// The most common page size, 4096 bytes.
    pub const DEFAULT: Self = Self(4096);

    /// A page size of `bytes`.
    ///
    /// # Errors
    /// [`InvalidPageSize`] unless `bytes` is a power of two from 512 to 65536.
    pub const fn new(bytes: u64) -> Result<Self, InvalidPageSize> {
        if bytes >= 512 && bytes <= 65536 && bytes.is_power_of_two() {
            Ok(Self(bytes as u32))
        } else {
            Err(InvalidPageSize(bytes))
        }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The size in bytes, as an index type.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.0 as usize
    }

    /// Where a page begins in a file, in bytes, or `None` past the largest offset.
    #[must_use]
    pub const fn offset_of(self, page: PageNo) -> Option<u64> {
        page.index().checked_mul(self.0 as u64)
    }

    /// How many pages hold `len` bytes, the last one perhaps in part.
    #[must_use]
    pub const fn pages_for(self, len: u64) -> u64 {
        len.div_ceil(self.0 as u64)
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for InvalidPageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a page size: a power of two from 512 to 65536 is", self.0)
    }
}

impl std::error::Error for InvalidPageSize {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_exactly_the_eight_powers() {
        let valid: Vec<u64> = (0..=200_000).filter(|n| PageSize::new(*n).is_ok()).collect();
        assert_eq!(valid, [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]);
    }

    #[test]
    fn offsets_do_not_wrap() {
        assert_eq!(PageSize::MAX.offset_of(PageNo::FIRST), Some(0));
        assert_eq!(PageSize::MAX.offset_of(PageNo::new(u64::MAX).unwrap()), None);
        assert_eq!(PageSize::DEFAULT.pages_for(0), 0);
        assert_eq!(PageSize::DEFAULT.pages_for(4097), 2);
    }
}
