//! The pages that a layer borrows, with their bytes, in the order of their own numbers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::digest::Held;
use crate::layer_pages::{LayerPage, blocking};
use crate::segment_reader::{OpenSegment, SegmentReader};
use crate::{Borrow, Layer, PageHash, RepoError, Repository};

/// Segments open at once: pages that are next to each other are usually borrowed from few.
const OPEN: usize = 2;

type Frame = Arc<HashMap<u64, (PageHash, Bytes)>>;

/// Reads borrowed pages.
pub(crate) struct BorrowPages {
    repo: Repository,
    segments: Vec<SegmentReader>,
    runs: VecDeque<Borrow>,
    open: VecDeque<(u32, Arc<OpenSegment>)>,
    /// The frame read last, and whose it is.
    frame: Option<(u32, Frame)>,
}

impl BorrowPages {
    /// Those pages of a layer that are in a range of numbers.
    pub(crate) fn new(
        repo: &Repository,
        layer: &Layer,
        (first, last): (u64, u64),
    ) -> Result<Self, RepoError> {
        let readers =
            layer.segments.iter().map(|segment| SegmentReader::new(repo.vault(), segment));
        let within = |run: &Borrow| {
            let begin = run.first.max(first);
            let end = (run.first + run.pages).min(last + 1);
            (begin < end).then(|| Borrow {
                first: begin,
                pages: end - begin,
                from: run.from + (begin - run.first),
                ..*run
            })
        };
        Ok(Self {
            repo: repo.clone(),
            segments: readers.collect::<Result<_, _>>()?,
            runs: layer.borrows.iter().filter_map(within).collect(),
            open: VecDeque::new(),
            frame: None,
        })
    }

    async fn segment(&mut self, number: u32) -> Result<Arc<OpenSegment>, RepoError> {
        if let Some((_, open)) = self.open.iter().find(|(kept, _)| *kept == number) {
            return Ok(Arc::clone(open));
        }
        let missing = || RepoError::damaged("a manifest", "it borrows from no segment");
        let reader = self.segments.get(number as usize).cloned().ok_or_else(missing)?;
        let bytes = reader.fetch(self.repo.sink()).await?;
        let open = Arc::new(blocking(move || reader.open(bytes, false)).await?);
        self.open.truncate(OPEN - 1);
        self.open.push_front((number, Arc::clone(&open)));
        Ok(open)
    }

    async fn content(&mut self, number: u32, page: u64) -> Result<(PageHash, Bytes), RepoError> {
        if let Some((segment, frame)) = &self.frame
            && *segment == number
            && let Some(found) = frame.get(&page)
        {
            return Ok(found.clone());
        }
        let open = self.segment(number).await?;
        let hasher = self.repo.page_hasher().clone();
        let frame: Frame = blocking(move || {
            let mut pages = HashMap::new();
            let size = open.index.page_size.bytes();
            if let Some(at) = open.frame_of(page) {
                open.read_frame(at, &hasher, &mut |run| {
                    for (page, at) in run.range().pages().zip(0..) {
                        let bytes = run.bytes().slice(at * size..(at + 1) * size);
                        pages.insert(page.get(), (hasher.hash(&bytes), bytes));
                    }
                    Ok(())
                })?;
            }
            Ok(Arc::new(pages))
        })
        .await?;
        let missing =
            || RepoError::damaged("a manifest", "it borrows a page that its segment has not");
        let found = frame.get(&page).cloned().ok_or_else(missing)?;
        self.frame = Some((number, frame));
        Ok(found)
    }

    /// The next page.
    pub(crate) async fn next(&mut self) -> Result<Option<LayerPage>, RepoError> {
        let Some(run) = self.runs.front_mut() else { return Ok(None) };
        let (page, number, from) = (run.first, run.segment, run.from);
        (run.first, run.from, run.pages) = (run.first + 1, run.from + 1, run.pages - 1);
        if run.pages == 0 {
            self.runs.pop_front();
        }
        let (hash, bytes) = self.content(number, from).await?;
        Ok(Some((page, Held::Page(hash), bytes)))
    }
}
