//! Which way large objects go to a local disk: past the page cache, or through it and out of it again.
//!
//! Past it saves the processor a copy, and is the faster on disks that take small writes quickly. Where each sync makes the disk wait, as on many
//! virtual ones, what goes through the cache reaches it in fewer and longer writes: there it takes two thirds of the time. No file system tells
//! which of the two it is, so both are tried and measured, and the other one again now and then.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Past the page cache.
    Direct,
    /// Through the page cache, which is emptied of it once it is on the disk.
    Cached,
}

/// Objects that go either way in turn, at first.
const TRIALS: u64 = 8;
/// Of so many objects one goes the other way later.
const AGAIN: u64 = 32;
/// What a new time counts for beside those before it.
const WEIGHT: f64 = 0.25;
/// The cache is to save so much at least: it takes processor time that is not measured here.
const WORTH: f64 = 0.9;

#[derive(Debug, Default)]
struct Tally {
    chosen: u64,
    /// Nanoseconds a byte, as of late: past the cache, and through it.
    direct: Option<f64>,
    cached: Option<f64>,
}

impl Tally {
    fn best(&self) -> Way {
        match (self.direct, self.cached) {
            (Some(direct), Some(cached)) if cached < direct * WORTH => Way::Cached,
            _ => Way::Direct,
        }
    }
}

/// What was measured of a store's disk.
#[derive(Debug, Default)]
pub(crate) struct Ways(Mutex<Tally>);

impl Ways {
    /// The way of the next object.
    pub(crate) fn choose(&self) -> Way {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tally.chosen += 1;
        let best = tally.best();
        let other = if best == Way::Direct { Way::Cached } else { Way::Direct };
        match tally.chosen {
            early @ ..=TRIALS if early % 2 == 1 => Way::Direct,
            ..=TRIALS => Way::Cached,
            late if late % AGAIN == 0 => other,
            _ => best,
        }
    }

    /// How long an object of so many bytes took, from its first byte until it was on the disk.
    pub(crate) fn took(&self, way: Way, bytes: u64, time: Duration) {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = time.as_secs_f64() * 1e9 / bytes.max(1) as f64;
        let known = match way {
            Way::Direct => &mut tally.direct,
            Way::Cached => &mut tally.cached,
        };
        *known = Some(known.map_or(now, |before| before + (now - before) * WEIGHT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of some objects went through the cache, where either way takes so many microseconds.
    fn cached(ways: &Ways, objects: u64, direct: u64, cached: u64) -> u64 {
        let mut through = 0;
        for _ in 0..objects {
            let way = ways.choose();
            let micros = if way == Way::Direct { direct } else { cached };
            through += u64::from(way == Way::Cached);
            ways.took(way, 1 << 20, Duration::from_micros(micros));
        }
        through
    }

    #[test]
    fn both_are_tried_and_the_better_one_is_taken() {
        let ways = Ways::default();
        assert_eq!(cached(&ways, TRIALS, 3000, 2000), TRIALS / 2);
        assert_eq!(cached(&ways, 64, 3000, 2000), 62, "and the other one now and then");
        let ways = Ways::default();
        cached(&ways, TRIALS, 2000, 3000);
        assert_eq!(cached(&ways, 64, 2000, 3000), 2);
        let ways = Ways::default();
        cached(&ways, TRIALS, 2000, 1900);
        assert_eq!(cached(&ways, 64, 2000, 1900), 2, "not for that little");
    }

    #[test]
    fn a_disk_that_becomes_another_is_noticed() {
        let ways = Ways::default();
        cached(&ways, 100, 2000, 3000);
        cached(&ways, 10 * AGAIN, 5000, 3000);
        assert!(cached(&ways, 64, 5000, 3000) >= 60);
    }
}
