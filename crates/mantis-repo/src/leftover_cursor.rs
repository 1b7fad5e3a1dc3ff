//! Where interrupted backups stored the pages of this one: found by position, as an engine moves few pages.
//!
//! Pages ascend within each backup, so one index for each of them is in memory at a time, however much it left.

use std::collections::VecDeque;

use crate::digest::Digest;
use crate::segment_reader::SegmentReader;
use crate::{PageHash, RepoError, Repository};

/// What one interrupted backup left.
#[derive(Debug, Default)]
struct Left {
    /// Segments not reached yet, ascending, each with its number.
    waiting: VecDeque<(u32, SegmentReader)>,
    /// The number of the segment in hand, and its pages from `at` on, which are not passed yet.
    number: u32,
    pages: Vec<(u64, PageHash)>,
    at: usize,
}

impl Left {
    /// The segment that holds a page with that hash. Pages must ascend.
    async fn find(
        &mut self,
        repo: &Repository,
        page: u64,
        hash: &PageHash,
    ) -> Result<Option<u32>, RepoError> {
        loop {
            self.at += self.pages[self.at..].partition_point(|(other, _)| *other < page);
            if let Some((other, found)) = self.pages.get(self.at) {
                return Ok((*other == page && found == hash).then_some(self.number));
            }
            match self.waiting.front() {
                Some((_, next)) if next.reference.first <= page => {}
                _ => return Ok(None),
            }
            let Some((number, reader)) = self.waiting.pop_front() else { return Ok(None) };
            if reader.reference.last < page {
                continue;
            }
            match reader.index(repo).await {
                Ok(index) => {
                    self.pages =
                        index.data_pages().map(|(page, hash)| (page.get(), hash)).collect();
                    (self.number, self.at) = (number, 0);
                }
                Err(error) if error.is_damage() => {
                    tracing::info!(%error, "a segment of an interrupted backup is passed over");
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A walk over what interrupted backups left, beside the pages of a new one.
#[derive(Debug, Default)]
pub(crate) struct LeftoverCursor {
    left: Vec<Left>,
}

impl LeftoverCursor {
    /// Of what one backup left, each segment with its number.
    pub(crate) fn add(&mut self, mut segments: Vec<(u32, SegmentReader)>) {
        segments.sort_by_key(|(_, reader)| reader.reference.first);
        self.left.push(Left { waiting: segments.into(), ..Left::default() });
    }

    /// For each page of a digest, the number of a segment that holds it. Digests must ascend.
    pub(crate) async fn find(
        &mut self,
        repo: &Repository,
        digest: &Digest,
    ) -> Result<Vec<Option<u32>>, RepoError> {
        if self.left.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::with_capacity(digest.hashes.len());
        let pages = digest.data.iter().flat_map(|range| range.pages()).zip(&digest.hashes);
        for (page, hash) in pages {
            let mut place = None;
            for left in &mut self.left {
                // Each is asked, found or not, so that each keeps its place.
                place = left.find(repo, page.get(), hash).await?.or(place);
            }
            found.push(place);
        }
        Ok(found)
    }
}
