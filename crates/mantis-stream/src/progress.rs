//! How far a piece of work is, for whoever watches.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How far a piece of work is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// Items done: pages, objects.
    pub items: u64,
    /// Items in all.
    pub items_total: u64,
    /// Bytes taken in.
    pub bytes: u64,
    /// Bytes to take in, in all.
    pub bytes_total: u64,
    /// Bytes given out: stored, or written.
    pub bytes_out: u64,
    /// Time since the start.
    pub elapsed: Duration,
    /// Bytes taken in per second, over the whole time.
    pub rate: f64,
    /// How long the rest will take at that rate; `None` while that cannot be told.
    pub eta: Option<Duration>,
    /// How long writers of what is read were kept from committing for it, so far; `None` while that is not known.
    pub writers_held: Option<Duration>,
    /// Nothing more will come.
    pub done: bool,
}

/// Keeps the [`Progress`] of a piece of work; any number watch it.
#[derive(Debug)]
pub struct ProgressTracker {
    started: Instant,
    sender: watch::Sender<Progress>,
}

impl Default for ProgressTracker {
    fn default() -> Self {
        Self { started: Instant::now(), sender: watch::Sender::default() }
    }
}

impl ProgressTracker {
    /// Work that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A view that always shows the latest.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Progress> {
        self.sender.subscribe()
    }

    /// The latest.
    #[must_use]
    pub fn get(&self) -> Progress {
        *self.sender.borrow()
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        self.sender.send_modify(|progress| {
            change(progress);
            progress.elapsed = self.started.elapsed();
            let seconds = progress.elapsed.as_secs_f64();
            progress.rate = if seconds > 0.0 { progress.bytes as f64 / seconds } else { 0.0 };
            let left = progress.bytes_total.saturating_sub(progress.bytes) as f64;
            let eta = (progress.rate > 0.0).then(|| left / progress.rate).filter(|eta| *eta < 1e9);
            progress.eta = eta.map(Duration::from_secs_f64);
        });
    }

    /// Sets what there is to do.
    pub fn expect(&self, items: u64, bytes: u64) {
        self.change(|progress| (progress.items_total, progress.bytes_total) = (items, bytes));
    }

    /// Adds what was done.
    pub fn add(&self, items: u64, bytes: u64) {
        self.change(|progress| {
            progress.items += items;
            progress.bytes += bytes;
        });
    }

    /// Adds what was given out.
    pub fn add_out(&self, bytes: u64) {
        self.change(|progress| progress.bytes_out += bytes);
    }

    /// Tells how long writers were kept from committing, so far.
    pub fn writers_held(&self, held: Duration) {
        self.change(|progress| progress.writers_held = Some(held));
    }

    /// Nothing more will come.
    pub fn finish(&self) {
        self.change(|progress| progress.done = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_up_and_tells_when_it_will_end() {
        let tracker = ProgressTracker::new();
        let watch = tracker.subscribe();
        tracker.expect(10, 4000);
        tracker.add(5, 2000);
        tracker.add_out(700);
        let progress = *watch.borrow();
        assert_eq!((progress.items, progress.bytes, progress.bytes_out), (5, 2000, 700));
        assert!(progress.eta.unwrap() <= progress.elapsed + Duration::from_secs(1));
        assert_eq!(progress.writers_held, None);
        tracker.writers_held(Duration::from_millis(7));
        assert_eq!(watch.borrow().writers_held, Some(Duration::from_millis(7)));
        tracker.finish();
        assert!(watch.borrow().done);
    }
}
