//! Which pages of a backup are borrowed from one segment, told by runs: memory for the runs, however long they are.

use mantis_page::{PageNo, PageSet};

use crate::Borrow;

/// The runs of one layer that borrow from one segment.
#[derive(Debug)]
pub(crate) struct BorrowedRuns {
    /// Ascending by where they begin in the segment.
    runs: Vec<Borrow>,
    /// The largest end, in the segment, of a run and those before it.
    ends: Vec<u64>,
}

/// The number behind a run's last page, in the segment.
const fn end(run: &Borrow) -> u64 {
    run.from.saturating_add(run.pages)
}

impl BorrowedRuns {
    /// Those of a segment's runs that hold a page up to `page_count` that `newer` has not.
    pub(crate) fn new(of_segment: &[Borrow], page_count: u64, newer: &PageSet) -> Self {
        let needed = |run: &&Borrow| {
            let last = run.first.saturating_add(run.pages).saturating_sub(1).min(page_count);
            let missing = PageNo::new(run.first).and_then(|first| newer.first_missing(first));
            missing.is_some_and(|missing| missing.get() <= last)
        };
        let mut runs: Vec<Borrow> = of_segment.iter().filter(needed).copied().collect();
        runs.sort_unstable_by_key(|run| run.from);
        let ends = runs.iter().scan(0, |largest, run| {
            *largest = end(run).max(*largest);
            Some(*largest)
        });
        let ends = ends.collect();
        Self { runs, ends }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The pages of the backup that a page of the segment stands for.
    pub(crate) fn pages_of(&self, page: PageNo) -> impl Iterator<Item = PageNo> {
        let page = page.get();
        let before = self.runs.partition_point(|run| run.from <= page);
        let reach = self.ends.iter().take(before).rev().take_while(move |end| **end > page).count();
        let may_hold = self.runs.get(before - reach..before).unwrap_or_default();
        may_hold
            .iter()
            .filter(move |run| end(run) > page)
            .filter_map(move |run| PageNo::new(run.first.checked_add(page - run.from)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run((first, pages, from): (u64, u64, u64)) -> Borrow {
        Borrow { first, pages, segment: 0, from }
    }

    proptest! {
        #[test]
        fn agrees_with_going_through_every_page(
            spans in prop::collection::vec((1u64..60, 1u64..9, 1u64..40), 0..12),
            newer in prop::collection::vec(1u64..70, 0..30),
            page_count in 1u64..70,
        ) {
            let borrows: Vec<Borrow> = spans.into_iter().map(run).collect();
            let mut set = PageSet::new();
            for page in newer {
                set.insert(PageNo::new(page).unwrap());
            }
            let runs = BorrowedRuns::new(&borrows, page_count, &set);
            let wanted = |page: PageNo| page.get() <= page_count && !set.contains(page);
            let mut any = false;
            for from in 1..60 {
                let mut slow: Vec<PageNo> = borrows.iter()
                    .filter(|run| run.from <= from && from < run.from + run.pages)
                    .filter_map(|run| PageNo::new(run.first + (from - run.from)))
                    .filter(|page| wanted(*page))
                    .collect();
                let fast = runs.pages_of(PageNo::new(from).unwrap());
                let mut fast: Vec<PageNo> = fast.filter(|page| wanted(*page)).collect();
                slow.sort_unstable();
                fast.sort_unstable();
                any |= !slow.is_empty();
                prop_assert_eq!(slow, fast);
            }
            prop_assert_eq!(runs.is_empty(), !any);
        }
    }

    #[test]
    fn runs_as_long_as_can_be_take_no_memory_for_their_pages() {
        let borrows = [run((1, u64::MAX, 1)), run((u64::MAX, u64::MAX, u64::MAX))];
        let runs = BorrowedRuns::new(&borrows, u64::MAX, &PageSet::new());
        assert_eq!(runs.pages_of(PageNo::new(7).unwrap()).next(), PageNo::new(7));
    }
}
