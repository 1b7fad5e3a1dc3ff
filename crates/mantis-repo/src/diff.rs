//! What changed between two backups, told from their indexes alone.

use mantis_page::{PageNo, PageRange, PageSet};

use crate::stack_cursor::StackCursor;
use crate::verify::PAGES_AT_ONCE;
use crate::{BackupInfo, RepoError, Repository};

/// What changed between two backups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Pages that both have and that differ.
    pub changed: PageSet,
    /// Pages that only the second has.
    pub added: u64,
    /// Pages that only the first has.
    pub removed: u64,
}

impl Repository {
    /// What changed from one backup to another.
    ///
    /// # Errors
    /// [`RepoError::WrongPages`] where their pages are of different sizes; what keeps an index from being read.
    pub async fn diff(&self, a: &BackupInfo, b: &BackupInfo) -> Result<Difference, RepoError> {
        if a.meta.page_size != b.meta.page_size {
            let (a, b) = (a.meta.page_size, b.meta.page_size);
            let what = format!("one has pages of {a} bytes, the other of {b}");
            return Err(RepoError::WrongPages { what });
        }
        let (pages_a, pages_b) = (a.meta.page_count, b.meta.page_count);
        let both = pages_a.min(pages_b);
        let mut difference =
            Difference { changed: PageSet::new(), added: pages_b - both, removed: pages_a - both };
        if a.fingerprint == b.fingerprint {
            return Ok(difference);
        }
        let mut cursor_a = StackCursor::new(self, &self.manifest(a).await?, false)?;
        let mut cursor_b = StackCursor::new(self, &self.manifest(b).await?, false)?;
        let all = PageRange::new(PageNo::FIRST, both);
        for range in all.into_iter().flat_map(|all| all.split(PAGES_AT_ONCE)) {
            let (held_a, held_b) = (cursor_a.collect(range).await?, cursor_b.collect(range).await?);
            let pages = range.pages().zip(held_a.iter().zip(&held_b));
            let differing = pages.filter(|(_, (a, b))| a != b).map(|(page, _)| page);
            difference.changed.extend(differing);
        }
        Ok(difference)
    }
}
