//! Reads a segment back and believes nothing of it unproved.

use std::sync::Arc;

use bytes::Bytes;
use mantis_page::{PageNo, PageRange, PageRun};
use mantis_sink::{Sink, Span};

use crate::envelope::{Envelope, HEADER_LEN, Header, Kind};
use crate::manifest::MAX_SEGMENT_LEN;
use crate::segment_builder::{FOOTER_LEN, FOOTER_MAGIC, footer_sum};
use crate::segment_index::{FrameRef, SegmentIndex};
use crate::vault::Vault;
use crate::{IndexCache, ObjectHash, PageHasher, Place, RepoError, Repository, SegmentRef};

/// A segment, named by a manifest.
#[derive(Debug, Clone)]
pub(crate) struct SegmentReader {
    vault: Arc<Vault>,
    pub(crate) reference: SegmentRef,
    pub(crate) object: String,
    place: Place,
}

/// A segment's bytes, or some of its frames, with its index, which is proved against the manifest.
pub(crate) struct OpenSegment {
    object: String,
    envelope: Envelope,
    /// What of the segment is here, and where in it that begins.
    bytes: Bytes,
    start: usize,
    pub(crate) index: Arc<SegmentIndex>,
}

impl SegmentReader {
    pub(crate) fn new(vault: &Arc<Vault>, reference: &SegmentRef) -> Result<Self, RepoError> {
        let place = Place::Segment(reference.session, reference.hash);
        let object =
            place.key().map_err(|error| RepoError::damaged("a manifest", error))?.to_string();
        let end = reference.index_at.checked_add(reference.index_len.into());
        let fits = reference.len <= MAX_SEGMENT_LEN
            && reference.index_at >= HEADER_LEN as u64
            && end.and_then(|end| end.checked_add(FOOTER_LEN as u64)) == Some(reference.len);
        if !fits {
            return Err(RepoError::damaged(&object, "its manifest gives it an impossible shape"));
        }
        Ok(Self { vault: Arc::clone(vault), reference: reference.clone(), object, place })
    }

    /// Its length in bytes, as its manifest says.
    pub(crate) fn len(&self) -> u64 {
        self.reference.len
    }

    fn key(&self) -> Result<mantis_sink::ObjectKey, RepoError> {
        self.place.key().map_err(|error| RepoError::damaged(&self.object, error))
    }

    /// The envelope, from what the manifest says of the header.
    fn envelope(&self) -> Result<Envelope, RepoError> {
        let SegmentRef { salt, key, .. } = &self.reference;
        let header = self.vault.known_header(Kind::Segment, salt.0, *key);
        self.vault.envelope_of(&self.object, header)
    }

    fn decode_index(&self, envelope: &Envelope, frame: &Bytes) -> Result<SegmentIndex, RepoError> {
        let (object, reference) = (&self.object, &self.reference);
        let damaged = |what| Err(RepoError::damaged(object, what));
        if ObjectHash::of([&frame[..]]) != reference.index_hash {
            return damaged("its index is not the one its manifest names");
        }
        let opened = envelope.decode(frame, (0, true));
        let (chunk, _) = opened.map_err(|source| RepoError::Frame {
            object: object.clone(),
            frame: usize::MAX,
            source,
        })?;
        let index = SegmentIndex::read(object, &chunk, reference.last)?;
        let frames = index.frames.iter().map(|frame| u64::from(frame.len));
        if HEADER_LEN as u64 + frames.sum::<u64>() != reference.index_at {
            return damaged("its frames do not fill it");
        }
        if index.bounds() != Some((reference.first, reference.last))
            || index.pages() != reference.pages
        {
            return damaged("it holds other pages than its manifest says");
        }
        Ok(index)
    }

    /// Reads the index alone, in one small read.
    pub(crate) async fn index(&self, repo: &Repository) -> Result<SegmentIndex, RepoError> {
        Ok(self.read_index(repo).await?.0)
    }

    /// The same; and whether the store was asked for it.
    async fn read_index(&self, repo: &Repository) -> Result<(SegmentIndex, bool), RepoError> {
        let start = self.reference.index_at;
        let span = Span::Part(start..start + u64::from(self.reference.index_len));
        let (envelope, cache) = (self.envelope()?, repo.index_cache().cloned());
        let decode = |frame: &Bytes| self.decode_index(&envelope, frame);
        repo.read_proved_by(cache, &self.key()?, span, decode).await
    }

    /// Opens it with its index alone, for [`Self::with_frames`]; and whether the store was asked for it.
    pub(crate) async fn open_index(
        &self,
        repo: &Repository,
    ) -> Result<(OpenSegment, bool), RepoError> {
        let (index, asked) = self.read_index(repo).await?;
        let (object, envelope, index) = (self.object.clone(), self.envelope()?, Arc::new(index));
        Ok((OpenSegment { object, envelope, bytes: Bytes::new(), start: 0, index }, asked))
    }

    /// The runs of pages of one frame, each page proved: of one that is kept here, else of the store's; and how many bytes the store was asked for.
    pub(crate) async fn read_one_frame(
        &self,
        repo: &Repository,
        open: &OpenSegment,
        number: usize,
    ) -> Result<(Vec<PageRun>, u64), RepoError> {
        let Some(frame) = open.index.frames.get(number) else { return Ok((Vec::new(), 0)) };
        let (start, len) = (open.frame_at(number), u64::from(frame.len));
        let hasher = repo.page_hasher();
        let decode = |bytes: &Bytes| {
            if bytes.len() as u64 != len {
                return Err(RepoError::damaged(&self.object, "it is cut short"));
            }
            let open = OpenSegment {
                object: self.object.clone(),
                envelope: self.envelope()?,
                bytes: bytes.clone(),
                start: start as usize,
                index: Arc::clone(&open.index),
            };
            let mut runs = Vec::new();
            open.read_frame(number, hasher, &mut |run| {
                runs.push(run);
                Ok(())
            })?;
            Ok(runs)
        };
        let cache = repo.index_cache().and_then(IndexCache::pages);
        let span = Span::Part(start..start + len);
        let (runs, asked) = repo.read_proved_by(cache, &self.key()?, span, decode).await?;
        Ok((runs, if asked { len } else { 0 }))
    }

    /// The same segment with its frames from `first` on: one, and as many more as make `window` bytes at most.
    pub(crate) async fn with_frames(
        &self,
        sink: &dyn Sink,
        open: &OpenSegment,
        first: usize,
        window: u64,
    ) -> Result<OpenSegment, RepoError> {
        let start = open.frame_at(first);
        let mut len = 0;
        for frame in open.index.frames.iter().skip(first) {
            if len > 0 && len + u64::from(frame.len) > window {
                break;
            }
            len += u64::from(frame.len);
        }
        let bytes = sink.get(&self.key()?, Span::Part(start..start + len)).await?;
        if bytes.len() as u64 != len {
            return Err(RepoError::damaged(&self.object, "it is cut short"));
        }
        Ok(OpenSegment {
            object: self.object.clone(),
            envelope: self.envelope()?,
            bytes,
            start: start as usize,
            index: Arc::clone(&open.index),
        })
    }

    /// Reads the whole segment.
    pub(crate) async fn fetch(&self, sink: &dyn Sink) -> Result<Bytes, RepoError> {
        let bytes = sink.get(&self.key()?, Span::Whole { limit: self.reference.len }).await?;
        if bytes.len() as u64 == self.reference.len {
            return Ok(bytes);
        }
        let what = format!("it has {} bytes, not {}", bytes.len(), self.reference.len);
        Err(RepoError::damaged(&self.object, what))
    }

    /// A segment whose header and footer may be damaged: what the manifest says of them serves. Its index must be
    /// whole.
    pub(crate) fn open_by_manifest(&self, bytes: Bytes) -> Result<OpenSegment, RepoError> {
        let envelope = self.envelope()?;
        let index_at = self.reference.index_at as usize;
        let index_end = index_at + self.reference.index_len as usize;
        if bytes.len() < index_end {
            return Err(RepoError::damaged(&self.object, "it is cut short"));
        }
        let index = self.decode_index(&envelope, &bytes.slice(index_at..index_end))?;
        let (object, index) = (self.object.clone(), Arc::new(index));
        Ok(OpenSegment { object, envelope, bytes, start: 0, index })
    }

    /// Proves header, footer and index of a segment; with `whole`, every byte, against its name.
    pub(crate) fn open(&self, bytes: Bytes, whole: bool) -> Result<OpenSegment, RepoError> {
        let damaged = |what| RepoError::damaged(&self.object, what);
        let header = Header::read(&self.object, &bytes, Kind::Segment, Some(self.vault.repo()))?;
        if whole && ObjectHash::of([&bytes[..]]) != self.reference.hash {
            return Err(damaged("its bytes do not match its name"));
        }
        let envelope = self.envelope()?;
        if header != envelope.header {
            return Err(damaged("its header is not the one its manifest names"));
        }
        let index_at = self.reference.index_at as usize;
        let index_end = index_at + self.reference.index_len as usize;
        if bytes.len() != index_end + FOOTER_LEN {
            return Err(damaged("it has another length than its manifest says"));
        }
        let index = self.decode_index(&envelope, &bytes.slice(index_at..index_end))?;
        let (fields, tail) = bytes[index_end..].split_at(24);
        let sum = footer_sum(&bytes[..HEADER_LEN], fields).to_le_bytes();
        let place =
            [&self.reference.index_at.to_le_bytes()[..], &self.reference.index_len.to_le_bytes()]
                .concat();
        if tail[..4] != sum || tail[4..] != FOOTER_MAGIC[..] || fields[..12] != place[..] {
            return Err(damaged("its footer is damaged"));
        }
        let (object, index) = (self.object.clone(), Arc::new(index));
        Ok(OpenSegment { object, envelope, bytes, start: 0, index })
    }
}

/// The pages of one data frame: which they are, and where their hashes begin in the index.
struct FramePages {
    frame: FrameRef,
    number: usize,
    offset: usize,
    ranges: Vec<PageRange>,
    first_hash: usize,
}

impl OpenSegment {
    /// Bytes of the segment, where they are here.
    fn part(&self, offset: usize, len: usize) -> Option<Bytes> {
        let from = offset.checked_sub(self.start)?;
        let to = from.checked_add(len).filter(|to| *to <= self.bytes.len())?;
        Some(self.bytes.slice(from..to))
    }

    /// Where in the segment a frame begins.
    fn frame_at(&self, number: usize) -> u64 {
        let before = self.index.frames.iter().take(number).map(|frame| u64::from(frame.len));
        HEADER_LEN as u64 + before.sum::<u64>()
    }

    /// Whether a frame's bytes are here.
    pub(crate) fn has_frame(&self, number: usize) -> bool {
        let offset = self.frame_at(number) as usize;
        let frame = self.index.frames.get(number);
        frame.is_some_and(|frame| self.part(offset, frame.len as usize).is_some())
    }

    /// Cuts the index's pages by frame.
    fn frames(&self) -> Vec<FramePages> {
        let mut rest = self.index.data.iter().copied();
        let mut left: Option<PageRange> = None;
        let (mut offset, mut first_hash) = (HEADER_LEN, 0);
        let mut frames = Vec::with_capacity(self.index.frames.len());
        for (number, frame) in self.index.frames.iter().enumerate() {
            let mut need = u64::from(frame.pages);
            let mut ranges = Vec::new();
            while need > 0 {
                let Some(range) = left.take().or_else(|| rest.next()) else { break };
                let taken = range.len().min(need);
                ranges.extend(PageRange::new(range.first(), taken));
                let after = range.first().checked_add(taken);
                left = after.and_then(|first| PageRange::new(first, range.len() - taken));
                need -= taken;
            }
            frames.push(FramePages { frame: *frame, number, offset, ranges, first_hash });
            offset += frame.len as usize;
            first_hash += frame.pages as usize;
        }
        frames
    }

    /// Decodes every frame that `wanted` asks for, proves each of its pages, and gives them out as
    /// runs.
    ///
    /// A page is proved by its hash in the index, and the index by its hash in the manifest.
    pub(crate) fn read_pages(
        &self,
        hasher: &PageHasher,
        wanted: &dyn Fn(PageNo) -> bool,
        give: &mut dyn FnMut(PageRun) -> Result<(), RepoError>,
    ) -> Result<(), RepoError> {
        for frame in self.frames() {
            if frame.ranges.iter().any(|range| range.pages().any(wanted)) {
                self.read_frame_pages(&frame, hasher, wanted, give)?;
            }
        }
        Ok(())
    }

    /// Bytes of it that are here.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a page of it is all zeros.
    pub(crate) fn has_zeros(&self, page: PageNo) -> bool {
        let behind = self.index.zero.partition_point(|range| range.last() < page);
        self.index.zero.get(behind).is_some_and(|range| range.first() <= page)
    }

    /// The frame that a page is in.
    pub(crate) fn frame_of(&self, page: u64) -> Option<usize> {
        self.frames().iter().position(|frame| {
            frame
                .ranges
                .iter()
                .any(|range| (range.first().get()..=range.last().get()).contains(&page))
        })
    }

    /// The pages of one frame.
    pub(crate) fn pages_of_frame(&self, number: usize) -> Vec<PageNo> {
        let frames = self.frames();
        let ranges = frames.get(number).into_iter().flat_map(|frame| &frame.ranges);
        ranges.flat_map(|range| range.pages()).collect()
    }

    /// Decodes one frame and gives out all of its pages, each proved.
    pub(crate) fn read_frame(
        &self,
        number: usize,
        hasher: &PageHasher,
        give: &mut dyn FnMut(PageRun) -> Result<(), RepoError>,
    ) -> Result<(), RepoError> {
        match self.frames().get(number) {
            Some(frame) => self.read_frame_pages(frame, hasher, &|_| true, give),
            None => Ok(()),
        }
    }

    fn read_frame_pages(
        &self,
        frame: &FramePages,
        hasher: &PageHasher,
        wanted: &dyn Fn(PageNo) -> bool,
        give: &mut dyn FnMut(PageRun) -> Result<(), RepoError>,
    ) -> Result<(), RepoError> {
        let size = self.index.page_size;
        let FramePages { frame, number, offset, ranges, first_hash } = frame;
        let first = ranges.first().map_or(0, |range| range.first().get());
        let Some(bytes) = self.part(*offset, frame.len as usize) else {
            let what = format!("frame {number} was not read");
            return Err(RepoError::damaged(&self.object, what));
        };
        let opened = self.envelope.decode(&bytes, (first, false));
        let fail =
            |source| RepoError::Frame { object: self.object.clone(), frame: *number, source };
        let (chunk, len) = opened.map_err(fail)?;
        if len != frame.len as usize || chunk.len() != frame.pages as usize * size.bytes() {
            let what = format!("frame {number} has another length than its index says");
            return Err(RepoError::damaged(&self.object, what));
        }
        let pages = ranges.iter().flat_map(|range| range.pages());
        let hashes = self.index.hashes.iter().skip(*first_hash);
        for ((page, content), hash) in pages.zip(chunk.chunks_exact(size.bytes())).zip(hashes) {
            if hasher.hash(content) != *hash {
                let what = format!("page {page} does not match its hash");
                return Err(RepoError::damaged(&self.object, what));
            }
        }
        let mut at = 0;
        for range in ranges {
            let bytes = range.len() as usize * size.bytes();
            let content = chunk.slice(at..at + bytes);
            at += bytes;
            for (range, start) in wanted_ranges(*range, wanted) {
                let start = start as usize * size.bytes();
                let end = start + range.len() as usize * size.bytes();
                let run = PageRun::new(range.first(), size, content.slice(start..end));
                give(run.map_err(|error| RepoError::damaged(&self.object, error))?)?;
            }
        }
        Ok(())
    }
}

/// The parts of a range that are wanted, each with how many pages of the range are before it.
pub(crate) fn wanted_ranges(
    range: PageRange,
    wanted: &dyn Fn(PageNo) -> bool,
) -> Vec<(PageRange, u64)> {
    let mut parts: Vec<(PageRange, u64)> = Vec::new();
    let mut last_taken = None;
    for (page, at) in range.pages().zip(0u64..) {
        if !wanted(page) {
            continue;
        }
        match parts.last_mut() {
            Some((part, _)) if last_taken == at.checked_sub(1) => {
                *part = PageRange::new(part.first(), part.len() + 1).unwrap_or(*part);
            }
            _ => parts.extend(PageRange::new(page, 1).map(|part| (part, at))),
        }
        last_taken = Some(at);
    }
    parts
}

#[cfg(test)]
#[path = "segment_reader_tests.rs"]
mod tests;
