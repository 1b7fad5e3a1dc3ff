//! What a layer that borrows holds of each page: the hashes are in the indexes of the segments it borrows from.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use mantis_page::PageRange;

use crate::digest::Held;
use crate::segment_reader::SegmentReader;
use crate::{Borrow, Layer, PageHash, RepoError, Repository};

/// Indexes kept at once: pages that are next to each other are usually borrowed from few segments.
const KEPT: usize = 8;

type Hashes = Arc<HashMap<u64, PageHash>>;

/// Reads the indexes as they are needed.
pub(crate) struct BorrowCursor {
    segments: Vec<SegmentReader>,
    borrows: Vec<Borrow>,
    /// The first run that may hold a page asked for next.
    at: usize,
    /// The indexes used last, newest first.
    kept: VecDeque<(u32, Hashes)>,
}

impl BorrowCursor {
    pub(crate) fn new(repo: &Repository, layer: &Layer) -> Result<Self, RepoError> {
        let readers =
            layer.segments.iter().map(|segment| SegmentReader::new(repo.vault(), segment));
        Ok(Self {
            segments: readers.collect::<Result<_, _>>()?,
            borrows: layer.borrows.clone(),
            at: 0,
            kept: VecDeque::new(),
        })
    }

    async fn hashes(&mut self, segment: u32, repo: &Repository) -> Result<Hashes, RepoError> {
        if let Some(at) = self.kept.iter().position(|(kept, _)| *kept == segment) {
            let found = self.kept.remove(at);
            let hashes = found.as_ref().map(|(_, hashes)| Arc::clone(hashes));
            self.kept.extend(found);
            self.kept.rotate_right(1);
            return hashes.ok_or(RepoError::Cancelled);
        }
        let missing = || RepoError::damaged("a manifest", "it borrows from no segment");
        let reader = self.segments.get(segment as usize).ok_or_else(missing)?;
        let index = reader.index(repo).await?;
        let hashes: Hashes =
            Arc::new(index.data_pages().map(|(page, hash)| (page.get(), hash)).collect());
        self.kept.truncate(KEPT - 1);
        self.kept.push_front((segment, Arc::clone(&hashes)));
        Ok(hashes)
    }

    /// Notes what the layer holds of the pages of a range. Ranges must ascend.
    pub(crate) async fn collect(
        &mut self,
        repo: &Repository,
        range: PageRange,
        held: &mut [Option<Held>],
    ) -> Result<(), RepoError> {
        let (first, last) = (range.first().get(), range.last().get());
        let passed = self.borrows[self.at..].partition_point(|run| run.first + run.pages <= first);
        self.at += passed;
        let mut at = self.at;
        while let Some(run) = self.borrows.get(at).copied()
            && run.first <= last
        {
            let hashes = self.hashes(run.segment, repo).await?;
            for page in run.first.max(first)..=last.min(run.first + run.pages - 1) {
                let hash = hashes.get(&(run.from + (page - run.first))).ok_or_else(|| {
                    RepoError::damaged("a manifest", "it borrows a page that its segment has not")
                })?;
                if let Some(place) = held.get_mut((page - first) as usize) {
                    *place = Some(Held::Page(*hash));
                }
            }
            at += 1;
        }
        Ok(())
    }
}
