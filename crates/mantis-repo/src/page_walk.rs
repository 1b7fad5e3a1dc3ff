//! Walks all pages of a backup in order, with their hashes, reading indexes only.
//!
//! Pages ascend within each layer, so a merge over the layers meets every page in order with one
//! index per layer in memory.

use std::collections::VecDeque;

use mantis_page::PageNo;
use mantis_sink::Sink;

use crate::segment_index::SegmentIndex;
use crate::segment_reader::SegmentReader;
use crate::{Manifest, PageHash, RepoError, RepoId};

/// A page's number and hash; no hash for a page of zeros.
pub(crate) type Entry = (PageNo, Option<PageHash>);

struct LayerCursor {
    segments: VecDeque<SegmentReader>,
    current: Option<std::vec::IntoIter<Entry>>,
    peeked: Option<Entry>,
    last: u64,
}

fn entries(index: &SegmentIndex) -> Vec<Entry> {
    let zero = index.zero.iter().flat_map(|range| range.pages()).map(|page| (page, None));
    let data = index.data_pages().map(|(page, hash)| (page, Some(hash)));
    let mut entries: Vec<Entry> = zero.chain(data).collect();
    entries.sort_unstable_by_key(|(page, _)| *page);
    entries
}

impl LayerCursor {
    async fn advance(&mut self, sink: &dyn Sink) -> Result<(), RepoError> {
        loop {
            if let Some(entry) = self.current.as_mut().and_then(Iterator::next) {
                if entry.0.get() <= self.last {
                    return Err(RepoError::damaged(
                        "a manifest",
                        "the pages of a layer do not ascend",
                    ));
                }
                self.last = entry.0.get();
                self.peeked = Some(entry);
                return Ok(());
            }
            let Some(segment) = self.segments.pop_front() else {
                self.peeked = None;
                return Ok(());
            };
            self.current = Some(entries(&segment.index(sink).await?).into_iter());
        }
    }
}

/// A walk over the pages of one backup.
pub(crate) struct PageWalk {
    layers: Vec<LayerCursor>,
}

impl PageWalk {
    pub(crate) async fn new(
        repo: RepoId,
        manifest: &Manifest,
        sink: &dyn Sink,
    ) -> Result<Self, RepoError> {
        let mut layers = Vec::with_capacity(manifest.layers.len());
        for layer in &manifest.layers {
            let pages = manifest.info.meta.page_count;
            let segments = layer
                .segments
                .iter()
                .map(|reference| SegmentReader::new(repo, pages, layer.session, reference));
            let segments = segments.collect::<Result<VecDeque<_>, _>>()?;
            let mut cursor = LayerCursor { segments, current: None, peeked: None, last: 0 };
            cursor.advance(sink).await?;
            layers.push(cursor);
        }
        Ok(Self { layers })
    }

    /// The next page: of two copies the one in the newer layer.
    pub(crate) async fn next(&mut self, sink: &dyn Sink) -> Result<Option<Entry>, RepoError> {
        let smallest =
            self.layers.iter().filter_map(|layer| layer.peeked).map(|(page, _)| page).min();
        let Some(page) = smallest else { return Ok(None) };
        let mut newest = None;
        for layer in &mut self.layers {
            if let Some(entry) = layer.peeked.filter(|entry| entry.0 == page) {
                newest = Some(entry);
                layer.advance(sink).await?;
            }
        }
        Ok(newest)
    }
}
