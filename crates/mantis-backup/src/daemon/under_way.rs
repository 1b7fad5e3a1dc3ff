//! Runs under way, and how far they are.

use std::sync::Arc;
use std::time::Instant;

use mantis_schedule::Run;
use mantis_stream::{CancellationToken, ProgressTracker};
use serde_json::{Value, json};

use super::Entry;
use super::records::ONCE;

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
