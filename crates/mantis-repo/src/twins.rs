//! Pages that are stored already, under another number or in another backup: found by their hashes, and borrowed
//! instead of stored again.
//!
//! What is known is bounded: past its capacity no further page is noted, and past its number of runs none is
//! borrowed. Nothing is lost by that but some space.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use bytes::BytesMut;
use mantis_page::{PageRange, PageSize};

use crate::digest::{Digest, extend};
use crate::own_pages::OwnPages;
use crate::segment_index::SegmentIndex;
use crate::{Borrow, Layer, PageHash, RepoError, SegmentRef};

/// The most runs of borrowed pages of a backup.
pub(crate) const MAX_RUNS: usize = 1 << 16;

/// Where a page is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    /// In a segment of this backup's own.
    Own(u64),
    /// In a segment that was there before.
    Before(u32, u64),
}

impl Stored {
    /// Where the next page is, if it is stored next to this one.
    fn next(self, by: u64) -> Self {
        match self {
            Self::Own(page) => Self::Own(page + by),
            Self::Before(segment, page) => Self::Before(segment, page + by),
        }
    }
}

/// Adjacent pages that are stored already, in adjacent places.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: u64,
    pages: u64,
    from: Stored,
}

/// A page's hash is as good as random, and keyed: eight bytes of it are all the hash that a table needs.
#[derive(Debug, Clone, Copy, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        for (place, byte) in bytes.iter().take(8).enumerate() {
            self.0 ^= u64::from(*byte) << (8 * place);
        }
    }

    // The length of the array, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Knows pages by their hashes.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    capacity: usize,
    known: HashMap<PageHash, Stored, BuildHasherDefault<FirstBytes>>,
    before: Vec<SegmentRef>,
    runs: Vec<Run>,
}

impl Twins {
    /// Notes at most so many pages, none for 0; `pages` are to come.
    pub(crate) fn new(capacity: usize, pages: u64) -> Self {
        let mut twins = Self { capacity, ..Self::default() };
        twins.known.reserve(capacity.min(usize::try_from(pages).unwrap_or(capacity)));
        twins
    }

    /// Whether there is room for pages of other backups: half of it is kept for this one's own.
    pub(crate) fn has_room(&self) -> bool {
        self.known.len() < self.capacity / 2
    }

    /// Notes the pages of a segment that is there already.
    pub(crate) fn learn(&mut self, segment: &SegmentRef, index: &SegmentIndex) {
        let number = self.add_segment(segment);
        for (page, hash) in index.data_pages() {
            if !self.has_room() {
                break;
            }
            self.known.entry(hash).or_insert(Stored::Before(number, page.get()));
        }
    }

    /// Notes a segment whose pages are told from elsewhere; its number.
    pub(crate) fn add_segment(&mut self, segment: &SegmentRef) -> u32 {
        self.before.push(segment.clone());
        self.before.len() as u32 - 1
    }

    /// Takes out of a digest what is stored already, and notes the rest. `there` gives, for each page of it, the
    /// number of a segment that is known to hold it under the same number; past its end there is none.
    pub(crate) fn sift(&mut self, digest: Digest, size: PageSize, there: &[Option<u32>]) -> Digest {
        if self.capacity == 0 {
            return digest;
        }
        let pages = digest.data.iter().flat_map(|range| range.pages()).zip(&digest.hashes);
        let mut borrowed = Vec::new();
        for ((page, hash), at) in pages.zip(0usize..) {
            let there = there.get(at).copied().flatten();
            let there = there.map(|number| Stored::Before(number, page.get()));
            match there.or_else(|| self.known.get(hash).copied()) {
                Some(from) if self.borrow(page.get(), from) => borrowed.push(at),
                Some(_) => {}
                None if self.known.len() < self.capacity => {
                    self.known.insert(*hash, Stored::Own(page.get()));
                }
                None => {}
            }
        }
        if borrowed.is_empty() { digest } else { without(digest, &borrowed, size) }
    }

    fn borrow(&mut self, page: u64, from: Stored) -> bool {
        if let Some(last) = self.runs.last_mut()
            && last.first + last.pages == page
            && last.from.next(last.pages) == from
        {
            last.pages += 1;
            return true;
        }
        if self.runs.len() >= MAX_RUNS {
            return false;
        }
        self.runs.push(Run { first: page, pages: 1, from });
        true
    }

    /// The layer of what was borrowed, as segments and runs; none where nothing was. `own` tells where this backup's own pages are.
    pub(crate) fn layer(&self, own: &OwnPages) -> Result<Option<Layer>, RepoError> {
        let lost = || RepoError::WrongPages { what: "a page was borrowed from nowhere".into() };
        let mut layer =
            Layer { list: None, segments: Vec::new(), borrows: Vec::new(), shared: false };
        let mut numbers: HashMap<crate::ObjectHash, u32> = HashMap::new();
        for run in &self.runs {
            let (mut first, mut left, mut from) = (run.first, run.pages, run.from);
            while left > 0 {
                // A run may go over the border of two places of our own.
                let (segment, page, pages) = match from {
                    Stored::Before(number, page) => {
                        (self.before.get(number as usize).ok_or_else(lost)?, page, left)
                    }
                    Stored::Own(page) => {
                        let (segment, there, pages) = own.place_of(page).ok_or_else(lost)?;
                        (segment, there, left.min(pages))
                    }
                };
                let next = numbers.len() as u32;
                let number = *numbers.entry(segment.hash).or_insert_with(|| {
                    layer.segments.push(segment.clone());
                    next
                });
                layer.borrows.push(Borrow { first, pages, segment: number, from: page });
                (first, left, from) = (first + pages, left - pages, from.next(pages));
            }
        }
        Ok((!layer.borrows.is_empty()).then_some(layer))
    }
}

/// A digest without some of its pages, given by their places, ascending.
fn without(digest: Digest, places: &[usize], size: PageSize) -> Digest {
    let mut bytes = BytesMut::with_capacity(digest.bytes.len());
    let (mut data, mut hashes) = (Vec::new(), Vec::new());
    let mut places = places.iter().copied().peekable();
    let pages = digest.data.iter().flat_map(|range| range.pages()).zip(&digest.hashes);
    let contents = digest.bytes.chunks_exact(size.bytes());
    for (((page, hash), content), at) in pages.zip(contents).zip(0usize..) {
        if places.next_if_eq(&at).is_some() {
            continue;
        }
        if let Some(range) = PageRange::new(page, 1) {
            extend(&mut data, range);
            hashes.push(*hash);
            bytes.extend_from_slice(content);
        }
    }
    Digest { data, hashes, bytes: bytes.freeze(), ..digest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_runs_are_borrowed_and_no_more() {
        let mut twins = Twins::new(10, 10);
        for run in 0..MAX_RUNS as u64 {
            assert!(twins.borrow(1 + 2 * run, Stored::Before(0, 5)), "run {run}");
        }
        let next = 1 + 2 * MAX_RUNS as u64;
        assert!(!twins.borrow(next, Stored::Before(0, 5)));
        // What goes on where the last one ended is no run of its own.
        assert!(twins.borrow(next - 1, Stored::Before(0, 6)));
    }
}
