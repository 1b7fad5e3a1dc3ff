//! The daemon's clock: tells the time, and waits for one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use mantis_schedule::Clock;

/// No wait is longer: a machine that slept, or a clock that was set, is noticed after this at the latest.
const LONGEST: Duration = Duration::from_secs(30);

/// A clock that can be waited for.
pub trait Timer: Clock {
    /// Waits until a time, or for a while that is shorter; without a time, for a while.
    fn sleep_until(&self, time: Option<DateTime<Utc>>) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemTimer;

impl Clock for SystemTimer {
    fn now(&self) -> DateTime<Utc> {
        crate::clock::calendar_now()
    }
}

impl Timer for SystemTimer {
    fn sleep_until(&self, time: Option<DateTime<Utc>>) -> BoxFuture<'static, ()> {
        let wait = time.map_or(LONGEST, |time| (time - self.now()).to_std().unwrap_or_default());
        Box::pin(tokio::time::sleep(wait.min(LONGEST)))
    }
}
