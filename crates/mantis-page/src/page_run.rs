//! Adjacent pages with their bytes.

use std::fmt;

use bytes::Bytes;

use crate::{PageNo, PageRange, PageSize};

/// Adjacent pages with their bytes. Cheap to clone: the bytes are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRun {
    range: PageRange,
    size: PageSize,
    bytes: Bytes,
}

/// Bytes that are no whole number of pages, or none, or too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPageRun {
    /// How many bytes were given.
    pub len: usize,
    /// The page size they were to be cut by.
    pub size: PageSize,
}

impl PageRun {
    /// The pages from `first` on whose contents are `bytes`, one after another.
    ///
    /// # Errors
    /// [`InvalidPageRun`] unless `bytes` is one or more whole pages with numbers that fit.
    pub fn new(first: PageNo, size: PageSize, bytes: Bytes) -> Result<Self, InvalidPageRun> {
        let invalid = InvalidPageRun { len: bytes.len(), size };
        if !bytes.len().is_multiple_of(size.bytes()) {
            return Err(invalid);
        }
        let range = PageRange::new(first, (bytes.len() / size.bytes()) as u64).ok_or(invalid)?;
        Ok(Self { range, size, bytes })
    }

    /// Which pages these are.
    #[must_use]
    pub const fn range(&self) -> PageRange {
        self.range
    }

    /// The size of each page.
    #[must_use]
    pub const fn page_size(&self) -> PageSize {
        self.size
    }

    /// All bytes, the pages one after another.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Each page with its number.
    pub fn pages(&self) -> impl Iterator<Item = (PageNo, &[u8])> {
        self.range.pages().zip(self.bytes.chunks_exact(self.size.bytes()))
    }
}

impl fmt::Display for InvalidPageRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes are no whole run of pages of {} bytes", self.len, self.size)
    }
}

impl std::error::Error for InvalidPageRun {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_whole_pages_only() {
        let first = PageNo::new(7).unwrap();
        let run = PageRun::new(first, PageSize::MIN, Bytes::from(vec![9; 1024])).unwrap();
        let numbers: Vec<u64> = run.pages().map(|(no, _)| no.get()).collect();
        assert_eq!(numbers, [7, 8]);
        assert!(PageRun::new(first, PageSize::MIN, Bytes::from(vec![0; 1000])).is_err());
        assert!(PageRun::new(first, PageSize::MIN, Bytes::new()).is_err());
    }
}
