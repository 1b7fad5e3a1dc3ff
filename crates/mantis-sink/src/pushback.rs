//! When a store asks to be left alone for a while (HTTP's `Retry-After`, RFC 9110 section 10.2.3), all calls wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The longest that a store is obeyed: what it asks for beyond that is a mistake, or an attack.
#[cfg(any(feature = "_http", test))]
const LONGEST: Duration = Duration::from_secs(120);

/// Until when a store wants no calls. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pushback {
    since: Instant,
    /// Milliseconds after `since`; 0: it never asked.
    until: Arc<AtomicU64>,
}

impl Pushback {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), until: Arc::default() }
    }

    /// The store asked to come again after so long.
    #[cfg(any(feature = "_http", test))]
    pub(crate) fn ask(&self, after: Duration) {
        let until = self.since.elapsed() + after.min(LONGEST);
        let millis = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.until.fetch_max(millis, Ordering::Relaxed);
    }

    /// Waits until calls are welcome.
    pub(crate) async fn wait(&self) {
        let until = self.since + Duration::from_millis(self.until.load(Ordering::Relaxed));
        if until > Instant::now() {
            tokio::time::sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_wish_counts_and_no_wish_is_obeyed_for_ever() {
        let pushback = Pushback::new();
        let start = Instant::now();
        pushback.wait().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        pushback.ask(Duration::from_secs(7));
        pushback.ask(Duration::from_secs(2));
        pushback.wait().await;
        assert!((7000..7100).contains(&start.elapsed().as_millis()));
        pushback.ask(Duration::from_secs(1 << 40));
        pushback.wait().await;
        assert!(start.elapsed() < Duration::from_secs(130));
    }
}
