//! Which pages changed since the last seal, and whose seal that was.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

use mantis_page::{PageNo, PageRange, PageSet};

use crate::marks::{Marks, Taken};
use crate::sync::{Mutex, lock};

/// Pages changed since the last seal; marked by writers, sealed by a snapshot.
///
/// A mark costs a few nanoseconds and waits for nobody, beside a write of a page that costs
/// microseconds. A token names the moment of a seal whose backup stands; it is worth nothing in
/// another process or after the tracker is gone.
#[derive(Debug)]
pub struct DirtyPages {
    instance: u64,
    marks: Marks,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The token that the marks are relative to.
    since: Option<[u8; 16]>,
    seals: u64,
}

/// What a snapshot took from its tracker; goes back by [`DirtyPages::commit`] or
/// [`DirtyPages::abort`].
#[derive(Debug)]
pub struct Sealed {
    taken: Taken,
    /// The same as a set, made when it is first asked for: writers are not to wait for that.
    pages: OnceLock<PageSet>,
    since: Option<[u8; 16]>,
    seal: u64,
}

impl Sealed {
    /// The pages changed since the moment named by `token`, or `None` where that is not known.
    #[must_use]
    pub fn since(&self, token: &[u8]) -> Option<&PageSet> {
        let known = self.since.as_ref().map(<[u8; 16]>::as_slice) == Some(token);
        known.then(|| self.pages.get_or_init(|| self.taken.pages()))
    }
}

impl Default for DirtyPages {
    fn default() -> Self {
        let instance = RandomState::new().build_hasher().finish();
        Self { instance, marks: Marks::new(), state: Mutex::default() }
    }
}

impl DirtyPages {
    /// No page marked, no token valid.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Marks one page.
    pub fn mark(&self, page: PageNo) {
        PageRange::new(page, 1).into_iter().for_each(|range| self.marks.mark(range));
    }

    /// Marks every page of a range.
    pub fn mark_range(&self, range: PageRange) {
        self.marks.mark(range);
    }

    /// Whether the page of this index is marked for sure.
    #[inline]
    pub(crate) fn is_marked(&self, index: u64) -> bool {
        self.marks.is_marked(index)
    }

    /// Takes what was marked and starts anew. To be called at the freeze, with writers kept out.
    #[must_use]
    pub fn seal(&self) -> Sealed {
        let mut state = lock(&self.state);
        state.seals += 1;
        Sealed {
            taken: self.marks.take(),
            pages: OnceLock::new(),
            since: state.since.take(),
            seal: state.seals,
        }
    }

    /// The backup of a sealed set stands: a token for the next one. Where another seal was taken
    /// meanwhile, changes are scattered over both and the token will know nothing.
    #[must_use]
    pub fn commit(&self, sealed: &Sealed) -> [u8; 16] {
        let mut token = [0; 16];
        token[..8].copy_from_slice(&self.instance.to_le_bytes());
        token[8..].copy_from_slice(&sealed.seal.to_le_bytes());
        let mut state = lock(&self.state);
        if state.seals == sealed.seal {
            state.since = Some(token);
        }
        token
    }

    /// The backup of a sealed set did not come to be: its pages count as changed again.
    pub fn abort(&self, sealed: &Sealed) {
        let mut state = lock(&self.state);
        self.marks.put_back(&sealed.taken);
        if state.seals == sealed.seal {
            state.since = sealed.since;
        }
    }

    /// Something was written that the tracker did not see: no token is valid any more.
    pub fn forget(&self) {
        let mut state = lock(&self.state);
        state.since = None;
        // A seal that is out cannot make its token valid either.
        state.seals += 1;
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    fn page(number: u64) -> PageNo {
        PageNo::new(number).unwrap()
    }

    fn numbers(set: Option<&PageSet>) -> Option<Vec<u64>> {
        set.map(|set| set.pages().map(PageNo::get).collect())
    }

    #[test]
    fn a_committed_seal_starts_anew_and_an_aborted_one_comes_back() {
        let dirty = DirtyPages::new();
        dirty.mark(page(1));
        let first = dirty.seal();
        assert_eq!(first.since(&[]), None, "nothing is known before the first commit");
        let token = dirty.commit(&first);
        dirty.mark(page(2));
        let second = dirty.seal();
        assert_eq!(numbers(second.since(&token)), Some(vec![2]));
        dirty.mark(page(3));
        dirty.abort(&second);
        let third = dirty.seal();
        assert_eq!(numbers(third.since(&token)), Some(vec![2, 3]));
        assert_eq!(third.since(&[9; 16]), None);
    }

    #[test]
    fn overlapping_seals_never_claim_to_know() {
        let dirty = DirtyPages::new();
        let first = dirty.seal();
        dirty.mark(page(1));
        let second = dirty.seal();
        let early = dirty.commit(&first);
        dirty.mark(page(2));
        let third = dirty.seal();
        assert_eq!(third.since(&early), None, "page 1 is in the second seal");
        drop(second);
    }

    #[test]
    fn an_unseen_write_makes_every_token_worthless() {
        let dirty = DirtyPages::new();
        let first = dirty.seal();
        let token = dirty.commit(&first);
        dirty.forget();
        assert_eq!(dirty.seal().since(&token), None);
        let running = dirty.seal();
        dirty.forget();
        let token = dirty.commit(&running);
        assert_eq!(dirty.seal().since(&token), None);
    }

    #[test]
    fn a_seal_that_is_not_the_last_gives_a_token_that_nobody_relies_on() {
        let dirty = DirtyPages::new();
        dirty.mark(page(1));
        let first = dirty.seal();
        let second = dirty.seal();
        let token = dirty.commit(&first);
        assert_eq!(second.since(&token), None);
        assert_eq!(dirty.seal().since(&token), None);
        dirty.abort(&first);
    }
}
