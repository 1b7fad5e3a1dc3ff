//! Takes snapshots: at most N at once, with a limit to each one's life.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use mantis_page::Lsn;

use crate::sync::{Arc, Condvar, Mutex, MutexGuard};
use crate::{
    CancelFlag, Engine, FreezeRequest, Snapshot, SnapshotConfig, SnapshotError, SnapshotState,
    SnapshotStatus, SnapshotToken, WhenFull,
};

/// How many ended snapshots stay in the list.
const REMEMBERED: usize = 32;
/// How often a waiting snapshot looks whether it was cancelled.
const WAIT_STEP: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Entry {
    id: u64,
    /// Whether it takes a place: from before the freeze until the engine is released, whatever its state says by then.
    takes_place: bool,
    source: String,
    state: SnapshotState,
    lsn: Option<Lsn>,
    asked: Instant,
}

#[derive(Debug, Default)]
struct Table {
    last_id: u64,
    entries: VecDeque<Entry>,
}

impl Table {
    fn open(&self) -> usize {
        self.entries.iter().filter(|entry| entry.takes_place).count()
    }
}

#[derive(Debug)]
struct Inner {
    config: SnapshotConfig,
    table: Mutex<Table>,
    released: Condvar,
}

/// Takes snapshots of any number of engines. Cheap to clone; clones share the limit.
#[derive(Debug, Clone)]
pub struct Coordinator(Arc<Inner>);

impl Coordinator {
    /// A coordinator with no snapshot open.
    #[must_use]
    pub fn new(config: SnapshotConfig) -> Self {
        let config = SnapshotConfig { max_concurrent: config.max_concurrent.max(1), ..config };
        Self(Arc::new(Inner { config, table: Mutex::default(), released: Condvar::new() }))
    }

    /// How snapshots are taken.
    #[must_use]
    pub fn config(&self) -> &SnapshotConfig {
        &self.0.config
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one moment of `engine`. Blocks: for a free slot, and for the moment.
    ///
    /// # Errors
    /// [`SnapshotError::TooMany`], [`SnapshotError::TimedOut`], [`SnapshotError::Cancelled`], or what
    /// the engine reports.
    pub fn begin(
        &self,
        source: &str,
        engine: &dyn Engine,
        baseline: Option<SnapshotToken>,
        cancel: &CancelFlag,
    ) -> Result<Snapshot, SnapshotError> {
        let config = &self.0.config;
        let request = FreezeRequest {
            deadline: Instant::now().checked_add(config.freeze_timeout),
            patience: config.freeze_timeout,
            cancel: cancel.clone(),
            baseline,
            temp_folder: config.temp_folder.clone(),
        };
        let slot = self.take_slot(source, &request)?;
        let frozen = engine.checkpoint(&request).and_then(|()| engine.freeze(&request));
        let frozen = match frozen {
            Ok(frozen) => frozen,
            Err(error) => {
                let cancelled = error.is_cancelled();
                slot.mark(if cancelled { SnapshotState::Cancelled } else { SnapshotState::Failed });
                return Err(error);
            }
        };
        slot.update(SnapshotState::Streaming, Some(frozen.point().lsn));
        Snapshot::start(source, frozen, slot, config)
    }

    fn take_slot(&self, source: &str, request: &FreezeRequest) -> Result<Slot, SnapshotError> {
        let limit = self.0.config.max_concurrent;
        let mut table = self.table();
        while table.open() >= limit {
            if self.0.config.when_full == WhenFull::Refuse {
                return Err(SnapshotError::TooMany { limit });
            }
            request.check("wait for a free snapshot of", source)?;
            let waited = self.0.released.wait_timeout(table, WAIT_STEP);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        table.last_id += 1;
        let id = table.last_id;
        table.entries.push_back(Entry {
            id,
            takes_place: true,
            source: source.to_owned(),
            state: SnapshotState::Creating,
            lsn: None,
            asked: Instant::now(),
        });
        Ok(Slot { coordinator: self.clone(), id })
    }

    /// The open snapshots and the latest that ended, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<SnapshotStatus> {
        let status = |entry: &Entry| SnapshotStatus {
            id: entry.id,
            source: entry.source.clone(),
            state: entry.state,
            lsn: entry.lsn,
            age: entry.asked.elapsed(),
        };
        self.table().entries.iter().map(status).collect()
    }
}

/// A place among the open snapshots; given back when the engine is released.
#[derive(Debug)]
pub(crate) struct Slot {
    coordinator: Coordinator,
    pub(crate) id: u64,
}

impl Slot {
    fn update(&self, state: SnapshotState, lsn: Option<Lsn>) {
        let mut table = self.coordinator.table();
        if let Some(entry) = table.entries.iter_mut().find(|entry| entry.id == self.id)
            && !entry.state.is_final()
        {
            entry.state = state;
            entry.lsn = lsn.or(entry.lsn);
        }
    }

    /// Sets the final state, unless one is set already. The place stays taken.
    pub(crate) fn mark(&self, state: SnapshotState) {
        self.update(state, None);
    }

    /// Gives the place back: the engine is released.
    pub(crate) fn give_back(&self) {
        let mut table = self.coordinator.table();
        if let Some(entry) = table.entries.iter_mut().find(|entry| entry.id == self.id) {
            entry.takes_place = false;
        }
        let ended = table.entries.iter().filter(|entry| !entry.takes_place).count();
        if ended > REMEMBERED {
            let oldest = table.entries.iter().position(|entry| !entry.takes_place);
            oldest.and_then(|at| table.entries.remove(at));
        }
        drop(table);
        self.coordinator.0.released.notify_all();
    }

    pub(crate) fn state(&self) -> SnapshotState {
        let table = self.coordinator.table();
        let entry = table.entries.iter().find(|entry| entry.id == self.id);
        entry.map_or(SnapshotState::Cancelled, |entry| entry.state)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.mark(SnapshotState::Cancelled);
        self.give_back();
    }
}
