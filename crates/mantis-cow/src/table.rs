//! Which page is saved for which generation.
//!
//! Every freeze opens an [`Epoch`]. A saved image carries the newest epoch of its time, `hi`, and
//! serves every snapshot whose epoch is greater than the page's previous `hi` and at most this one:
//! between two writes a page looks the same to all of them, so one image is enough.
//!
//! # The order that keeps readers right
//! A writer saves the image, publishes the epoch in the page's cell, and only then changes the page.
//! A reader takes the live page and only then looks at the cell: if it is still older than the
//! reader's epoch, the page had not been touched when it was read; otherwise what was read is thrown
//! away and the image is taken. The fences pair up as in a sequence lock (Boehm, "Can seqlocks get
//! along with programming language memory models?", 2012).
//!
//! # What the caller owes
//! No write may be between [`EpochTable::save`] and its end while [`EpochTable::open`] runs: the
//! engine's own lock gives that, or a gate such as the one in `CowFile`.

use std::collections::{BTreeMap, HashMap};

use smallvec::SmallVec;

use crate::leaves::{CAPACITY, Leaves};
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, fence, lock};
use crate::{CowError, Epoch};

/// The most pages a table can follow: page indices from 0 up to one less.
pub const MAX_PAGES: u64 = CAPACITY;

#[cfg(not(loom))]
const SHARDS: usize = 128;
#[cfg(loom)]
const SHARDS: usize = 1;

/// Images of one page, ascending by the epoch they serve up to.
type Chain<I> = SmallVec<[(Epoch, I); 1]>;
/// The chains of some of the pages.
type Shard<I> = Mutex<Pages<I>>;

/// What [`EpochTable::save`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// No snapshot needs this page's old content, or it was saved before.
    NotNeeded,
    /// The image was made and kept.
    Now,
}

/// A page as a snapshot sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageView<L, I> {
    /// Untouched since the freeze: what was read live.
    Live(L),
    /// Changed since the freeze: its before-image.
    Saved(I),
}

/// An open epoch.
#[derive(Debug)]
struct Open {
    epoch: Epoch,
    pages: u64,
    /// Pages before it are read no more.
    done: AtomicU64,
    lost: AtomicBool,
}

impl Open {
    /// Whether it still reads a page.
    fn reads(&self, index: u64) -> bool {
        (self.done.load(Ordering::Acquire)..self.pages).contains(&index)
    }
}

/// The images of some of the pages.
#[derive(Debug)]
struct Pages<I> {
    chains: HashMap<u64, Chain<I>>,
    /// The open epochs, ascending, as this shard knows them: what `open` and `close` tell each shard under its lock. So a writer asks for nothing
    /// that writers of other pages ask for, and an image that is put in was needed by an epoch that is still known here.
    open: Vec<Arc<Open>>,
}

impl<I> Default for Pages<I> {
    fn default() -> Self {
        Self { chains: HashMap::new(), open: Vec::new() }
    }
}

#[derive(Debug, Default)]
struct Active {
    last_epoch: u32,
    open: BTreeMap<Epoch, Arc<Open>>,
}

/// Takes those images of a page out that no open epoch needs. They are given back, to be dropped without a lock.
fn sift<I>(chain: &mut Chain<I>, index: u64, needs: &[Arc<Open>]) -> Vec<I> {
    let (mut below, mut freed) = (Epoch(0), Vec::new());
    for (hi, image) in std::mem::take(chain) {
        let serves = |open: &Arc<Open>| below < open.epoch && open.epoch <= hi && open.reads(index);
        if needs.iter().any(serves) {
            chain.push((hi, image));
        } else {
            freed.push(image);
        }
        below = hi;
    }
    freed
}

/// The copy-on-write table, generic over what an image is.
#[derive(Debug)]
pub struct EpochTable<I> {
    /// The newest open epoch; 0 while none is open.
    newest: AtomicU32,
    latest: Leaves,
    shards: Box<[Shard<I>]>,
    active: Mutex<Active>,
}

impl<I> Default for EpochTable<I> {
    fn default() -> Self {
        Self {
            newest: AtomicU32::new(0),
            latest: Leaves::new(),
            shards: (0..SHARDS).map(|_| Mutex::new(Pages::default())).collect(),
            active: Mutex::new(Active::default()),
        }
    }
}

impl<I: Clone> EpochTable<I> {
    /// A table with no snapshot.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn shard(&self, index: u64) -> &Shard<I> {
        &self.shards[(index % SHARDS as u64) as usize]
    }

    /// Opens the next epoch over the first `pages` pages. See the module for what the caller owes.
    ///
    /// # Errors
    /// [`CowError::TooManyPages`] past [`MAX_PAGES`]; [`CowError::EpochsExhausted`] after 2^32 - 1
    /// epochs.
    pub fn open(&self, pages: u64) -> Result<Epoch, CowError> {
        if pages > MAX_PAGES {
            return Err(CowError::TooManyPages { pages, max: MAX_PAGES });
        }
        let mut active = lock(&self.active);
        let number = active.last_epoch.checked_add(1).ok_or(CowError::EpochsExhausted)?;
        active.last_epoch = number;
        let open = Arc::new(Open {
            epoch: Epoch(number),
            pages,
            done: AtomicU64::new(0),
            lost: AtomicBool::new(false),
        });
        for shard in &self.shards {
            lock(shard).open.push(Arc::clone(&open));
        }
        active.open.insert(Epoch(number), open);
        self.newest.store(number, Ordering::Release);
        Ok(Epoch(number))
    }

    /// Closes an epoch and drops the images that only it needed. Closing twice does nothing.
    pub fn close(&self, epoch: Epoch) {
        {
            let mut active = lock(&self.active);
            if active.open.remove(&epoch).is_none() {
                return;
            }
            let newest = active.open.last_key_value().map_or(0, |(epoch, _)| epoch.0);
            self.newest.store(newest, Ordering::Release);
            // One after the other with whoever opens one, so that each shard has them in their order.
            for shard in &self.shards {
                lock(shard).open.retain(|open| open.epoch != epoch);
            }
        }
        // A freeze that keeps writers out does not wait for this.
        for shard in &self.shards {
            let mut freed = Vec::new();
            let mut pages = lock(shard);
            let Pages { chains, open } = &mut *pages;
            if open.is_empty() {
                let all = std::mem::take(chains);
                drop(pages);
                drop(all);
                continue;
            }
            chains.retain(|index, chain| {
                freed.extend(sift(chain, *index, open));
                !chain.is_empty()
            });
            drop(pages);
        }
    }

    /// Pages before `index` are read no more for an epoch: their images are dropped where nobody else needs them, and none is saved any more.
    pub fn release_before(&self, epoch: Epoch, index: u64) {
        let Some(open) = lock(&self.active).open.get(&epoch).cloned() else { return };
        let until = index.min(open.pages);
        // Before the images are looked at: what is saved after that is not saved for this epoch.
        let from = open.done.fetch_max(until, Ordering::AcqRel);
        for index in from..until {
            let cell = self.latest.existing(index);
            if cell.is_none_or(|cell| cell.load(Ordering::Acquire) < epoch.0) {
                continue;
            }
            let mut pages = lock(self.shard(index));
            let Pages { chains, open } = &mut *pages;
            let Some(chain) = chains.get_mut(&index) else { continue };
            let freed = sift(chain, index, open);
            if chain.is_empty() {
                chains.remove(&index);
            }
            drop(pages);
            drop(freed);
        }
    }

    /// Whether any snapshot is open: one atomic load.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.newest.load(Ordering::Acquire) == 0
    }

    /// To be called before a page is changed: saves its old content, made by `image`, where a
    /// snapshot needs it. With no snapshot this is one atomic load; for a page saved already, two.
    ///
    /// # Errors
    /// What `image` returned. The snapshots that needed the image are lost then; the caller goes on
    /// with its write all the same.
    pub fn save<E>(&self, index: u64, image: impl FnOnce() -> Result<I, E>) -> Result<Saved, E> {
        let newest = self.newest.load(Ordering::Acquire);
        if newest == 0 {
            return Ok(Saved::NotNeeded);
        }
        let Some(cell) = self.latest.cell(index) else {
            return Ok(Saved::NotNeeded);
        };
        if cell.load(Ordering::Acquire) >= newest {
            fence(Ordering::Release);
            return Ok(Saved::NotNeeded);
        }
        let result = self.save_slowly(index, cell, image);
        // Whoever sees a byte of the coming write must see the cell (or the loss) first.
        fence(Ordering::Release);
        result
    }

    fn save_slowly<E>(
        &self,
        index: u64,
        cell: &AtomicU32,
        image: impl FnOnce() -> Result<I, E>,
    ) -> Result<Saved, E> {
        let mut pages = lock(self.shard(index));
        let Pages { chains, open } = &mut *pages;
        let have = Epoch(cell.load(Ordering::Relaxed));
        let Some(newest) = open.last().map(|open| open.epoch) else {
            return Ok(Saved::NotNeeded);
        };
        if have >= newest {
            return Ok(Saved::NotNeeded);
        }
        let waiting = || open.iter().filter(|open| open.epoch > have && open.reads(index));
        let mut saved = Saved::NotNeeded;
        if waiting().any(|open| !open.lost.load(Ordering::Relaxed)) {
            match image() {
                Ok(image) => chains.entry(index).or_default().push((newest, image)),
                Err(error) => {
                    for open in waiting() {
                        open.lost.store(true, Ordering::Release);
                    }
                    return Err(error);
                }
            }
            saved = Saved::Now;
        }
        cell.store(newest.0, Ordering::Release);
        Ok(saved)
    }

    /// The image of a page for a snapshot, or `None` where the live page is still the right one. Not to be asked for a page that was
    /// released.
    #[must_use]
    pub fn saved(&self, epoch: Epoch, index: u64) -> Option<I> {
        if self.latest.existing(index)?.load(Ordering::Acquire) < epoch.0 {
            return None;
        }
        let pages = lock(self.shard(index));
        pages
            .chains
            .get(&index)?
            .iter()
            .find(|(hi, _)| *hi >= epoch)
            .map(|(_, image)| image.clone())
    }

    /// A page as the snapshot sees it; `live` reads the page itself and may read it torn.
    pub fn read<L>(&self, epoch: Epoch, index: u64, live: impl FnOnce() -> L) -> PageView<L, I> {
        if let Some(image) = self.saved(epoch, index) {
            return PageView::Saved(image);
        }
        let page = live();
        fence(Ordering::Acquire);
        match self.saved(epoch, index) {
            Some(image) => PageView::Saved(image),
            None => PageView::Live(page),
        }
    }

    /// Whether an image that this snapshot needs could not be saved. To be asked after the pages
    /// were read: an answer of `false` then covers all that was read.
    #[must_use]
    pub fn is_lost(&self, epoch: Epoch) -> bool {
        fence(Ordering::Acquire);
        lock(&self.active).open.get(&epoch).is_none_or(|open| open.lost.load(Ordering::Acquire))
    }

    /// Gives up a snapshot from outside: all its reads fail from now on.
    pub fn mark_lost(&self, epoch: Epoch) {
        if let Some(open) = lock(&self.active).open.get(&epoch) {
            open.lost.store(true, Ordering::Release);
        }
    }

    /// How many images are kept.
    #[must_use]
    pub fn images(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(shard).chains.values().map(SmallVec::len).sum::<usize>())
            .sum()
    }
}
