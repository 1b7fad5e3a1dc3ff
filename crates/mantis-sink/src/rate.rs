//! No faster than so many bytes a second.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Lets bytes pass at a given rate, on average over a tenth of a second. Shared by reference; those
/// who wait pass in the order in which they came.
#[derive(Debug)]
pub struct RateLimiter {
    bytes_per_second: Option<f64>,
    /// When the bytes let through so far will have been paid for.
    paid_until: Mutex<Option<Instant>>,
}

/// How far ahead of its rate a limiter may run.
const BURST: Duration = Duration::from_millis(100);

impl RateLimiter {
    /// A limiter; `None` lets all pass at once.
    #[must_use]
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        let bytes_per_second = bytes_per_second.map(|rate| rate.max(1) as f64);
        Self { bytes_per_second, paid_until: Mutex::new(None) }
    }

    /// Waits until `bytes` more may pass.
    pub async fn pass(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let cost = Duration::from_secs_f64((bytes as f64 / rate).min(1e6));
        let mut paid_until = self.paid_until.lock().await;
        let now = Instant::now();
        let start = paid_until.map_or(now, |until| until.max(now));
        *paid_until = Some(start + cost);
        if start > now + BURST {
            tokio::time::sleep_until(start - BURST).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn holds_its_rate_and_no_rate_holds_nothing() {
        let start = Instant::now();
        let limiter = RateLimiter::new(Some(1_000_000));
        for _ in 0..6 {
            limiter.pass(100_000).await;
        }
        assert!(start.elapsed() >= Duration::from_millis(390));
        let free = RateLimiter::new(None);
        let start = Instant::now();
        free.pass(usize::MAX).await;
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
