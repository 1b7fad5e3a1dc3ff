//! What can still be read of a damaged backup.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use mantis_page::{PageNo, PageRange, PageRun, PageSet, PageSize};

use crate::restore::{Give, Restored};
use crate::segment_reader::{OpenSegment, SegmentReader};
use crate::{Layer, Manifest, RepoError, Repository};

/// What a salvage found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Salvaged {
    /// Pages given out, each proved.
    pub pages: u64,
    /// Pages that cannot be read, or of which it cannot be told what they were.
    pub lost: PageSet,
    /// What is damaged.
    pub damaged: Vec<String>,
}

/// Gives out what is in one segment.
struct Pass<'a> {
    repo: &'a Repository,
    page_count: u64,
    page_size: PageSize,
    give: &'a Give,
    /// Pages that are decided: given out, or lost.
    done: PageSet,
    found: Salvaged,
}

impl Repository {
    /// Gives out every page of a backup that can be read, each proved. A page whose newest copy cannot be read is
    /// lost: an older copy of it would be of another moment.
    ///
    /// # Errors
    /// A store that fails, or what `give` reports. Damage is no error here but the report.
    pub async fn salvage(
        &self,
        manifest: &Manifest,
        give: Arc<Give>,
    ) -> Result<Salvaged, RepoError> {
        let page_count = manifest.info.meta.page_count;
        let (done, found) = (PageSet::new(), Salvaged::default());
        let page_size = manifest.page_size("the manifest")?;
        let mut pass = Pass { repo: self, page_count, page_size, give: &*give, done, found };
        for layer in manifest.layers.iter().rev() {
            // Within a layer each page is there once: what this layer decides counts for older ones only.
            let newer = pass.done.clone();
            if !layer.borrows.is_empty() {
                pass.borrowed(layer, &newer).await?;
                continue;
            }
            for reference in &layer.segments {
                let reader = SegmentReader::new(self.vault(), reference)?;
                pass.segment(&reader, &newer).await?;
            }
        }
        let all = PageRange::new(PageNo::FIRST, page_count);
        for page in all.into_iter().flat_map(PageRange::pages) {
            if !pass.done.contains(page) {
                pass.found.lost.insert(page);
            }
        }
        Ok(pass.found)
    }
}

impl Pass<'_> {
    fn damaged(&mut self, error: &RepoError) {
        self.found.damaged.push(mantis_sink::error_chain(error));
    }

    fn lose(&mut self, pages: impl Iterator<Item = PageNo>, newer: &PageSet) {
        let count = self.page_count;
        for page in pages.filter(|page| page.get() <= count && !newer.contains(*page)) {
            self.done.insert(page);
            self.found.lost.insert(page);
        }
    }

    async fn open(&self, reader: &SegmentReader) -> Result<OpenSegment, RepoError> {
        let open = reader.open(reader.fetch(self.repo.sink()).await?, false)?;
        if open.index.page_size == self.page_size {
            return Ok(open);
        }
        Err(RepoError::damaged(&reader.object, "its pages have another size than the backup's"))
    }

    async fn segment(&mut self, reader: &SegmentReader, newer: &PageSet) -> Result<(), RepoError> {
        let error = match self.open(reader).await {
            Ok(open) => return self.frames(&open, newer),
            Err(error) if error.is_damage() => error,
            Err(error) => return Err(error),
        };
        self.damaged(&error);
        // Its index may still tell which pages were in it; else any page between the first and the last.
        match reader.index(self.repo).await {
            Ok(index) if index.page_size == self.page_size => {
                let zeros: Vec<PageRange> = index.zero.clone();
                self.give_zeros(&zeros, newer)?;
                self.lose(index.data_pages().map(|(page, _)| page), newer);
            }
            Err(error) if !error.is_damage() => return Err(error),
            _ => {
                let (first, last) = (reader.reference.first, reader.reference.last);
                self.lose((first..=last).filter_map(PageNo::new), newer);
            }
        }
        Ok(())
    }

    /// Pages that are borrowed: as good as the segments that they are borrowed from.
    async fn borrowed(&mut self, layer: &Layer, newer: &PageSet) -> Result<(), RepoError> {
        for (reference, number) in layer.segments.iter().zip(0u32..) {
            let reader = SegmentReader::new(self.repo.vault(), reference)?;
            let open = match self.open(&reader).await {
                Ok(open) => Some(open),
                Err(error) if error.is_damage() => {
                    self.damaged(&error);
                    None
                }
                Err(error) => return Err(error),
            };
            let mut contents: HashMap<u64, Bytes> = HashMap::new();
            for frame in 0..open.as_ref().map_or(0, |open| open.index.frames.len()) {
                let Some(open) = &open else { break };
                let size = open.index.page_size.bytes();
                let read = open.read_frame(frame, self.repo.page_hasher(), &mut |run| {
                    for (page, at) in run.range().pages().zip(0..) {
                        contents.insert(page.get(), run.bytes().slice(at * size..(at + 1) * size));
                    }
                    Ok(())
                });
                if let Err(error) = read {
                    self.damaged(&error);
                }
            }
            for run in layer.borrows.iter().filter(|run| run.segment == number) {
                for at in 0..run.pages {
                    let Some(page) = PageNo::new(run.first + at) else { continue };
                    let (size, content) = (self.page_size, contents.get(&(run.from + at)));
                    match content.map(|bytes| PageRun::new(page, size, bytes.clone())) {
                        Some(Ok(run)) => self.give_run(&run, newer)?,
                        _ => self.lose([page].into_iter(), newer),
                    }
                }
            }
        }
        Ok(())
    }

    fn give_zeros(&mut self, ranges: &[PageRange], newer: &PageSet) -> Result<(), RepoError> {
        let count = self.page_count;
        for page in ranges.iter().flat_map(|range| range.pages()) {
            if page.get() <= count
                && !newer.contains(page)
                && let Some(range) = PageRange::new(page, 1)
            {
                (self.give)(Restored::Zeros(range))
                    .map_err(|source| RepoError::Target { source })?;
                self.done.insert(page);
                self.found.pages += 1;
            }
        }
        Ok(())
    }

    fn frames(&mut self, open: &OpenSegment, newer: &PageSet) -> Result<(), RepoError> {
        self.give_zeros(&open.index.zero.clone(), newer)?;
        for number in 0..open.index.frames.len() {
            let mut runs = Vec::new();
            let read = open.read_frame(number, self.repo.page_hasher(), &mut |run| {
                runs.push(run);
                Ok(())
            });
            match read {
                Ok(()) => {
                    for run in runs {
                        self.give_run(&run, newer)?;
                    }
                }
                Err(error) => {
                    self.damaged(&error);
                    let pages = open.pages_of_frame(number);
                    self.lose(pages.into_iter(), newer);
                }
            }
        }
        Ok(())
    }

    fn give_run(&mut self, run: &PageRun, newer: &PageSet) -> Result<(), RepoError> {
        let size = run.page_size();
        let pages = run.range().pages().zip(0..);
        for (page, at) in pages.filter(|(page, _)| page.get() <= self.page_count) {
            if newer.contains(page) {
                continue;
            }
            let bytes = run.bytes().slice(at * size.bytes()..(at + 1) * size.bytes());
            let one = mantis_page::PageRun::new(page, size, bytes)
                .map_err(|error| RepoError::WrongPages { what: error.to_string() })?;
            (self.give)(Restored::Pages(one)).map_err(|source| RepoError::Target { source })?;
            self.done.insert(page);
            self.found.pages += 1;
        }
        Ok(())
    }
}
