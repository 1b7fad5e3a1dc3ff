//! The handle of one moment.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mantis_page::{PageNo, PageRange, PageRun, PageSet};

use crate::coordinator::Slot;
use crate::sync::{Arc, Builder, RwLock, Sender, channel, outlasts};
use crate::{
    Changed, ConsistencyPoint, FreezeWay, FrozenPages, Geometry, Outcome, SnapshotConfig,
    SnapshotError, SnapshotState, SnapshotToken, Taken,
};

type Frozen = Arc<RwLock<Option<Box<dyn FrozenPages>>>>;

/// One moment of a database. Dropping it releases the engine, whatever state it is in.
pub struct Snapshot {
    source: String,
    point: ConsistencyPoint,
    began: Instant,
    geometry: Geometry,
    verify: bool,
    frozen: Frozen,
    slot: Arc<Slot>,
    timeout: Option<Duration>,
    /// Dropped with the handle: tells the watchdog to go home.
    watchdog: Option<Sender<()>>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("Snapshot")
            .field("source", &self.source)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// Releases the engine, if nobody has, and gives the place back. Whoever comes second waits until the first is through: the engine is
/// released when this returns.
fn release(frozen: &Frozen, slot: &Slot, state: SnapshotState) {
    let mut held = frozen.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(frozen) = held.take() {
        slot.mark(state);
        drop(frozen);
        slot.give_back();
    }
}

/// Releases the engine when a snapshot outlives its limit, even while nobody touches the handle.
fn watch(frozen: &Frozen, slot: &Arc<Slot>, timeout: Duration) -> std::io::Result<Sender<()>> {
    let (home, wait) = channel::<()>();
    let (frozen, slot) = (Arc::downgrade(frozen), Arc::downgrade(slot));
    Builder::new().name("snapshot-watchdog".into()).spawn(move || {
        if outlasts(&wait, timeout)
            && let (Some(frozen), Some(slot)) = (frozen.upgrade(), slot.upgrade())
        {
            release(&frozen, &slot, SnapshotState::Failed);
        }
    })?;
    Ok(home)
}

impl Snapshot {
    pub(crate) fn start(
        source: &str,
        frozen: Box<dyn FrozenPages>,
        slot: Slot,
        config: &SnapshotConfig,
    ) -> Result<Self, SnapshotError> {
        let (point, geometry) = (frozen.point().clone(), frozen.geometry());
        let (frozen, slot) = (Arc::new(RwLock::new(Some(frozen))), Arc::new(slot));
        let watchdog = config.timeout.map(|timeout| watch(&frozen, &slot, timeout)).transpose();
        let watchdog = watchdog
            .map_err(|error| SnapshotError::engine("watch over the snapshot of", source, error))?;
        Ok(Self {
            source: source.to_owned(),
            point,
            began: Instant::now(),
            geometry,
            verify: config.verify,
            frozen,
            slot,
            timeout: config.timeout,
            watchdog,
        })
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&dyn FrozenPages) -> Result<T, SnapshotError>,
    ) -> Result<T, SnapshotError> {
        match &*self.frozen.read().unwrap_or_else(PoisonError::into_inner) {
            Some(frozen) => work(&**frozen),
            None => Err(self.released()),
        }
    }

    fn released(&self) -> SnapshotError {
        match self.timeout {
            Some(after) if self.state() == SnapshotState::Failed => {
                let object = self.source.clone();
                SnapshotError::TimedOut { doing: "read the snapshot of", object, after }
            }
            _ => SnapshotError::Cancelled,
        }
    }

    /// Its number, unique within its coordinator.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.slot.id
    }

    /// Which moment.
    #[must_use]
    pub const fn point(&self) -> &ConsistencyPoint {
        &self.point
    }

    /// How long writers were kept from committing for it, so far: by the freeze, and where its way keeps them out until the last page is
    /// read, ever since.
    #[must_use]
    pub fn writers_held(&self) -> Duration {
        let since = match self.point.way {
            FreezeWay::BlockingReadLock => self.began.elapsed(),
            _ => Duration::ZERO,
        };
        self.point.writers_held + since
    }

    /// How many pages of what size.
    #[must_use]
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> SnapshotState {
        self.slot.state()
    }

    /// The pages changed since the baseline, where the engine knows them; pages past the baseline's
    /// end may be missing from the set and count as changed.
    ///
    /// # Errors
    /// Where the snapshot was released.
    pub fn changed(&self) -> Result<Option<PageSet>, SnapshotError> {
        self.with(|frozen| {
            Ok(match frozen.changed() {
                Changed::Unknown => None,
                Changed::Pages(pages) => Some(pages.clone()),
            })
        })
    }

    /// Fills `buf`, a whole number of pages, with the pages from `first` on.
    ///
    /// # Errors
    /// What the engine reports; [`SnapshotError::TimedOut`] past the limit to the snapshot's life.
    pub fn read_pages(&self, first: PageNo, buf: &mut [u8]) -> Result<(), SnapshotError> {
        self.with(|frozen| {
            frozen.read_pages(first, buf)?;
            if self.verify { frozen.health() } else { Ok(()) }
        })
    }

    /// Pages before `first` are read no more: who reads in order says so after each read, and spares the database's writer the copies of
    /// pages that were read already.
    pub fn release_before(&self, first: PageNo) {
        // One that was released as a whole has nothing to give back.
        let _ = self.with(|frozen| {
            frozen.release_before(first);
            Ok(())
        });
    }

    /// Reads adjacent pages into a buffer of their own.
    ///
    /// # Errors
    /// As [`Self::read_pages`].
    pub fn read_run(&self, range: PageRange) -> Result<PageRun, SnapshotError> {
        let size = self.geometry.page_size;
        let mut buf = vec![0; range.len() as usize * size.bytes()];
        self.read_pages(range.first(), &mut buf)?;
        PageRun::new(range.first(), size, Bytes::from(buf)).map_err(|error| SnapshotError::Read {
            object: self.source.clone(),
            first: range.first(),
            source: error.into(),
        })
    }

    /// Pages that were copied to hold the moment, so far: before-images, and all pages where they were spooled.
    ///
    /// # Errors
    /// Where the snapshot was released.
    pub fn taken(&self) -> Result<Taken, SnapshotError> {
        self.with(|frozen| Ok(frozen.taken()))
    }

    /// Whether everything read so far is of the moment.
    ///
    /// # Errors
    /// [`SnapshotError::Lost`] where it may not be.
    pub fn health(&self) -> Result<(), SnapshotError> {
        self.with(|frozen| frozen.health())
    }

    /// Ends the snapshot and releases the engine. Committed, it gives the token for the next one.
    ///
    /// # Errors
    /// As [`Self::health`]; the engine is released all the same.
    pub fn finish(mut self, outcome: Outcome) -> Result<Option<SnapshotToken>, SnapshotError> {
        self.watchdog = None;
        let frozen = self.frozen.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut frozen) = frozen else { return Err(self.released()) };
        let token = frozen.finish(outcome);
        drop(frozen);
        self.slot.mark(match (&token, outcome) {
            (Ok(_), Outcome::Committed) => SnapshotState::Completed,
            (Ok(_), Outcome::Aborted) => SnapshotState::Cancelled,
            (Err(_), _) => SnapshotState::Failed,
        });
        self.slot.give_back();
        token
    }

    /// Ends the snapshot because something went wrong elsewhere.
    pub fn fail(self) {
        release(&self.frozen, &self.slot, SnapshotState::Failed);
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        release(&self.frozen, &self.slot, SnapshotState::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{CancelFlag, Coordinator, Engine, MemoryEngine, WhenFull};
    use mantis_page::PageSize;

    fn engine() -> MemoryEngine {
        MemoryEngine::new(PageSize::MIN, 8)
    }

    fn begin(coordinator: &Coordinator, engine: &dyn Engine) -> Result<Snapshot, SnapshotError> {
        coordinator.begin("memory", engine, None, &CancelFlag::new())
    }

    fn states(coordinator: &Coordinator) -> Vec<SnapshotState> {
        coordinator.list().into_iter().map(|status| status.state).collect()
    }

    #[test]
    fn one_too_many_is_refused_or_waits() {
        let config =
            SnapshotConfig { max_concurrent: 1, when_full: WhenFull::Refuse, ..Default::default() };
        let coordinator = Coordinator::new(config.clone());
        let held = begin(&coordinator, &engine()).unwrap();
        assert!(matches!(begin(&coordinator, &engine()), Err(SnapshotError::TooMany { limit: 1 })));
        drop(held);
        begin(&coordinator, &engine()).unwrap();

        let config = SnapshotConfig { when_full: WhenFull::Wait, ..config };
        let coordinator = Coordinator::new(config);
        let held = begin(&coordinator, &engine()).unwrap();
        let release = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(60));
            drop(held);
        });
        begin(&coordinator, &engine()).unwrap();
        release.join().unwrap();
    }

    #[test]
    fn a_wait_ends_at_its_timeout_or_when_cancelled() {
        let freeze_timeout = Duration::from_millis(50);
        let config = SnapshotConfig { max_concurrent: 1, freeze_timeout, ..Default::default() };
        let coordinator = Coordinator::new(config);
        let _held = begin(&coordinator, &engine()).unwrap();
        assert!(matches!(begin(&coordinator, &engine()), Err(SnapshotError::TimedOut { .. })));
        let cancel = CancelFlag::new();
        cancel.cancel();
        let cancelled = coordinator.begin("memory", &engine(), None, &cancel);
        assert!(matches!(cancelled, Err(SnapshotError::Cancelled)));
    }

    #[test]
    fn every_end_shows_in_the_list_and_releases_the_engine() {
        let coordinator =
            Coordinator::new(SnapshotConfig { max_concurrent: 9, ..Default::default() });
        let engine = engine();
        begin(&coordinator, &engine).unwrap().finish(Outcome::Committed).unwrap();
        begin(&coordinator, &engine).unwrap().finish(Outcome::Aborted).unwrap();
        begin(&coordinator, &engine).unwrap().fail();
        drop(begin(&coordinator, &engine).unwrap());
        let open = begin(&coordinator, &engine).unwrap();
        use SnapshotState::{Cancelled, Completed, Failed, Streaming};
        assert_eq!(states(&coordinator), [Completed, Cancelled, Failed, Cancelled, Streaming]);
        assert_eq!(engine.open_snapshots(), 1);
        drop(open);
        assert_eq!(engine.open_snapshots(), 0);
    }

    #[test]
    fn past_its_limit_a_forgotten_snapshot_is_released() {
        let timeout = Some(Duration::from_millis(30));
        let coordinator = Coordinator::new(SnapshotConfig { timeout, ..Default::default() });
        let engine = engine();
        let forgotten = begin(&coordinator, &engine).unwrap();
        let patience = Instant::now() + Duration::from_secs(20);
        while engine.open_snapshots() > 0 && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(engine.open_snapshots(), 0);
        let read = forgotten.read_pages(PageNo::FIRST, &mut [0; 512]);
        assert!(matches!(read, Err(SnapshotError::TimedOut { .. })));
        assert_eq!(states(&coordinator), [SnapshotState::Failed]);
        assert!(forgotten.finish(Outcome::Committed).is_err());
    }
}
