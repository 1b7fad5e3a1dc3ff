//! Moments of a watched database that wait while the store is gone, within bounds: where there are too many, those that are closest together become one.

use std::collections::VecDeque;
use std::sync::Arc;

use mantis_repo::{BackupInfo, SpoolOptions};
use mantis_snapshot::{CancelFlag, Coordinator, Engine, SnapshotError, SnapshotToken};
use tokio::time::Instant;

use super::backup::insert_past;
use super::queued_moment::{Moment, QueuedMoment, queued};
use crate::clock;

/// Moments that wait at most, however little they take.
const MOST: usize = 3600;
/// Moments that stay moments of their own, however much they take: where their pages are all others, one of them would take as much.
const LEAST: usize = 2;
/// So many become fewer for one that is to wait.
const AT_ONCE: usize = 4;

/// The backup that the first moment is built on, and by what the engine knows it.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) info: BackupInfo,
    pub(super) token: SnapshotToken,
}

/// Moments that wait, the oldest first, each built on the one before.
#[derive(Debug)]
pub(super) struct WatchQueue {
    options: SpoolOptions,
    moments: VecDeque<Arc<QueuedMoment>>,
}

/// What a moment is to be of.
pub(super) struct Wanted {
    pub(super) coordinator: Coordinator,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) name: String,
    pub(super) base: Base,
    /// When the source was looked at for it.
    pub(super) looked: Instant,
}

impl WatchQueue {
    pub(super) const fn new(options: SpoolOptions) -> Self {
        Self { options, moments: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.moments.len()
    }

    /// Bytes that they take on the disk. Those of all sources of this process are within the limit together.
    pub(super) fn len(&self) -> u64 {
        self.moments.iter().map(|moment| moment.len()).sum()
    }

    pub(super) fn pop(&mut self) -> Option<Arc<QueuedMoment>> {
        self.moments.pop_front()
    }

    pub(super) fn put_back(&mut self, moment: Arc<QueuedMoment>) {
        self.moments.push_front(moment);
    }

    pub(super) fn clear(&mut self) {
        self.moments.clear();
    }

    /// Makes one of the two moments that are closest together; `false` where there are no two.
    fn thin(&mut self) -> Result<bool, SnapshotError> {
        let gap = |at: &usize| {
            let of = |at: usize| self.moments.get(at).map(|queued| queued.moment.looked);
            of(at + 1).zip(of(*at)).map(|(later, earlier)| later.duration_since(earlier))
        };
        let pairs = 0..self.moments.len().saturating_sub(1);
        let Some(at) = pairs.min_by_key(gap) else { return Ok(false) };
        let two = self.moments.get(at).zip(self.moments.get(at + 1));
        let Some((earlier, later)) = two else { return Ok(false) };
        let merged = Arc::new(QueuedMoment::merged(earlier, later, &self.options.folder)?);
        self.moments.remove(at + 1);
        if let Some(place) = self.moments.get_mut(at) {
            *place = merged;
        }
        Ok(true)
    }

    /// Makes room for so many bytes; `false` where it cannot be had.
    fn make_room(&mut self, bytes: u64) -> Result<bool, SnapshotError> {
        let limit = self.options.limit;
        let fits = |queue: &Self| queue.count() < MOST && queued().saturating_add(bytes) <= limit;
        // To read and write all that waits takes time, in which nobody looks after the log.
        for _ in 0..AT_ONCE {
            if fits(self) || bytes > limit || self.count() <= LEAST || !self.thin()? {
                break;
            }
        }
        Ok(fits(self))
    }

    /// Takes a moment of the source as it is now and has it wait behind the others; `waits`: those that were taken out of the queue and are on
    /// their way. `false` where it is not known what changed, or there is no room for that: the engine keeps it in mind then, as before. Blocks.
    pub(super) fn take(
        &mut self,
        wanted: &Wanted,
        waits: Option<&QueuedMoment>,
    ) -> Result<bool, SnapshotError> {
        let newest = self.moments.back().map(|queued| &queued.moment);
        let newest = newest.or_else(|| waits.map(|queued| &queued.moment));
        let (baseline, page_count, page_size) = match newest {
            Some(Moment { token: Some(token), geometry, .. }) => {
                (token.clone(), geometry.page_count, geometry.page_size.get())
            }
            Some(Moment { token: None, .. }) => return Ok(false),
            None => {
                let Base { info, token } = &wanted.base;
                (token.clone(), info.meta.page_count, info.meta.page_size)
            }
        };
        let Wanted { coordinator, engine, name, looked, .. } = wanted;
        let snapshot =
            coordinator.begin(name, &**engine, Some(baseline.clone()), &CancelFlag::new())?;
        let geometry = snapshot.geometry();
        let Some(mut changed) = snapshot.changed()? else { return Ok(false) };
        if geometry.page_size.get() != page_size {
            return Ok(false);
        }
        // What is past the end of the one before counts as changed, whether the engine says so or not.
        insert_past(&mut changed, page_count, geometry.page_count);
        if !self.make_room(changed.len().saturating_mul(u64::from(page_size)))? {
            return Ok(false);
        }
        let moment = Moment {
            source: engine.info()?,
            point: snapshot.point().clone(),
            geometry,
            at: clock::now(),
            looked: *looked,
            baseline,
            token: None,
        };
        let taken = QueuedMoment::take(snapshot, changed, &self.options.folder, moment)?;
        self.moments.push_back(Arc::new(taken));
        Ok(true)
    }
}
