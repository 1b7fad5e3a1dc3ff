//! The time, and what a client takes it for.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};
use mantis_repo::UnixMillis;
use mantis_sink::Chance;

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// When a history begins: 2026-11-24, noon.
pub(crate) const BEGIN: i64 = 1_795_521_600_000;

/// The time as it is, in milliseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Time(Arc<AtomicI64>);

impl Time {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(BEGIN)))
    }

    pub(crate) fn goes_on(&self, by: i64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// A clock that shows it, by so much ahead; behind, if that is negative.
    pub(crate) fn clock(&self, ahead: i64) -> Clock {
        Clock { time: self.clone(), ahead }
    }
}

/// How far a clock is ahead that is wrong: seconds, as any, hours, as one in another zone, or days, as one whose battery is empty.
pub(crate) fn wrong_by(chance: &mut Chance) -> i64 {
    let most = [MINUTE, 3 * HOUR, 30 * DAY][chance.index(3)];
    chance.below(2 * most.unsigned_abs()).cast_signed() - most
}

/// What one client has for the time.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    time: Time,
    ahead: i64,
}

impl Clock {
    pub(crate) fn now(&self) -> UnixMillis {
        UnixMillis(self.time.0.load(Ordering::Relaxed) + self.ahead)
    }

    pub(crate) fn utc(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.now().0).unwrap()
    }
}
