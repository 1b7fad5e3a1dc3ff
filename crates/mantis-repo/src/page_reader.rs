//! Single pages of a backup, in any order, each proved: what holds them is fetched, and hardly anything else.
//!
//! A page is looked for from the newest layer on. Which pages a segment holds is told by its index, one small read; the page itself comes with
//! its frame, another. Both are kept for a while, within bounds, as the next page is likely to be near. Where frames are asked for one after
//! another, as by a scan of a table, more of them are fetched at once.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use hashlink::LruCache;
use mantis_page::{PageNo, PageRun, PageSize};

use crate::layer_pages::blocking;
use crate::segment_reader::{OpenSegment, SegmentReader};
use crate::{BackupInfo, Borrow, RepoError, Repository};

/// Indexes that are fetched at once.
const INDEXES_AT_ONCE: usize = 16;
/// Indexes that are kept: of 8 MiB of pages each, where these are of 4 KiB some 33 KiB.
const INDEXES: usize = 1024;
/// Places of pages that are kept.
const PLACES: usize = 1 << 16;
/// Bytes of frames that are fetched at once in the end, where one is asked for after another.
const LONGEST_WINDOW: u64 = 4 << 20;
/// The same at the beginning, doubled with each.
const FIRST_WINDOW: u64 = 256 << 10;

/// Where a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Location {
    /// It is all zeros.
    Zeros,
    /// In a frame of a segment of a layer, under a number that is another one where it is borrowed.
    Frame { segment: SegmentId, frame: usize, page: PageNo },
}

/// A layer, from the newest on, and a segment of it.
type SegmentId = (u32, u32);

/// A decoded frame.
type Frame = Arc<[PageRun]>;

/// What is kept, and how much of it.
struct Kept<K: Eq + Hash, V> {
    entries: LruCache<K, (V, u64)>,
    bytes: u64,
    limit: u64,
}

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    fn new(limit: u64) -> Self {
        Self { entries: LruCache::new_unbounded(), bytes: 0, limit }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        self.entries.get(key).map(|(value, _)| value.clone())
    }

    /// Keeps one more, and lets go of those that were used the longest time ago.
    fn put(&mut self, key: K, value: V, len: u64) {
        let before = self.entries.insert(key, (value, len));
        self.bytes = self.bytes + len - before.map_or(0, |(_, len)| len);
        while self.bytes > self.limit && self.entries.len() > 1 {
            let Some((_, (_, len))) = self.entries.remove_lru() else { break };
            self.bytes -= len;
        }
    }
}

struct Cache {
    indexes: LruCache<SegmentId, Arc<OpenSegment>>,
    places: LruCache<PageNo, Location>,
    frames: Kept<(SegmentId, usize), Frame>,
    /// The frame that was fetched last, and how many bytes were fetched with it.
    last: Option<((SegmentId, usize), u64)>,
}

/// A layer's segments, ascending, and what it borrows from them.
struct Stack {
    segments: Vec<SegmentReader>,
    borrows: Vec<Borrow>,
}

impl Stack {
    /// The segment that a page is in if it is in this layer, and its number there.
    fn candidate(&self, page: PageNo) -> Option<(u32, PageNo)> {
        let number = page.get();
        if self.borrows.is_empty() {
            let at = self.segments.partition_point(|segment| segment.reference.last < number);
            let segment = self.segments.get(at)?;
            return (segment.reference.first <= number).then_some((u32::try_from(at).ok()?, page));
        }
        let behind = self.borrows.partition_point(|run| run.first <= number);
        let run = self.borrows.get(behind.checked_sub(1)?)?;
        let within = number - run.first;
        let there = PageNo::new(run.from.checked_add(within)?)?;
        (within < run.pages).then_some((run.segment, there))
    }
}

/// What a reader fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PagesFetched {
    /// Pages whose frames were not in memory.
    pub pages: u64,
    /// Reads of the store: of indexes, and of frames. What was kept on the local disk is none.
    pub requests: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// Reads single pages of a backup. See [`Repository::page_reader`].
pub struct PageReader {
    repo: Repository,
    backup: BackupInfo,
    page_size: PageSize,
    /// Newest first.
    layers: Vec<Stack>,
    cache: Mutex<Cache>,
    pages: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl std::fmt::Debug for PageReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageReader")
            .field("backup", &self.backup.id)
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// A reader of single pages of a backup, in any order. It keeps up to `cache` bytes of decoded pages in memory; 64 MiB serve most.
    ///
    /// # Errors
    /// What keeps the backup's manifest from being read, or where it is damaged.
    pub async fn page_reader(
        &self,
        backup: &BackupInfo,
        cache: u64,
    ) -> Result<PageReader, RepoError> {
        let manifest = self.manifest(backup).await?;
        let damaged = |error: &dyn std::fmt::Display| {
            RepoError::damaged(format!("backup {}", backup.id), error)
        };
        let page_size =
            PageSize::new(manifest.info.meta.page_size.into()).map_err(|error| damaged(&error))?;
        let layers = manifest.layers.iter().rev().map(|layer| {
            let segments =
                layer.segments.iter().map(|segment| SegmentReader::new(self.vault(), segment));
            let segments = segments.collect::<Result<Vec<_>, _>>()?;
            // Both ascend: a manifest where they do not is refused.
            Ok(Stack { segments, borrows: layer.borrows.clone() })
        });
        Ok(PageReader {
            repo: self.clone(),
            page_size,
            layers: layers.collect::<Result<_, RepoError>>()?,
            backup: manifest.info,
            cache: Mutex::new(Cache {
                indexes: LruCache::new(INDEXES),
                places: LruCache::new(PLACES),
                frames: Kept::new(cache),
                last: None,
            }),
            pages: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }
}

impl PageReader {
    /// The backup.
    #[must_use]
    pub const fn backup(&self) -> &BackupInfo {
        &self.backup
    }

    /// The length of its pages.
    #[must_use]
    pub const fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// What was fetched so far.
    #[must_use]
    pub fn fetched(&self) -> PagesFetched {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PagesFetched {
            pages: get(&self.pages),
            requests: get(&self.requests),
            bytes: get(&self.bytes),
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetched_bytes(&self, bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn damaged(&self, what: impl std::fmt::Display) -> RepoError {
        RepoError::damaged(format!("backup {}", self.backup.id), what)
    }

    /// The bytes of a page, proved by its hash.
    ///
    /// # Errors
    /// What the store reports, damage, and a page that the backup does not have.
    pub async fn page(&self, page: PageNo) -> Result<Bytes, RepoError> {
        if page.get() > self.backup.meta.page_count {
            return Err(self.damaged(format_args!("it has no page {page}")));
        }
        if let Some(bytes) = self.at_hand(page) {
            return Ok(bytes);
        }
        let (segment, number, there) = match self.locate(page).await? {
            Location::Zeros => return Ok(self.zeros()),
            Location::Frame { segment, frame, page } => (segment, frame, page),
        };
        // Its frame may be here for another page of it.
        if let Some(bytes) = self.at_hand(page) {
            return Ok(bytes);
        }
        self.pages.fetch_add(1, Ordering::Relaxed);
        let frame = self.fetch(segment, number).await?;
        let found = self.in_frame(&frame, there);
        found.ok_or_else(|| self.damaged(format_args!("page {page} is not in its frame")))
    }

    /// The bytes of a page that need not be fetched.
    #[must_use]
    pub fn at_hand(&self, page: PageNo) -> Option<Bytes> {
        let mut cache = self.cache();
        let (segment, number, there) = match cache.places.get(&page)? {
            Location::Zeros => return Some(self.zeros()),
            Location::Frame { segment, frame, page } => (*segment, *frame, *page),
        };
        let frame = cache.frames.get(&(segment, number))?;
        drop(cache);
        self.in_frame(&frame, there)
    }

    fn zeros(&self) -> Bytes {
        Bytes::from(vec![0; self.page_size.bytes()])
    }

    /// A page of a frame.
    fn in_frame(&self, frame: &Frame, page: PageNo) -> Option<Bytes> {
        let holds = |run: &&PageRun| (run.range().first()..=run.range().last()).contains(&page);
        let run = frame.iter().find(holds)?;
        let size = self.page_size.bytes();
        let at = (page.get() - run.range().first().get()) as usize * size;
        Some(run.bytes().slice(at..at + size))
    }

    /// Where a page is: in the newest layer that has it.
    async fn locate(&self, page: PageNo) -> Result<Location, RepoError> {
        if let Some(place) = self.cache().places.get(&page) {
            return Ok(*place);
        }
        let candidates: Vec<(SegmentId, PageNo)> = (0u32..)
            .zip(&self.layers)
            .filter_map(|(layer, stack)| {
                let (segment, there) = stack.candidate(page)?;
                Some(((layer, segment), there))
            })
            .collect();
        // All at once: a newer layer rarely has the page, and each would be waited for in turn.
        let mut indexes = Vec::with_capacity(candidates.len());
        for (segment, _) in &candidates {
            indexes.push(self.index(*segment));
        }
        let opened: Vec<Arc<OpenSegment>> =
            futures::stream::iter(indexes).buffered(INDEXES_AT_ONCE).try_collect().await?;
        for ((segment, there), open) in candidates.iter().zip(&opened) {
            let location = match open.frame_of(there.get()) {
                Some(frame) => Location::Frame { segment: *segment, frame, page: *there },
                None if open.has_zeros(*there) => Location::Zeros,
                None => continue,
            };
            self.cache().places.insert(page, location);
            return Ok(location);
        }
        Err(self.damaged(format_args!("page {page} is in none of its segments")))
    }

    fn segment(&self, (layer, segment): SegmentId) -> Result<&SegmentReader, RepoError> {
        let stack = self.layers.get(layer as usize);
        let found = stack.and_then(|stack| stack.segments.get(segment as usize));
        found.ok_or_else(|| self.damaged("it borrows from no segment"))
    }

    /// A segment's index.
    async fn index(&self, id: SegmentId) -> Result<Arc<OpenSegment>, RepoError> {
        if let Some(open) = self.cache().indexes.get(&id) {
            return Ok(Arc::clone(open));
        }
        let segment = self.segment(id)?;
        let (open, asked) = segment.open_index(&self.repo).await?;
        let open = Arc::new(open);
        if open.index.page_size != self.page_size {
            return Err(RepoError::damaged(&segment.object, "it has pages of another size"));
        }
        if asked {
            self.fetched_bytes(segment.reference.index_len.into());
        }
        self.cache().indexes.insert(id, Arc::clone(&open));
        Ok(open)
    }

    /// How many bytes of frames are fetched from this one on.
    fn window(&self, id: SegmentId, frame: usize) -> u64 {
        let last = self.cache().last;
        match last {
            // The next one after those that came with the last one.
            Some(((segment, end), window)) if segment == id && end == frame => {
                (window * 2).clamp(FIRST_WINDOW, LONGEST_WINDOW)
            }
            // Or the first one of the next segment.
            Some((((layer, segment), _), window))
                if frame == 0 && (layer, segment.wrapping_add(1)) == id =>
            {
                window.clamp(FIRST_WINDOW, LONGEST_WINDOW)
            }
            _ => 0,
        }
    }

    /// Fetches a frame, and where they are asked for in their order, some of those behind it.
    async fn fetch(&self, id: SegmentId, first: usize) -> Result<Frame, RepoError> {
        let (segment, open) = (self.segment(id)?, self.index(id).await?);
        let window = self.window(id, first);
        if window == 0 {
            let (runs, bytes) = segment.read_one_frame(&self.repo, &open, first).await?;
            if bytes > 0 {
                self.fetched_bytes(bytes);
            }
            return self.keep(id, vec![(first, Frame::from(runs))], 0, first);
        }
        let open = segment.with_frames(self.repo.sink(), &open, first, window).await?;
        self.fetched_bytes(open.len() as u64);
        let here = (first..open.index.frames.len()).take_while(|number| open.has_frame(*number));
        let numbers: Vec<usize> = here.collect();
        let hasher = self.repo.page_hasher().clone();
        let decoded = blocking(move || {
            let decode = |number: usize| {
                let mut runs = Vec::new();
                open.read_frame(number, &hasher, &mut |run| {
                    runs.push(run);
                    Ok(())
                })?;
                Ok((number, Frame::from(runs)))
            };
            numbers.into_iter().map(decode).collect::<Result<Vec<_>, RepoError>>()
        });
        self.keep(id, decoded.await?, window, first)
    }

    /// Keeps frames that were fetched together; the first of them.
    fn keep(
        &self,
        id: SegmentId,
        decoded: Vec<(usize, Frame)>,
        window: u64,
        first: usize,
    ) -> Result<Frame, RepoError> {
        let mut cache = self.cache();
        let mut found = None;
        let end = decoded.last().map_or(first, |(number, _)| number + 1);
        // The one that is wanted last: it is the one that was used last.
        for (number, frame) in decoded.into_iter().rev() {
            let len = frame.iter().map(|run| run.bytes().len() as u64).sum();
            cache.frames.put((id, number), Arc::clone(&frame), len);
            found = Some(frame);
        }
        cache.last = Some(((id, end), window));
        found.ok_or_else(|| self.damaged(format_args!("a segment of it has no frame {first}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_the_longest_time_ago_goes_first() {
        let mut kept = Kept::new(10);
        for number in 0..3 {
            kept.put(number, number, 4);
        }
        assert_eq!(
            (kept.get(&0), kept.get(&1), kept.get(&2), kept.bytes),
            (None, Some(1), Some(2), 8)
        );
        kept.put(2, 5, 6);
        assert_eq!((kept.get(&2), kept.bytes), (Some(5), 10));
        kept.put(7, 7, 99);
        assert_eq!((kept.get(&7), kept.entries.len(), kept.bytes), (Some(7), 1, 99));
    }
}
