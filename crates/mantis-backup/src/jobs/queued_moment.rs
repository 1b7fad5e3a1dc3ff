//! A moment of a database that waits on the local disk: the pages that changed since the one before, compressed.
//!
//! It is in a file without a name: whatever becomes of this process, nothing of it stays. Nothing is synced, as after a crash the next backup compares
//! all pages anyway. What comes back is proved by a checksum before it goes on.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use mantis_page::{PageNo, PageRange, PageRun, PageSet};
use mantis_repo::{PageReader, UnixMillis};
use mantis_snapshot::{
    Changed, ConsistencyPoint, Engine, FreezeRequest, FrozenPages, Geometry, Outcome, Snapshot,
    SnapshotError, SnapshotToken, SourceInfo,
};
use mantis_stream::{CodecRegistry, Compression, decode_frame, encode_frame};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::capture::within;

/// Bytes of pages that are compressed together, about.
const CHUNK: usize = 256 << 10;
/// Bytes of pages that are read at once.
const AT_ONCE: usize = 64 << 10;
/// Bytes that wait, of all sources of this process: they are on one disk.
static QUEUED: AtomicU64 = AtomicU64::new(0);

/// Pages that were compressed together.
#[derive(Debug)]
struct Chunk {
    /// Ascending.
    ranges: Vec<PageRange>,
    at: u64,
    len: usize,
}

/// Pages in a file without a name, each chunk behind the one before.
#[derive(Debug)]
struct PageFile {
    file: File,
    len: u64,
    /// Ascending.
    chunks: Vec<Chunk>,
    /// The chunk that was read last: pages are asked for in their order.
    last: Mutex<Option<(usize, Bytes)>>,
}

impl Drop for PageFile {
    fn drop(&mut self) {
        QUEUED.fetch_sub(self.len, Ordering::Relaxed);
    }
}

/// Bytes that wait, of all sources of this process.
pub(super) fn queued() -> u64 {
    QUEUED.load(Ordering::Relaxed)
}

/// Fills a [`PageFile`].
struct PageFileWriter {
    made: PageFile,
    ranges: Vec<PageRange>,
    bytes: Vec<u8>,
}

impl PageFileWriter {
    fn new(folder: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        let made = PageFile { file, len: 0, chunks: Vec::new(), last: Mutex::default() };
        Ok(Self { made, ranges: Vec::new(), bytes: Vec::new() })
    }

    /// Adds pages behind those that are there.
    fn push(&mut self, run: &PageRun) -> io::Result<()> {
        self.ranges.push(run.range());
        self.bytes.extend_from_slice(run.bytes());
        if self.bytes.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let (made, chunk) = (&mut self.made, Bytes::from(std::mem::take(&mut self.bytes)));
        let place = made.len.to_le_bytes();
        let codecs = CodecRegistry::builtin();
        let frame = encode_frame(codecs, &chunk, Compression::Lz4, &place, false, None);
        let frame = frame.map_err(io::Error::other)?.to_bytes();
        made.file.write_all_at(&frame, made.len)?;
        let ranges = std::mem::take(&mut self.ranges);
        made.chunks.push(Chunk { ranges, at: made.len, len: frame.len() });
        made.len += frame.len() as u64;
        QUEUED.fetch_add(frame.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn finish(mut self) -> io::Result<PageFile> {
        self.flush()?;
        Ok(self.made)
    }
}

impl PageFile {
    fn chunk(&self, number: usize) -> io::Result<Bytes> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, bytes)) = &*last
            && *known == number
        {
            return Ok(bytes.clone());
        }
        let chunk = self.chunks.get(number).ok_or(io::ErrorKind::NotFound)?;
        let mut frame = vec![0; chunk.len];
        self.file.read_exact_at(&mut frame, chunk.at)?;
        let (codecs, place) = (CodecRegistry::builtin(), chunk.at.to_le_bytes());
        let decoded = decode_frame(codecs, &frame.into(), &place, None);
        let (bytes, _) = decoded.map_err(io::Error::other)?;
        *last = Some((number, bytes.clone()));
        Ok(bytes)
    }

    /// A page of `size` bytes; none where it is not here.
    fn page(&self, page: PageNo, size: usize) -> io::Result<Option<Bytes>> {
        let starts_before =
            |chunk: &Chunk| chunk.ranges.first().is_some_and(|it| it.first() <= page);
        let behind = self.chunks.partition_point(starts_before);
        let Some(number) = behind.checked_sub(1) else { return Ok(None) };
        let mut before = 0;
        for range in self.chunks.get(number).map_or(&[][..], |chunk| &chunk.ranges) {
            if (range.first()..=range.last()).contains(&page) {
                let at = (before + page.get() - range.first().get()) as usize * size;
                let bytes = self.chunk(number)?;
                let end = at + size;
                let found = (end <= bytes.len()).then(|| bytes.slice(at..end));
                return found.map(Some).ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
            }
            before += range.len();
        }
        Ok(None)
    }
}

/// When a moment was, and what it is built on.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) source: SourceInfo,
    pub(super) point: ConsistencyPoint,
    pub(super) geometry: Geometry,
    /// When it was taken.
    pub(super) at: UnixMillis,
    /// When the source was looked at for it: all that was committed until then is in it.
    pub(super) looked: Instant,
    /// The snapshot since which its pages changed.
    pub(super) baseline: SnapshotToken,
    /// By which the next one knows it; none where the next one cannot be built on it.
    pub(super) token: Option<SnapshotToken>,
}

/// A moment that waits.
#[derive(Debug)]
pub(super) struct QueuedMoment {
    pub(super) moment: Moment,
    changed: PageSet,
    pages: PageFile,
}

fn failed(error: io::Error) -> SnapshotError {
    SnapshotError::engine("keep on the local disk pages of", "a moment that waits", error)
}

/// The parts of a set up to the last page there is, in pieces that are read at once.
fn pieces(pages: &PageSet, geometry: Geometry) -> impl Iterator<Item = PageRange> {
    let at_once = (AT_ONCE / geometry.page_size.bytes()).max(1) as u64;
    let there = pages.ranges().filter_map(move |range| within(range, geometry.page_count));
    there.flat_map(move |range| range.split(at_once))
}

impl QueuedMoment {
    /// Keeps these pages of a snapshot, and ends it: from then on the engine takes them for backed up. Where it fails they go back to where they
    /// were tracked. Blocks.
    pub(super) fn take(
        snapshot: Snapshot,
        changed: PageSet,
        folder: &Path,
        moment: Moment,
    ) -> Result<Self, SnapshotError> {
        let mut writer = PageFileWriter::new(folder).map_err(failed)?;
        for range in pieces(&changed, moment.geometry) {
            snapshot.release_before(range.first());
            writer.push(&snapshot.read_run(range)?).map_err(failed)?;
        }
        let pages = writer.finish().map_err(failed)?;
        let token = snapshot.finish(Outcome::Committed)?;
        Ok(Self { moment: Moment { token, ..moment }, changed, pages })
    }

    /// The later one of two that follow each other, with what changed in both. Blocks.
    pub(super) fn merged(
        earlier: &Self,
        later: &Self,
        folder: &Path,
    ) -> Result<Self, SnapshotError> {
        let mut changed = earlier.changed.clone();
        changed.union_with(&later.changed);
        let geometry = later.moment.geometry;
        let size = geometry.page_size.bytes();
        let mut writer = PageFileWriter::new(folder).map_err(failed)?;
        for page in pieces(&changed, geometry).flat_map(PageRange::pages) {
            let found = match later.pages.page(page, size).map_err(failed)? {
                None => earlier.pages.page(page, size).map_err(failed)?,
                found => found,
            };
            let bytes =
                found.ok_or(io::ErrorKind::NotFound).map_err(|error| failed(error.into()))?;
            let run = PageRun::new(page, geometry.page_size, bytes);
            let run = run.map_err(|error| failed(io::Error::other(error)))?;
            writer.push(&run).map_err(failed)?;
        }
        let baseline = earlier.moment.baseline.clone();
        let moment = Moment { baseline, ..later.moment.clone() };
        Ok(Self { moment, changed, pages: writer.finish().map_err(failed)? })
    }

    /// Bytes that it takes on the disk.
    pub(super) const fn len(&self) -> u64 {
        self.pages.len
    }
}

/// A moment that waits, as what a backup is made of. What did not change since the backup that it is built on is read from that.
#[derive(Debug, Clone)]
pub(super) struct QueuedEngine {
    pub(super) moment: Arc<QueuedMoment>,
    pub(super) base: Arc<PageReader>,
    pub(super) runtime: Handle,
}

impl Engine for QueuedEngine {
    fn info(&self) -> Result<SourceInfo, SnapshotError> {
        Ok(self.moment.moment.source.clone())
    }

    fn freeze(&self, request: &FreezeRequest) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        let knows = request.baseline.as_ref() == Some(&self.moment.moment.baseline);
        Ok(Box::new(FrozenMoment { engine: self.clone(), knows }))
    }
}

struct FrozenMoment {
    engine: QueuedEngine,
    /// Whether the backup is built on what the moment is built on.
    knows: bool,
}

impl FrozenMoment {
    fn page(&self, page: PageNo, size: usize) -> Result<Bytes, SnapshotError> {
        let QueuedEngine { moment, base, runtime } = &self.engine;
        if let Some(bytes) = moment.pages.page(page, size).map_err(failed)? {
            return Ok(bytes);
        }
        let read = runtime.block_on(base.page(page));
        read.map_err(|error| SnapshotError::engine("read from the backup before", page, error))
    }
}

impl FrozenPages for FrozenMoment {
    fn point(&self) -> &ConsistencyPoint {
        &self.engine.moment.moment.point
    }

    fn geometry(&self) -> Geometry {
        self.engine.moment.moment.geometry
    }

    fn read_pages(&self, first: PageNo, buf: &mut [u8]) -> Result<(), SnapshotError> {
        let size = self.geometry().page_size.bytes();
        for (piece, number) in buf.chunks_exact_mut(size).zip(0_u64..) {
            let beyond = || SnapshotError::engine("read past the end of", first, "no such page");
            let page = first.checked_add(number).ok_or_else(beyond)?;
            let bytes = self.page(page, size)?;
            if bytes.len() != size {
                return Err(beyond());
            }
            piece.copy_from_slice(&bytes);
        }
        Ok(())
    }

    fn changed(&self) -> Changed<'_> {
        if self.knows { Changed::Pages(&self.engine.moment.changed) } else { Changed::Unknown }
    }

    fn finish(&mut self, _: Outcome) -> Result<Option<SnapshotToken>, SnapshotError> {
        Ok(self.engine.moment.moment.token.clone())
    }
}

#[cfg(test)]
#[path = "queued_moment_tests.rs"]
mod tests;
