//! The pages of one layer with their bytes, in the order of their numbers, some frames of one segment in memory at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use mantis_page::{PageNo, PageRun};

use crate::digest::Held;
use crate::segment_reader::{OpenSegment, SegmentReader};
use crate::{PageHash, RepoError, Repository, SegmentRef};

/// A page of a layer: its number, what it is, and its bytes, none for a page of zeros.
pub(crate) type LayerPage = (u64, Held, Bytes);

/// Reads the pages of a layer.
pub(crate) struct LayerPages {
    repo: Repository,
    /// Bytes of frames that are read at once.
    window: u64,
    waiting: VecDeque<SegmentReader>,
    open: Option<(SegmentReader, Arc<OpenSegment>)>,
    next_frame: usize,
    /// Pages of zeros of the open segment, ascending.
    zeros: VecDeque<u64>,
    /// Pages of the frame in hand, ascending.
    pages: VecDeque<(u64, PageHash, Bytes)>,
}

impl LayerPages {
    pub(crate) fn new<'a>(
        repo: &Repository,
        segments: impl IntoIterator<Item = &'a SegmentRef>,
        window: u64,
    ) -> Result<Self, RepoError> {
        let readers =
            segments.into_iter().map(|reference| SegmentReader::new(repo.vault(), reference));
        Ok(Self {
            repo: repo.clone(),
            window,
            waiting: readers.collect::<Result<_, _>>()?,
            open: None,
            next_frame: 0,
            zeros: VecDeque::new(),
            pages: VecDeque::new(),
        })
    }

    /// Opens the next segment; `false` where there is none.
    async fn advance(&mut self) -> Result<bool, RepoError> {
        let Some(reader) = self.waiting.pop_front() else { return Ok(false) };
        let (open, _) = reader.open_index(&self.repo).await?;
        let zeros = open.index.zero.iter().flat_map(|range| range.pages()).map(PageNo::get);
        self.zeros = zeros.collect();
        self.open = Some((reader, Arc::new(open)));
        self.next_frame = 0;
        Ok(true)
    }

    /// Decodes the next frame of the open segment, each page proved; `false` where there is none.
    async fn decode(&mut self) -> Result<bool, RepoError> {
        let Some((reader, held)) = &mut self.open else { return Ok(false) };
        if self.next_frame >= held.index.frames.len() {
            return Ok(false);
        }
        let number = self.next_frame;
        if !held.has_frame(number) {
            let sink = self.repo.sink();
            *held = Arc::new(reader.with_frames(sink, held, number, self.window).await?);
        }
        let (hasher, open) = (self.repo.page_hasher().clone(), Arc::clone(held));
        self.next_frame += 1;
        self.pages = blocking(move || {
            let mut pages = VecDeque::new();
            let size = open.index.page_size.bytes();
            open.read_frame(number, &hasher, &mut |run: PageRun| {
                let contents = run.bytes().chunks_exact(size).enumerate();
                for (page, (at, content)) in run.range().pages().zip(contents) {
                    let bytes = run.bytes().slice(at * size..(at + 1) * size);
                    pages.push_back((page.get(), hasher.hash(content), bytes));
                }
                Ok(())
            })?;
            Ok(pages)
        })
        .await?;
        Ok(true)
    }

    /// The next page.
    pub(crate) async fn next(&mut self) -> Result<Option<LayerPage>, RepoError> {
        loop {
            if self.pages.is_empty() && self.decode().await? {
                continue;
            }
            let zero = self.zeros.front().copied();
            let data = self.pages.front().map(|(page, ..)| *page);
            let zero_first = match (zero, data) {
                (None, None) => {
                    if self.advance().await? {
                        continue;
                    }
                    return Ok(None);
                }
                (Some(zero), Some(data)) => zero < data,
                (zero, _) => zero.is_some(),
            };
            if zero_first {
                return Ok(self.zeros.pop_front().map(|page| (page, Held::Zero, Bytes::new())));
            }
            let next = self.pages.pop_front();
            return Ok(next.map(|(page, hash, bytes)| (page, Held::Page(hash), bytes)));
        }
    }
}

/// Runs work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RepoError> + Send + 'static,
) -> Result<T, RepoError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| RepoError::Stream { source: mantis_stream::StreamError::Worker })?
}
