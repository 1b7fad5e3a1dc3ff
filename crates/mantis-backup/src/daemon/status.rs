//! What others may know of a daemon that runs.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// How the daemon is. Shared by those who ask.
#[derive(Debug, Default)]
pub struct Status {
    /// When its loop last turned, in Unix milliseconds.
    heartbeat: AtomicI64,
    stopping: AtomicBool,
    state_lost: AtomicBool,
}

/// A loop that did not turn for so long stands still.
const STILL_MS: i64 = 120_000;

impl Status {
    pub(super) fn beat(&self) {
        self.heartbeat.store(crate::now().0, Ordering::Relaxed);
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn keep_state(&self, kept: bool) {
        self.state_lost.store(!kept, Ordering::Relaxed);
    }

    /// Whether its loop turns.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let beat = self.heartbeat.load(Ordering::Relaxed);
        // A clock that went back is no reason to be restarted.
        beat > 0 && crate::now().0 - beat < STILL_MS
    }

    /// Whether it begins runs, and can keep what it must; else why not.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), &'static str> {
        if self.stopping.load(Ordering::Relaxed) {
            Err("stopping")
        } else if !self.is_alive() {
            Err("the loop does not turn")
        } else if self.state_lost.load(Ordering::Relaxed) {
            Err("the state folder cannot be written")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_it_turns_and_keeps_its_state() {
        let status = Status::default();
        assert!(!status.is_alive() && status.ready().is_err());
        status.beat();
        assert!(status.is_alive() && status.ready().is_ok());
        status.keep_state(false);
        assert!(status.is_alive() && status.ready().is_err());
        status.keep_state(true);
        status.stop();
        assert_eq!(status.ready(), Err("stopping"));
    }
}
