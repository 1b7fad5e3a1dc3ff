//! Pages looked at: which are zeros, which changed, their hashes. The first half of the work on a run.

use bytes::{Bytes, BytesMut};
use mantis_page::{PageRange, PageRun, PageSet, PageSize};

use crate::fingerprint::Sum;
use crate::{PageHash, PageHasher};

static ZEROS: [u8; 65536] = [0; 65536];

/// Whether a page is all zeros.
pub(crate) fn is_zero(page: &[u8]) -> bool {
    ZEROS.get(..page.len()) == Some(page)
}

/// What a backup holds of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is all zeros.
    Zero,
    /// It has this hash.
    Page(PageHash),
}

/// Adds a range at the end, joined to the last one where they touch.
pub(crate) fn extend(ranges: &mut Vec<PageRange>, page: PageRange) {
    if let Some(last) = ranges.last_mut()
        && last.last().get() + 1 == page.first().get()
        && let Some(longer) = PageRange::new(last.first(), last.len() + page.len())
    {
        *last = longer;
        return;
    }
    ranges.push(page);
}

/// Pages that are to be stored, ascending, and what they do to the backup's sums.
#[derive(Debug, Clone, Default)]
pub(crate) struct Digest {
    /// The pages in `bytes`.
    pub(crate) data: Vec<PageRange>,
    /// The pages that are all zeros.
    pub(crate) zero: Vec<PageRange>,
    /// The hashes of the pages in `bytes`.
    pub(crate) hashes: Vec<PageHash>,
    /// Pages, one after another.
    pub(crate) bytes: Bytes,
    /// What is added to the parent's sums.
    pub(crate) gained: Tally,
    /// What is taken from the parent's sums.
    pub(crate) lost: Tally,
}

/// Sums over pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) terms: Sum,
    pub(crate) zeros: u64,
    pub(crate) pages: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, hasher: &PageHasher, page: u64, held: Held) {
        self.pages += 1;
        match held {
            Held::Zero => self.zeros += 1,
            Held::Page(hash) => self.terms.add(hasher.terms().page(page, &hash)),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.terms.add(other.terms);
        self.zeros += other.zeros;
        self.pages += other.pages;
    }
}

impl Digest {
    /// Looks at a run. With what the parent holds of each of its pages (`None`: nothing), pages that it
    /// holds alike are left out, but those of `again`: they are stored, and change no sums.
    pub(crate) fn of(
        hasher: &PageHasher,
        run: &PageRun,
        parent: Option<&[Option<Held>]>,
        again: &PageSet,
    ) -> Self {
        let size = run.page_size();
        let mut digest = Self::default();
        for (at, (page, content)) in
            run.range().pages().zip(run.bytes().chunks_exact(size.bytes())).enumerate()
        {
            let held = if is_zero(content) { Held::Zero } else { Held::Page(hasher.hash(content)) };
            let before = parent.and_then(|parent| parent.get(at).copied().flatten());
            if before == Some(held) {
                if !again.contains(page) {
                    continue;
                }
            } else {
                digest.gained.count(hasher, page.get(), held);
                if let Some(before) = before {
                    digest.lost.count(hasher, page.get(), before);
                }
            }
            let Some(range) = PageRange::new(page, 1) else { continue };
            match held {
                Held::Zero => extend(&mut digest.zero, range),
                Held::Page(hash) => {
                    extend(&mut digest.data, range);
                    digest.hashes.push(hash);
                }
            }
        }
        digest.bytes = digest.gather(run, size);
        digest
    }

    /// The bytes of the pages to be stored: where that is the whole run, the run's own, not a copy.
    fn gather(&self, run: &PageRun, size: PageSize) -> Bytes {
        if self.hashes.len() * size.bytes() == run.bytes().len() {
            return run.bytes().clone();
        }
        let mut kept = BytesMut::with_capacity(self.hashes.len() * size.bytes());
        for range in &self.data {
            let start = (range.first().get() - run.range().first().get()) as usize * size.bytes();
            kept.extend_from_slice(
                &run.bytes()[start..start + range.len() as usize * size.bytes()],
            );
        }
        kept.freeze()
    }

    /// Whether nothing is to be stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.zero.is_empty()
    }

    /// Adds the pages of a later digest at the end.
    pub(crate) fn append(&mut self, later: Self) {
        if self.is_empty() {
            let (gained, lost) = (self.gained, self.lost);
            *self = later;
            self.gained.add(&gained);
            self.lost.add(&lost);
            return;
        }
        later.data.into_iter().for_each(|range| extend(&mut self.data, range));
        later.zero.into_iter().for_each(|range| extend(&mut self.zero, range));
        self.hashes.extend(later.hashes);
        if !later.bytes.is_empty() {
            let mut bytes = BytesMut::with_capacity(self.bytes.len() + later.bytes.len());
            bytes.extend_from_slice(&self.bytes);
            bytes.extend_from_slice(&later.bytes);
            self.bytes = bytes.freeze();
        }
        self.gained.add(&later.gained);
        self.lost.add(&later.lost);
    }
}

#[cfg(test)]
mod tests {
    use mantis_page::PageNo;
    use proptest::prelude::*;

    use super::*;

    fn run(first: u64, pages: &[u8]) -> PageRun {
        let bytes: Vec<u8> = pages.iter().flat_map(|page| [*page; 512]).collect();
        PageRun::new(PageNo::new(first).unwrap(), PageSize::MIN, bytes.into()).unwrap()
    }

    proptest! {
        /// Storing what changed on top of the parent gives the new content, and its sums.
        #[test]
        fn changes_on_top_of_the_parent_give_the_whole(
            old in prop::collection::vec(0u8..3, 1..40),
            new in prop::collection::vec(0u8..3, 1..40),
            cut in 1usize..40,
            again in prop::collection::vec(1u64..40, 0..10),
        ) {
            let mut stored_again = PageSet::new();
            again.iter().for_each(|page| {
                stored_again.insert(PageNo::new(*page).unwrap());
            });
            let hasher = PageHasher::new([7; 32]);
            let whole = Digest::of(&hasher, &run(1, &new), None, &PageSet::new());
            let held = |page: &u8| match page {
                0 => Held::Zero,
                page => Held::Page(hasher.hash(&[*page; 512])),
            };
            let parent: Vec<Option<Held>> =
                (0..new.len()).map(|at| old.get(at).map(held)).collect();
            let cut = cut.min(new.len());
            let mut changed = Digest::of(&hasher, &run(1, &new[..cut]), Some(&parent[..cut]), &stored_again);
            if cut < new.len() {
                let rest = run(cut as u64 + 1, &new[cut..]);
                changed.append(Digest::of(&hasher, &rest, Some(&parent[cut..]), &stored_again));
            }
            let stored = |page: u64| changed.data.iter().chain(&changed.zero)
                .any(|range| range.pages().any(|stored| stored.get() == page));
            for page in again {
                prop_assert!(page > new.len() as u64 || stored(page), "page {page} is not stored again");
            }
            let mut image: Vec<u8> = old.clone();
            image.resize(new.len().max(old.len()), 9);
            let mut bytes = changed.bytes.chunks_exact(512);
            for page in changed.data.iter().flat_map(|range| range.pages()) {
                image[page.index() as usize] = bytes.next().unwrap()[0];
            }
            for page in changed.zero.iter().flat_map(|range| range.pages()) {
                image[page.index() as usize] = 0;
            }
            prop_assert_eq!(bytes.next(), None);
            prop_assert_eq!(&image[..new.len()], &new[..]);
            // The parent's sums, less what is past the new end.
            let mut sums = Tally::default();
            old.iter().take(new.len()).zip(1..).for_each(|(page, at)| sums.count(&hasher, at, held(page)));
            sums.add(&changed.gained);
            sums.terms.subtract(changed.lost.terms);
            prop_assert_eq!(sums.terms, whole.gained.terms);
            prop_assert_eq!(sums.zeros - changed.lost.zeros, whole.gained.zeros);
            prop_assert_eq!(sums.pages - changed.lost.pages, new.len() as u64);
        }
    }
}
