//! The index at the end of a segment: which pages it holds, where, and their hashes.
//!
//! As the chunk of the segment's last frame, all numbers little-endian:
//!
//! | bytes | |
//! | --- | --- |
//! | 4 | page size |
//! | 4 | number of data frames, n |
//! | 4, 4 | lengths of the two page sets that follow |
//! | … | pages that are all zeros: a page set (runs as LEB128 gaps and lengths) |
//! | … | pages that are in the data frames: a page set |
//! | 8 × n | of each data frame, in order: its length in bytes with its header, and its pages |
//! | 16 × p | the hash of each page in the data frames, in the order of their numbers |
//!
//! The data frames stand one after another from the end of the object's header on; their chunks are
//! pages in the order of their numbers.

use mantis_page::{PageNo, PageRange, PageSet, PageSize};

use crate::{PageHash, RepoError};

/// The most pages of a backup: 256 TiB at 4 KiB. It bounds what a reader's maps can take.
pub(crate) const MAX_PAGE_COUNT: u64 = 1 << 36;

/// A data frame of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameRef {
    /// With its header.
    pub(crate) len: u32,
    pub(crate) pages: u32,
}

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentIndex {
    pub(crate) page_size: PageSize,
    pub(crate) zero: Vec<PageRange>,
    pub(crate) data: Vec<PageRange>,
    pub(crate) frames: Vec<FrameRef>,
    pub(crate) hashes: Vec<PageHash>,
}

fn set_bytes(ranges: &[PageRange]) -> Vec<u8> {
    let mut set = PageSet::new();
    for range in ranges {
        set.insert_range(*range);
    }
    set.to_bytes()
}

fn count(ranges: &[PageRange]) -> u64 {
    ranges.iter().map(|range| range.len()).fold(0, u64::saturating_add)
}

/// Takes bytes off the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }
}

impl SegmentIndex {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (zero, data) = (set_bytes(&self.zero), set_bytes(&self.data));
        let mut out = Vec::with_capacity(
            16 + zero.len() + data.len() + 8 * self.frames.len() + 16 * self.hashes.len(),
        );
        for number in
            [self.page_size.get(), self.frames.len() as u32, zero.len() as u32, data.len() as u32]
        {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&zero);
        out.extend_from_slice(&data);
        for frame in &self.frames {
            out.extend_from_slice(&frame.len.to_le_bytes());
            out.extend_from_slice(&frame.pages.to_le_bytes());
        }
        out.extend(self.hashes.iter().flatten());
        out
    }

    /// Reads an index of pages up to `last_page`. Takes memory in proportion to `bytes` only.
    pub(crate) fn read(object: &str, bytes: &[u8], last_page: u64) -> Result<Self, RepoError> {
        let damaged = |what: &str| RepoError::damaged(object, format!("its index: {what}"));
        let short = || damaged("it is cut short");
        let mut cursor = Cursor(bytes);
        let mut number = || cursor.u32().ok_or_else(short);
        let (page_size, frames, zero_len, data_len) = (number()?, number()?, number()?, number()?);
        let page_size =
            PageSize::new(page_size.into()).map_err(|error| damaged(&error.to_string()))?;
        let set = |bytes: Option<&[u8]>| {
            PageSet::ranges_from_bytes(bytes.ok_or_else(short)?, last_page.min(MAX_PAGE_COUNT))
                .map_err(|error| damaged(&error.to_string()))
        };
        let zero = set(cursor.take(zero_len as usize))?;
        let data = set(cursor.take(data_len as usize))?;
        let pages = count(&data);
        let frame_bytes =
            cursor.take((frames as usize).checked_mul(8).ok_or_else(short)?).ok_or_else(short)?;
        let mut refs = Vec::with_capacity(frames as usize);
        for pair in frame_bytes.chunks_exact(8) {
            let mut pair = Cursor(pair);
            let (len, pages) = (pair.u32().ok_or_else(short)?, pair.u32().ok_or_else(short)?);
            refs.push(FrameRef { len, pages });
        }
        if refs.iter().map(|frame| u64::from(frame.pages)).sum::<u64>() != pages {
            return Err(damaged("its frames and its pages do not agree"));
        }
        if cursor.0.len() as u64 != pages.saturating_mul(16) {
            return Err(damaged("its hashes and its pages do not agree"));
        }
        let hashes = cursor.0.chunks_exact(16).filter_map(|hash| hash.try_into().ok()).collect();
        let index = Self { page_size, zero, data, frames: refs, hashes };
        if index.zero.iter().any(|zero| index.data.iter().any(|data| overlap(*zero, *data))) {
            return Err(damaged("a page is there twice"));
        }
        Ok(index)
    }

    /// How many pages are in the segment, those of zeros included.
    pub(crate) fn pages(&self) -> u64 {
        count(&self.zero).saturating_add(count(&self.data))
    }

    /// The first and the last page.
    pub(crate) fn bounds(&self) -> Option<(u64, u64)> {
        let ranges = || self.zero.iter().chain(&self.data);
        let first = ranges().map(|range| range.first().get()).min()?;
        Some((first, ranges().map(|range| range.last().get()).max()?))
    }

    /// The data pages with their hashes, ascending.
    pub(crate) fn data_pages(&self) -> impl Iterator<Item = (PageNo, PageHash)> {
        self.data.iter().flat_map(|range| range.pages()).zip(self.hashes.iter().copied())
    }
}

const fn overlap(a: PageRange, b: PageRange) -> bool {
    a.first().get() <= b.last().get() && b.first().get() <= a.last().get()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(pages: u64) -> SegmentIndex {
        let range = |first, len| PageRange::new(PageNo::new(first).unwrap(), len).unwrap();
        SegmentIndex {
            page_size: PageSize::MIN,
            zero: vec![range(1, 2), range(100, 5)],
            data: vec![range(3, pages)],
            frames: vec![
                FrameRef { len: 99, pages: 1 },
                FrameRef { len: 98, pages: pages as u32 - 1 },
            ],
            hashes: (0..pages).map(|page| [page as u8; 16]).collect(),
        }
    }

    proptest! {
        #[test]
        fn comes_back_as_it_went(pages in 2u64..90) {
            let index = index(pages);
            prop_assert_eq!(SegmentIndex::read("s", &index.to_bytes(), 104).unwrap(), index);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = SegmentIndex::read("s", &bytes, u64::MAX);
        }

        #[test]
        fn changed_bytes_never_panic(at in 0usize..60, byte: u8) {
            let mut bytes = index(3).to_bytes();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let _ = SegmentIndex::read("s", &bytes, 104);
        }
    }

    #[test]
    fn pages_past_the_backups_end_are_refused() {
        assert!(SegmentIndex::read("s", &index(5).to_bytes(), 103).is_err());
    }
}
