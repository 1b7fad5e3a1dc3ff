//! The pages of a backup, each proved, in any order and in parallel.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use mantis_page::{PageNo, PageRange, PageRun, PageSet};
use mantis_stream::{CancellationToken, ProgressTracker};

use crate::borrowed_runs::BorrowedRuns;
use crate::layer_pages::blocking;
use crate::segment_reader::{OpenSegment, SegmentReader, wanted_ranges};
use crate::{Layer, Manifest, PageHasher, RepoError, Repository, SegmentRef};

/// What a restore gives out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// Pages with their bytes.
    Pages(PageRun),
    /// Pages that are all zeros.
    Zeros(PageRange),
}

/// How a restore runs.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Segments decoded at once; 0: one for each core.
    pub jobs: usize,
    /// Pages that the target holds already, as [`Repository::matching`] proved: they are not given out.
    pub have: PageSet,
    /// Stops the restore.
    pub cancel: CancellationToken,
    /// Shows how far it is.
    pub progress: Arc<ProgressTracker>,
}

/// What a restore did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoreSummary {
    /// Pages given out.
    pub pages: u64,
    /// Bytes fetched from the store.
    pub bytes_fetched: u64,
}

/// Takes what a restore gives out.
pub type Give =
    dyn Fn(Restored) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + Send + Sync;

/// What all segments of a restore share.
struct Shared {
    hasher: PageHasher,
    give: Arc<Give>,
    progress: Arc<ProgressTracker>,
    /// Pages given out already: by newer layers, or by this one.
    done: Mutex<PageSet>,
    page_len: u64,
    page_count: u64,
}

impl Shared {
    fn give(&self, restored: Restored) -> Result<(), RepoError> {
        let range = match &restored {
            Restored::Pages(run) => run.range(),
            Restored::Zeros(range) => *range,
        };
        (self.give)(restored).map_err(|source| RepoError::Target { source })?;
        self.done.lock().unwrap_or_else(PoisonError::into_inner).insert_range(range);
        self.progress.add(range.len(), range.len().saturating_mul(self.page_len));
        Ok(())
    }

    /// Whether a segment may hold a page that no newer layer gave.
    fn needs(&self, segment: &SegmentRef, newer: &PageSet) -> bool {
        if segment.first > self.page_count {
            return false;
        }
        let last = segment.last.min(self.page_count);
        let first = PageNo::new(segment.first).and_then(|first| newer.first_missing(first));
        first.is_some_and(|missing| missing.get() <= last)
    }

    /// Opens a segment, which must have pages of this backup's size.
    fn open(&self, segment: &SegmentReader, bytes: bytes::Bytes) -> Result<OpenSegment, RepoError> {
        let open = segment.open(bytes, false)?;
        if u64::from(open.index.page_size.get()) != self.page_len {
            return Err(RepoError::damaged(&segment.object, "it has pages of another size"));
        }
        Ok(open)
    }

    /// Decodes the frames of a segment that pages are borrowed from, and gives those out under their own numbers.
    fn decode_borrowed(
        &self,
        segment: &SegmentReader,
        bytes: bytes::Bytes,
        runs: &BorrowedRuns,
        newer: &PageSet,
    ) -> Result<(), RepoError> {
        let open = self.open(segment, bytes)?;
        let size = open.index.page_size;
        let wanted = |page: &PageNo| page.get() <= self.page_count && !newer.contains(*page);
        let borrowed = |page: PageNo| runs.pages_of(page).any(|own| wanted(&own));
        open.read_pages(&self.hasher, &borrowed, &mut |run| {
            for (page, at) in run.range().pages().zip(0..) {
                let bytes = run.bytes().slice(at * size.bytes()..(at + 1) * size.bytes());
                for own in runs.pages_of(page).filter(wanted) {
                    let own = PageRun::new(own, size, bytes.clone());
                    let own = own.map_err(|error| RepoError::damaged(&segment.object, error))?;
                    self.give(Restored::Pages(own))?;
                }
            }
            Ok(())
        })
    }

    /// Decodes one segment and gives out its pages that no newer layer gave.
    fn decode(
        &self,
        segment: &SegmentReader,
        bytes: bytes::Bytes,
        newer: &PageSet,
    ) -> Result<(), RepoError> {
        let open = self.open(segment, bytes)?;
        // Pages past the end are of times when the source was longer.
        let wanted = |page: PageNo| page.get() <= self.page_count && !newer.contains(page);
        for range in &open.index.zero {
            if newer.is_empty() && range.last().get() <= self.page_count {
                self.give(Restored::Zeros(*range))?;
                continue;
            }
            for (range, _) in wanted_ranges(*range, &wanted) {
                self.give(Restored::Zeros(range))?;
            }
        }
        open.read_pages(&self.hasher, &wanted, &mut |run| self.give(Restored::Pages(run)))
    }
}

impl Repository {
    /// Gives out every page of a backup exactly once, in no order, from several threads at once. Each
    /// page is proved by its hash before it is given; at the end it is proved that none is missing.
    ///
    /// Takes memory for a few segments, and one bit for each page.
    ///
    /// # Errors
    /// What is damaged, or what `give` reports. What was given out by then is not a backup.
    pub async fn restore(
        &self,
        manifest: &Manifest,
        options: &RestoreOptions,
        give: Arc<Give>,
    ) -> Result<RestoreSummary, RepoError> {
        let meta = &manifest.info.meta;
        options
            .progress
            .expect(meta.page_count, meta.page_count.saturating_mul(meta.page_size.into()));
        let shared = Arc::new(Shared {
            hasher: self.page_hasher().clone(),
            give,
            progress: Arc::clone(&options.progress),
            done: Mutex::new(options.have.clone()),
            page_len: meta.page_size.into(),
            page_count: meta.page_count,
        });
        let have = options.have.len();
        options.progress.add(have, have.saturating_mul(meta.page_size.into()));
        let mut summary = RestoreSummary { pages: meta.page_count, bytes_fetched: 0 };
        for layer in manifest.layers.iter().rev() {
            summary.bytes_fetched += self.restore_layer(layer, options, &shared).await?;
        }
        let done = shared.done.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = meta.page_count.saturating_sub(done.len());
        if missing > 0 || done.len() > meta.page_count {
            let what = format!("{missing} of its {} pages are in no segment", meta.page_count);
            return Err(RepoError::damaged(format!("backup {}", manifest.info.id), what));
        }
        options.progress.finish();
        Ok(summary)
    }

    async fn restore_layer(
        &self,
        layer: &Layer,
        options: &RestoreOptions,
        shared: &Arc<Shared>,
    ) -> Result<u64, RepoError> {
        let jobs = self.reads_at_once(options.jobs);
        // What newer layers gave; this layer's own pages are each there once.
        let newer = Arc::new(shared.done.lock().unwrap_or_else(PoisonError::into_inner).clone());
        if !layer.borrows.is_empty() {
            return self.restore_borrowed(layer, options, shared, &newer).await;
        }
        let needed = layer.segments.iter().filter(|segment| shared.needs(segment, &newer));
        let segments = needed.map(|reference| {
            let (newer, shared) = (Arc::clone(&newer), Arc::clone(shared));
            let segment = SegmentReader::new(self.vault(), reference);
            async move {
                let segment = segment?;
                let bytes = segment.fetch(self.sink()).await?;
                let len = bytes.len() as u64;
                let decoded =
                    tokio::task::spawn_blocking(move || shared.decode(&segment, bytes, &newer))
                        .await;
                decoded.map_err(|_| RepoError::Stream {
                    source: mantis_stream::StreamError::Worker,
                })??;
                Ok::<u64, RepoError>(len)
            }
        });
        let total = futures::stream::iter(segments)
            .buffer_unordered(jobs)
            .try_fold(0, |total, len| async move { Ok(total + len) });
        tokio::select! {
            biased;
            () = options.cancel.cancelled() => Err(RepoError::Cancelled),
            total = total => total,
        }
    }

    /// A layer that borrows: the pages of each segment that it borrows from, under their own numbers.
    async fn restore_borrowed(
        &self,
        layer: &Layer,
        options: &RestoreOptions,
        shared: &Arc<Shared>,
        newer: &Arc<PageSet>,
    ) -> Result<u64, RepoError> {
        let mut fetched = 0;
        let mut borrows = layer.borrows.clone();
        borrows.sort_unstable_by_key(|run| run.segment);
        for of_segment in borrows.chunk_by(|a, b| a.segment == b.segment) {
            let number = of_segment.first().map_or(0, |run| run.segment);
            // A manifest whose runs name no segment is not read at all.
            let Some(reference) = layer.segments.get(number as usize) else { continue };
            let wanted = BorrowedRuns::new(of_segment, shared.page_count, newer);
            if options.cancel.is_cancelled() {
                return Err(RepoError::Cancelled);
            }
            if wanted.is_empty() {
                continue;
            }
            let segment = SegmentReader::new(self.vault(), reference)?;
            let bytes = segment.fetch(self.sink()).await?;
            fetched += bytes.len() as u64;
            let shared = Arc::clone(shared);
            let newer = Arc::clone(newer);
            blocking(move || shared.decode_borrowed(&segment, bytes, &wanted, &newer)).await?;
        }
        Ok(fetched)
    }
}
