//! The first 100 bytes of a SQLite database (its file format, section 1.3).

use mantis_page::PageSize;

/// How long the header is.
pub(crate) const HEADER_LEN: usize = 100;

/// What of the header matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) page_size: PageSize,
    /// Counts commits in rollback-journal mode.
    pub(crate) change_counter: u32,
    /// The number of pages, where whoever wrote last kept it up to date.
    pub(crate) page_count: Option<u32>,
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A page size as SQLite stores it in 16 bits, 65536 as 1.
pub(crate) fn stored_page_size(stored: u16) -> Option<PageSize> {
    let bytes = if stored == 1 { 65536 } else { u64::from(stored) };
    PageSize::new(bytes).ok()
}

impl Header {
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(b"SQLite format 3\0") {
            return None;
        }
        let page_size = stored_page_size(u16::from_be_bytes(bytes.get(16..18)?.try_into().ok()?))?;
        let (change_counter, count) = (u32_at(bytes, 24)?, u32_at(bytes, 28)?);
        let valid = count > 0 && u32_at(bytes, 92)? == change_counter;
        Some(Self { page_size, change_counter, page_count: valid.then_some(count) })
    }

    /// The number of pages of a file of `len` bytes.
    pub(crate) fn pages(&self, len: u64) -> u64 {
        self.page_count.map_or(len / u64::from(self.page_size.get()), u64::from)
    }
}

/// The page that holds SQLite's lock bytes at 1 GiB and is never used: numbered from 1.
pub(crate) fn lock_page(page_size: PageSize) -> u64 {
    0x4000_0000 / u64::from(page_size.get()) + 1
}
