//! Runs under way, and how far they are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use mantis_schedule::Run;
use mantis_stream::{CancellationToken, ProgressTracker};
use serde_json::{Value, json};

use super::records::ONCE;
use super::{Entry, Supervisor};
use crate::config::Action;

/// A run under way.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) entry: Entry,
    pub(super) run: Run,
    pub(super) began: Instant,
    pub(super) cancel: CancellationToken,
    pub(super) progress: Arc<ProgressTracker>,
}

impl UnderWay {
    /// Whether the next daemon begins it again: the agenda has it.
    pub(super) fn is_kept(&self) -> bool {
        self.run.run != ONCE
    }

    /// What is told of it to who asks.
    pub(super) fn describe(&self) -> Value {
        let progress = self.progress.get();
        json!({
            "job": self.entry.id,
            "do": self.entry.action,
            "attempt": self.run.attempt,
            "scheduled": self.run.scheduled,
            "seconds": self.began.elapsed().as_secs(),
            "bytes": progress.bytes,
            "bytes_total": progress.bytes_total,
            "bytes_stored": progress.bytes_out,
            "bytes_per_second": progress.rate as u64,
            "eta_seconds": progress.eta.map(|eta| eta.as_secs()),
            "writers_held_ms": progress.writers_held.map(|held| held.as_millis() as u64),
        })
    }
}

impl Supervisor {
    /// Whether nothing backs up any of these databases.
    pub(super) fn is_quiet(&self, databases: &BTreeSet<String>) -> bool {
        let backups = self.under_way.values().map(|under_way| &under_way.entry);
        let backups = backups.filter(|entry| entry.action == Action::Backup);
        let mut running = backups.filter_map(|entry| entry.source.as_ref());
        !running.any(|source| databases.contains(source))
            && !self.worker.ending().iter().any(|source| databases.contains(source))
    }

    /// Why there is no job that is called so: a schedule, or a schedule and a database.
    pub(super) fn why_there_is_none(&self, name: &str) -> String {
        let schedules = &self.config.schedules;
        let is_elsewhere = match name.split_once('/') {
            Some((schedule, database)) => {
                schedules.contains_key(schedule) && self.config.elsewhere.contains(database)
            }
            None => schedules.get(name).is_some_and(|schedule| {
                let of_it = |database: &String| schedule.is_of(&self.config, database);
                schedule.enabled && self.config.elsewhere.iter().any(of_it)
            }),
        };
        if is_elsewhere {
            format!("another daemon of the fleet has the databases of {name:?}: ask that one")
        } else {
            format!("there is no schedule called {name:?} that is on")
        }
    }

    /// What is told of it to who asks.
    pub(super) fn describe(&self) -> Value {
        let mut running: Vec<&UnderWay> = self.under_way.values().collect();
        running.sort_by_key(|under_way| under_way.began);
        let running: Vec<Value> = running.into_iter().map(UnderWay::describe).collect();
        json!({
            "pid": std::process::id(), "running": running, "queued": self.agenda.queued(self.timer.now()),
            "watched": self.worker.watched(), "elsewhere": *self.config.elsewhere,
        })
    }
}
