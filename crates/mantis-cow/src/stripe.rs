//! Buffers and counts of a shelf, in parts, so that threads that write at once do not wait for each other.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many parts there are.
const STRIPES: usize = 16;
/// Bytes of buffers that a part takes from the common ones at once, and keeps twice of.
const BATCH_BYTES: usize = 256 << 10;
/// Buffers kept in common until [`Stripes::rest`], so that saving an image does not fault in fresh memory.
const POOLED_BYTES: usize = 8 << 20;

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The part that this thread puts images into.
fn own() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    OWN.with(|own| *own)
}

/// What one part holds.
#[derive(Debug, Default)]
struct Stripe {
    pool: Vec<Box<[u8]>>,
    /// Bytes of the limit that it took and that no image of its takes.
    credit: u64,
    counts: Counts,
}

/// What was put into a part, or into all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Images held.
    pub(crate) images: u64,
    /// Bytes of those in memory.
    pub(crate) memory: u64,
    /// Images since the beginning.
    pub(crate) saved: u64,
    /// Those of them that went to the spill file.
    pub(crate) spilled: u64,
}

/// A part alone on its cache lines: two parts on one would be waited for as one.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Alone(Mutex<Stripe>);

/// Where an image is to be kept.
#[derive(Debug)]
pub(crate) struct Slot {
    /// A buffer of one block, whose content is undefined.
    pub(crate) buffer: Box<[u8]>,
    /// Whether it may stay in memory.
    pub(crate) fits: bool,
    /// The part that it is counted in.
    pub(crate) stripe: u8,
}

/// All parts, under one limit of memory.
#[derive(Debug)]
pub(crate) struct Stripes {
    block: usize,
    /// Bytes of images in memory, at most.
    limit: u64,
    /// Bytes that parts have taken of it.
    taken: AtomicU64,
    common: Mutex<Vec<Box<[u8]>>>,
    stripes: [Alone; STRIPES],
}

impl Stripes {
    pub(crate) fn new(block: usize, limit: u64) -> Self {
        let (taken, common, stripes) = Default::default();
        Self { block, limit, taken, common, stripes }
    }

    /// Buffers that go at once from a part to the common ones, or back.
    const fn batch(&self) -> usize {
        let batch = BATCH_BYTES / self.block;
        if batch < 4 { 4 } else { batch }
    }

    /// Bytes of the limit that a part takes at once: little of it is in the hands of parts that do not need it.
    fn credit(&self) -> u64 {
        let block = self.block as u64;
        (self.limit / 256).clamp(block, (BATCH_BYTES as u64).max(block)) / block * block
    }

    fn stripe(&self, at: u8) -> MutexGuard<'_, Stripe> {
        locked(&self.stripes[usize::from(at) % STRIPES].0)
    }

    /// Whether another image fits the limit; counts it if so.
    fn reserve(&self, stripe: &mut Stripe) -> bool {
        let block = self.block as u64;
        if stripe.credit < block {
            // Where a whole credit does not fit, an image may.
            for wanted in [self.credit(), block] {
                let fits = |taken: u64| taken.checked_add(wanted).filter(|sum| *sum <= self.limit);
                let took = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
                if took.is_ok() {
                    stripe.credit += wanted;
                    break;
                }
            }
        }
        let fits = stripe.credit >= block;
        if fits {
            stripe.credit -= block;
            stripe.counts.memory += block;
        }
        fits
    }

    /// A place for an image, which counts as held from now on.
    pub(crate) fn take(&self) -> Slot {
        let at = own();
        let mut stripe = locked(&self.stripes[at].0);
        if stripe.pool.is_empty() {
            let mut common = locked(&self.common);
            let from = common.len().saturating_sub(self.batch());
            stripe.pool.extend(common.drain(from..));
        }
        let pooled = stripe.pool.pop();
        let fits = self.reserve(&mut stripe);
        stripe.counts.images += 1;
        stripe.counts.saved += 1;
        stripe.counts.spilled += u64::from(!fits);
        drop(stripe);
        let buffer = pooled.unwrap_or_else(|| vec![0; self.block].into_boxed_slice());
        Slot { buffer, fits, stripe: at as u8 }
    }

    /// Takes back what was to become an image.
    pub(crate) fn undo(&self, slot: Slot) {
        let mut stripe = self.stripe(slot.stripe);
        stripe.counts.saved -= 1;
        stripe.counts.spilled -= u64::from(!slot.fits);
        self.end(&mut stripe, slot.fits);
        self.recycle(&mut stripe, slot.buffer);
    }

    /// Takes the buffer of an image that went to the spill file.
    pub(crate) fn spilled(&self, slot: Slot) {
        let mut stripe = self.stripe(slot.stripe);
        self.recycle(&mut stripe, slot.buffer);
    }

    /// An image is dropped; `buffer` where it was in memory.
    pub(crate) fn release(&self, at: u8, buffer: Option<Box<[u8]>>) {
        let mut stripe = self.stripe(at);
        self.end(&mut stripe, buffer.is_some());
        if let Some(buffer) = buffer {
            self.recycle(&mut stripe, buffer);
        }
    }

    fn end(&self, stripe: &mut Stripe, was_in_memory: bool) {
        let block = self.block as u64;
        stripe.counts.images -= 1;
        if was_in_memory {
            stripe.counts.memory -= block;
            stripe.credit += block;
        }
        let kept = if stripe.counts.images == 0 { 0 } else { self.credit() };
        if stripe.credit > 2 * kept {
            self.taken.fetch_sub(stripe.credit - kept, Ordering::Relaxed);
            stripe.credit = kept;
        }
    }

    fn recycle(&self, stripe: &mut Stripe, buffer: Box<[u8]>) {
        stripe.pool.push(buffer);
        let batch = self.batch();
        if stripe.pool.len() >= 2 * batch {
            let mut common = locked(&self.common);
            let room = (POOLED_BYTES / self.block).saturating_sub(common.len());
            // What the common ones have no room for goes.
            common.extend(stripe.pool.drain(batch..).take(room));
        }
    }

    /// Makes buffers ready in common, until there are so many.
    pub(crate) fn prepare(&self, wanted: usize) {
        while locked(&self.common).len() < wanted {
            // Not zeros: pages of zeros would be handed out by the first write all the same.
            let buffer = vec![0xA5; self.block].into_boxed_slice();
            locked(&self.common).push(buffer);
        }
    }

    /// Gives the buffers back that wait for images, where none is held.
    pub(crate) fn rest(&self) {
        if self.counts().images == 0 {
            for stripe in &self.stripes {
                locked(&stripe.0).pool = Vec::new();
            }
            *locked(&self.common) = Vec::new();
        }
    }

    /// What all parts hold together.
    pub(crate) fn counts(&self) -> Counts {
        let counts = self.stripes.iter().map(|stripe| locked(&stripe.0).counts);
        counts.fold(Counts::default(), |sum, part| Counts {
            images: sum.images + part.images,
            memory: sum.memory + part.memory,
            saved: sum.saved + part.saved,
            spilled: sum.spilled + part.spilled,
        })
    }

    /// Buffers that wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        let pools = self.stripes.iter().map(|stripe| locked(&stripe.0).pool.len());
        pools.sum::<usize>() + locked(&self.common).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_fill_the_limit_together_and_give_all_of_it_back() {
        let stripes = Stripes::new(512, 512 * 1000);
        let held: Vec<Vec<Slot>> = std::thread::scope(|scope| {
            let each = || (0..400).map(|_| stripes.take()).collect();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(each)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let held: Vec<Slot> = held.into_iter().flatten().collect();
        let fits = held.iter().filter(|slot| slot.fits).count() as u64;
        // Each of the other parts may hold a credit that it does not need.
        assert!((1000 - 4 * stripes.credit() / 512..=1000).contains(&fits), "{fits}");
        let counts = Counts { images: 1600, memory: fits * 512, saved: 1600, spilled: 1600 - fits };
        assert_eq!(stripes.counts(), counts);
        for slot in held {
            let (at, fits) = (slot.stripe, slot.fits);
            stripes.release(at, fits.then_some(slot.buffer));
        }
        assert_eq!(stripes.counts(), Counts { images: 0, memory: 0, ..counts });
        assert_eq!(stripes.taken.load(Ordering::Relaxed), 0);
        stripes.rest();
        assert_eq!(stripes.waiting(), 0);
    }

    #[test]
    fn a_small_limit_is_used_to_the_last_block() {
        let stripes = Stripes::new(65536, 3 * 65536 + 1);
        let held: Vec<bool> = (0..5).map(|_| stripes.take().fits).collect();
        assert_eq!(held, [true, true, true, false, false]);
    }

    #[test]
    fn what_comes_to_nothing_counts_for_nothing() {
        let stripes = Stripes::new(512, 512);
        let (kept, spilled) = (stripes.take(), stripes.take());
        stripes.undo(kept);
        stripes.undo(spilled);
        assert_eq!(stripes.counts(), Counts::default());
        assert!(stripes.take().fits);
    }
}
