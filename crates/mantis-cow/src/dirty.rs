//! Which pages changed since the last seal.

use std::sync::{Mutex, PoisonError};

use mantis_page::{PageNo, PageRange, PageSet};

/// Pages changed since the last seal; marked by writers, sealed by a snapshot.
///
/// A mark costs a lock without waiting and an insert (tens of nanoseconds), beside a write of a page
/// that costs microseconds.
#[derive(Debug, Default)]
pub struct DirtyPages {
    pages: Mutex<PageSet>,
}

impl DirtyPages {
    /// No page marked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, PageSet> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks one page.
    pub fn mark(&self, page: PageNo) {
        self.locked().insert(page);
    }

    /// Marks every page of a range.
    pub fn mark_range(&self, range: PageRange) {
        self.locked().insert_range(range);
    }

    /// Takes what was marked and starts anew.
    #[must_use]
    pub fn seal(&self) -> PageSet {
        std::mem::take(&mut *self.locked())
    }

    /// Gives a sealed set back: its backup did not come to be.
    pub fn merge_back(&self, sealed: &PageSet) {
        self.locked().union_with(sealed);
    }

    /// How many pages are marked.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.locked().len()
    }

    /// Whether no page is marked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_set_can_come_back() {
        let dirty = DirtyPages::new();
        dirty.mark(PageNo::FIRST);
        let sealed = dirty.seal();
        assert!(dirty.is_empty());
        dirty.mark(PageNo::new(9).unwrap());
        dirty.merge_back(&sealed);
        assert_eq!(dirty.seal().pages().map(PageNo::get).collect::<Vec<_>>(), [1, 9]);
    }
}
