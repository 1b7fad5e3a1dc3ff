//! The pages of a backup, each proved, in parallel.
//!
//! A stack of layers is read from the newest one on, and no page is given out that a newer layer gave. So the oldest layer, by far the
//! largest, comes in pieces between the pages of the newer ones, and a file that is written in pieces is written slowly. Where the target
//! takes pages again ([`RestoreOptions::rewrites`]), what is oldest is given out whole, and then what is newer, over it. That way it reads
//! pages that newer ones replace; where such are damaged, it goes on without them: from the layer that is damaged on, what is older is read
//! last, and of it only what no newer layer gave.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use mantis_page::{PageNo, PageRange, PageRun, PageSet, PageSize};
use mantis_stream::{CancellationToken, ProgressTracker};

use crate::borrowed_runs::BorrowedRuns;
use crate::layer_pages::blocking;
use crate::segment_reader::{OpenSegment, SegmentReader, wanted_ranges};
use crate::{Layer, Manifest, PageHasher, RepoError, Repository, SegmentRef};

/// Bytes of zeros that are given out at once.
const ZEROS_LEN: usize = 256 << 10;

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
    /// The target takes a page more than once, and what it is given last counts: an older page of a backup may be given
    /// out before the right one. In the end all are right; where a restore fails, what was given out is no backup, as ever.
    /// Damage to pages that newer ones replace is told in the log and does not make it fail, as it would not without this.
    pub rewrites: bool,
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
    /// Pages that older layers gave before; they are given out again, where these layers have them.
    before: PageSet,
    page_len: u64,
    page_count: u64,
}

impl Shared {
    /// The pages given out, at the end.
    fn take_done(&self) -> PageSet {
        std::mem::take(&mut self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn give(&self, restored: Restored) -> Result<(), RepoError> {
        let range = match &restored {
            Restored::Pages(run) => run.range(),
            Restored::Zeros(range) => *range,
        };
        (self.give)(restored).map_err(|source| RepoError::Target { source })?;
        self.done.lock().unwrap_or_else(PoisonError::into_inner).insert_range(range);
        let again = if self.before.is_empty() {
            0
        } else {
            range.pages().filter(|page| self.before.contains(*page)).count() as u64
        };
        let pages = range.len() - again;
        self.progress.add(pages, pages.saturating_mul(self.page_len));
        Ok(())
    }

    /// Gives out pages of zeros: with their bytes, where there may be others in their place by now.
    fn give_zeros(&self, object: &str, range: PageRange) -> Result<(), RepoError> {
        if self.before.is_empty() || !range.pages().any(|page| self.before.contains(page)) {
            return self.give(Restored::Zeros(range));
        }
        let damaged = |error: &dyn std::fmt::Display| RepoError::damaged(object, error);
        let size = PageSize::new(self.page_len).map_err(|error| damaged(&error))?;
        for part in range.split((ZEROS_LEN / size.bytes()).max(1) as u64) {
            let zeros = Bytes::from(vec![0; part.len() as usize * size.bytes()]);
            let run = PageRun::new(part.first(), size, zeros).map_err(|error| damaged(&error))?;
            self.give(Restored::Pages(run))?;
        }
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
    fn open(&self, segment: &SegmentReader, bytes: Bytes) -> Result<OpenSegment, RepoError> {
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
        bytes: Bytes,
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
        bytes: Bytes,
        newer: &PageSet,
    ) -> Result<(), RepoError> {
        let open = self.open(segment, bytes)?;
        // Pages past the end are of times when the source was longer.
        let wanted = |page: PageNo| page.get() <= self.page_count && !newer.contains(page);
        for range in &open.index.zero {
            if newer.is_empty() && range.last().get() <= self.page_count {
                self.give_zeros(&segment.object, *range)?;
                continue;
            }
            for (range, _) in wanted_ranges(*range, &wanted) {
                self.give_zeros(&segment.object, range)?;
            }
        }
        open.read_pages(&self.hasher, &wanted, &mut |run| self.give(Restored::Pages(run)))
    }
}

/// How many of the layers, from the oldest on, are given out before the others: so many that the others are a quarter of the pages at
/// most. If the others are more, what of the oldest is replaced by them need not be read at all.
fn given_first(layers: &[Layer], page_count: u64) -> usize {
    let mut newer = 0u64;
    for (at, layer) in layers.iter().enumerate().rev() {
        let of_segments = layer.segments.iter().map(|segment| segment.pages);
        let pages = if layer.borrows.is_empty() {
            of_segments.fold(0, u64::saturating_add)
        } else {
            layer.borrows.iter().map(|run| run.pages).fold(0, u64::saturating_add)
        };
        newer = newer.saturating_add(pages);
        if newer > page_count / 4 {
            return at + 1;
        }
    }
    layers.len()
}

impl Repository {
    /// Gives out every page of a backup, in no order, from several threads at once; exactly once, but for
    /// [`RestoreOptions::rewrites`]. Each page is proved by its hash before it is given; at the end it is proved that none is missing.
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
        let shared = |done, before| {
            Arc::new(Shared {
                hasher: self.page_hasher().clone(),
                give: Arc::clone(&give),
                progress: Arc::clone(&options.progress),
                done: Mutex::new(done),
                before,
                page_len: meta.page_size.into(),
                page_count: meta.page_count,
            })
        };
        let have = options.have.len();
        options.progress.add(have, have.saturating_mul(meta.page_size.into()));
        let mut summary = RestoreSummary { pages: meta.page_count, bytes_fetched: 0 };
        let first = if options.rewrites {
            given_first(&manifest.layers, meta.page_count)
        } else {
            manifest.layers.len()
        };
        let (first, then) = manifest.layers.split_at(first);
        let oldest = shared(options.have.clone(), PageSet::new());
        // How many of the oldest layers are read last, for the newest of them is damaged.
        let mut last = 0;
        let bear = !then.is_empty();
        for (at, layer) in first.iter().enumerate().rev() {
            let (fetched, whole) = self.restore_layer(layer, options, &oldest, bear).await?;
            summary.bytes_fetched += fetched;
            if !whole {
                last = at + 1;
                break;
            }
        }
        let before = oldest.take_done();
        let newest = shared(options.have.clone(), before);
        for layer in then.iter().rev() {
            summary.bytes_fetched += self.restore_layer(layer, options, &newest, false).await?.0;
        }
        let mut done = newest.take_done();
        done.union_with(&newest.before);
        if last > 0 {
            let rest = shared(done, PageSet::new());
            for layer in first.iter().take(last).rev() {
                summary.bytes_fetched += self.restore_layer(layer, options, &rest, false).await?.0;
            }
            done = rest.take_done();
        }
        let missing = meta.page_count.saturating_sub(done.len());
        if missing > 0 || done.len() > meta.page_count {
            let what = format!("{missing} of its {} pages are in no segment", meta.page_count);
            return Err(RepoError::damaged(format!("backup {}", manifest.info.id), what));
        }
        options.progress.finish();
        Ok(summary)
    }

    /// Gives out what of a layer no newer one gave. The bytes fetched, and whether all of it was there: with `bear`, segments that are
    /// damaged are told in the log, and the others given out all the same.
    async fn restore_layer(
        &self,
        layer: &Layer,
        options: &RestoreOptions,
        shared: &Arc<Shared>,
        bear: bool,
    ) -> Result<(u64, bool), RepoError> {
        let borne = |error: RepoError| {
            if !bear || !error.is_damage() {
                return Err(error);
            }
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "old pages are damaged; the backup is restored without them, if newer ones replace them all"
            );
            Ok((0, false))
        };
        let jobs = self.reads_at_once(options.jobs);
        // What newer layers gave; this layer's own pages are each there once.
        let newer = Arc::new(shared.done.lock().unwrap_or_else(PoisonError::into_inner).clone());
        if !layer.borrows.is_empty() {
            let borrowed = self.restore_borrowed(layer, options, shared, &newer).await;
            return borrowed.map(|fetched| (fetched, true)).or_else(borne);
        }
        let needed = layer.segments.iter().filter(|segment| shared.needs(segment, &newer));
        let segments = needed.map(|reference| {
            let (newer, shared) = (Arc::clone(&newer), Arc::clone(shared));
            let segment = SegmentReader::new(self.vault(), reference);
            async move {
                let restored = async {
                    let segment = segment?;
                    let bytes = segment.fetch(self.sink()).await?;
                    let len = bytes.len() as u64;
                    blocking(move || shared.decode(&segment, bytes, &newer)).await?;
                    Ok::<u64, RepoError>(len)
                };
                restored.await.map(|fetched| (fetched, true)).or_else(borne)
            }
        });
        let total = futures::stream::iter(segments)
            .buffer_unordered(jobs)
            .try_fold((0, true), |(total, all), (len, whole)| async move {
                Ok((total + len, all && whole))
            });
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
