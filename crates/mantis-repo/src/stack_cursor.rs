//! What a backup holds of each page, in the order of the pages, read from the indexes of its stack alone.
//!
//! Pages ascend within each layer, so one index for each layer, and a few read ahead, are in memory at a
//! time. Indexes whose pages nobody asks for are not read.

use std::collections::VecDeque;

use mantis_page::PageRange;
use tokio::task::JoinHandle;

use crate::borrow_cursor::BorrowCursor;
use crate::digest::Held;
use crate::segment_index::SegmentIndex;
use crate::segment_reader::SegmentReader;
use crate::{Manifest, RepoError, Repository};

/// Indexes of one layer that are read ahead.
const READ_AHEAD: usize = 4;
/// So many segments asked for, one behind the other, promise that the next ones will be, too.
const STREAK: usize = 3;

type Entries = Vec<(u64, Held)>;
type Loading = JoinHandle<Result<Entries, RepoError>>;

struct LayerCursor {
    /// Segments whose index was not asked for yet, ascending.
    waiting: VecDeque<SegmentReader>,
    /// Indexes on their way, each with the last page of its segment.
    loading: VecDeque<(u64, Loading)>,
    /// Pages of the segment in hand, from `at` on not passed yet.
    entries: Entries,
    at: usize,
    /// How many segments were asked for, one behind the other, up to now.
    streak: usize,
}

impl Drop for LayerCursor {
    fn drop(&mut self) {
        self.loading.iter().for_each(|(_, loading)| loading.abort());
    }
}

fn entries(index: &SegmentIndex) -> Entries {
    let zero = index.zero.iter().flat_map(|range| range.pages());
    let zero = zero.map(|page| (page.get(), Held::Zero));
    let data = index.data_pages().map(|(page, hash)| (page.get(), Held::Page(hash)));
    let mut entries: Entries = zero.chain(data).collect();
    entries.sort_unstable_by_key(|(page, _)| *page);
    entries
}

impl LayerCursor {
    fn load(&mut self, repo: &Repository, ahead: usize) {
        while self.loading.len() < ahead {
            let Some(segment) = self.waiting.pop_front() else { return };
            let repo = repo.clone();
            let last = segment.reference.last;
            let loading = tokio::spawn(async move { Ok(entries(&segment.index(&repo).await?)) });
            self.loading.push_back((last, loading));
        }
    }

    /// Notes what this layer holds of the pages of a range. Ranges must ascend.
    async fn collect(
        &mut self,
        repo: &Repository,
        range: PageRange,
        held: &mut [Option<Held>],
    ) -> Result<(), RepoError> {
        let (first, last) = (range.first().get(), range.last().get());
        loop {
            let passed = self.entries[self.at..].partition_point(|(page, _)| *page < first);
            self.at += passed;
            while let Some((page, found)) = self.entries.get(self.at)
                && *page <= last
            {
                if let Some(place) = held.get_mut((page - first) as usize) {
                    *place = Some(*found);
                }
                self.at += 1;
            }
            if self.at < self.entries.len() {
                return Ok(());
            }
            // What ends before the range is not needed any more, read or not.
            while self.loading.front().is_some_and(|(end, _)| *end < first) {
                self.loading.pop_front().into_iter().for_each(|(_, loading)| loading.abort());
                self.streak = 0;
            }
            while self.loading.is_empty()
                && self.waiting.front().is_some_and(|segment| segment.reference.last < first)
            {
                self.waiting.pop_front();
                self.streak = 0;
            }
            let begins = self.waiting.front().map(|segment| segment.reference.first);
            if self.loading.is_empty() && begins.is_none_or(|begins| begins > last) {
                return Ok(());
            }
            let ahead = if self.streak < STREAK { 0 } else { READ_AHEAD };
            self.load(repo, ahead + 1);
            let Some((_, loading)) = self.loading.pop_front() else { return Ok(()) };
            self.streak += 1;
            let loaded = loading.await;
            self.entries = loaded
                .map_err(|_| RepoError::Stream { source: mantis_stream::StreamError::Worker })??;
            self.at = 0;
        }
    }
}

/// One layer of either kind.
enum Cursor {
    Own(LayerCursor),
    Borrowed(BorrowCursor),
}

/// A walk over what one backup holds.
pub(crate) struct StackCursor {
    repo: Repository,
    layers: Vec<Cursor>,
    page_count: u64,
}

impl std::fmt::Debug for StackCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StackCursor").field("layers", &self.layers.len()).finish_non_exhaustive()
    }
}

impl StackCursor {
    /// A walk from the first page; with `sparse`, few pages are going to be asked for, and no index is read before it is known to be
    /// needed, or likely to be.
    pub(crate) fn new(
        repo: &Repository,
        manifest: &Manifest,
        sparse: bool,
    ) -> Result<Self, RepoError> {
        let mut layers = Vec::with_capacity(manifest.layers.len());
        for layer in &manifest.layers {
            if !layer.borrows.is_empty() {
                layers.push(Cursor::Borrowed(BorrowCursor::new(repo, layer)?));
                continue;
            }
            let segments = layer.segments.iter();
            let waiting = segments.map(|reference| SegmentReader::new(repo.vault(), reference));
            layers.push(Cursor::Own(LayerCursor {
                waiting: waiting.collect::<Result<_, _>>()?,
                loading: VecDeque::new(),
                entries: Vec::new(),
                at: 0,
                streak: if sparse { 0 } else { STREAK },
            }));
        }
        let page_count = manifest.info.meta.page_count;
        Ok(Self { repo: repo.clone(), layers, page_count })
    }

    /// What the backup holds of each page of a range; `None` for pages past its end, and for a page that
    /// is in none of its segments, which is damage. Ranges must ascend.
    pub(crate) async fn collect(
        &mut self,
        range: PageRange,
    ) -> Result<Vec<Option<Held>>, RepoError> {
        let mut held = vec![None; range.len() as usize];
        // Of two copies of a page the newer one counts.
        for layer in &mut self.layers {
            match layer {
                Cursor::Own(layer) => {
                    layer.collect(&self.repo, range, &mut held).await?;
                }
                Cursor::Borrowed(layer) => layer.collect(&self.repo, range, &mut held).await?,
            }
        }
        let kept = (self.page_count + 1).saturating_sub(range.first().get());
        held.iter_mut()
            .skip(usize::try_from(kept).unwrap_or(usize::MAX))
            .for_each(|past| *past = None);
        Ok(held)
    }
}
