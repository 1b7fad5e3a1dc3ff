//! Which pages a file holds already: proved by their hashes, read from the indexes of a backup alone.

use std::sync::Arc;

use mantis_page::{PageNo, PageRange, PageSet};
use mantis_stream::{OrderedPipeline, StreamError};

use crate::digest::{Held, is_zero};
use crate::stack_cursor::StackCursor;
use crate::verify::PAGES_AT_ONCE;
use crate::{Manifest, PageHasher, RepoError, Repository, RestoreOptions};

/// Fills a buffer with the pages of a range, as the file holds them.
pub type ReadPages = dyn Fn(PageRange, &mut [u8]) -> std::io::Result<()> + Send + Sync;

fn compare(
    hasher: &PageHasher,
    range: PageRange,
    held: &[Option<Held>],
    bytes: &[u8],
    page_len: usize,
) -> Vec<PageNo> {
    let pages = range.pages().zip(held).zip(bytes.chunks_exact(page_len));
    let alike = pages.filter(|((_, held), content)| match held {
        Some(Held::Zero) => is_zero(content),
        Some(Held::Page(hash)) => !is_zero(content) && hasher.hash(content) == *hash,
        None => false,
    });
    alike.map(|((page, _), _)| page).collect()
}

impl Repository {
    /// The pages that a file holds as a backup does: a restore need not write them again.
    ///
    /// # Errors
    /// What keeps the backup's indexes or the file from being read; [`RepoError::Cancelled`].
    pub async fn matching(
        &self,
        manifest: &Manifest,
        options: &RestoreOptions,
        read: Arc<ReadPages>,
    ) -> Result<PageSet, RepoError> {
        let page_len = manifest.page_size("the manifest")?.bytes();
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let jobs = if options.jobs == 0 { cores } else { options.jobs };
        let mut cursor = StackCursor::new(self, manifest, false)?;
        let mut pipeline: OrderedPipeline<std::io::Result<Vec<PageNo>>> =
            OrderedPipeline::new(jobs, options.cancel.clone());
        let mut matching = PageSet::new();
        let mut take = |found: std::io::Result<Vec<PageNo>>| -> Result<(), RepoError> {
            matching.extend(found.map_err(|error| RepoError::Target { source: error.into() })?);
            Ok(())
        };
        let all = PageRange::new(PageNo::FIRST, manifest.info.meta.page_count);
        for range in all.into_iter().flat_map(|all| all.split(PAGES_AT_ONCE / 4)) {
            let held = cursor.collect(range).await?;
            let (hasher, read) = (self.page_hasher().clone(), Arc::clone(&read));
            let work = move || {
                let mut bytes = vec![0; range.len() as usize * page_len];
                read(range, &mut bytes)?;
                Ok(compare(&hasher, range, &held, &bytes, page_len))
            };
            pipeline.push(work).await?.map_or(Ok(()), &mut take)?;
        }
        while let Some(found) = pipeline.next().await.map_err(|error: StreamError| error)? {
            take(found)?;
        }
        Ok(matching)
    }
}
