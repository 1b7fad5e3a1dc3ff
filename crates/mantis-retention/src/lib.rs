//! Which backups to keep.
//!
//! [`plan`] is a function of a [`Policy`], the backups there are ([`Candidate`]s, with ids of any type) and the time: each is
//! kept, with every reason that keeps it, or removed, with why. It reads no clock and touches no repository.
//!
//! The rules keep what restic's `forget` keeps of the same times; caps over them ([`Policy::max_age`],
//! [`Policy::max_count`], [`Policy::min_free`]) take away from that. Whatever they say, the newest good backup of a source
//! stays.
//!
//! ```
//! use chrono::{DateTime, Utc};
//! use mantis_retention::{Candidate, Circumstances, Policy, plan};
//! let hour = |hour: i64| Candidate::new(hour, "orders", hour * 3_600_000);
//! let backups: Vec<_> = (0..72).map(hour).collect();
//! let policy = Policy { keep_daily: Some(2), ..Policy::default() };
//! let now = DateTime::from_timestamp(72 * 3600, 0).unwrap();
//! let plan = plan(&policy, &backups, Circumstances { now, zone: &Utc, free: None });
//! let kept: Vec<i64> = plan.kept.iter().map(|kept| kept.id).collect();
//! assert_eq!(kept, [47, 71]);
//! assert_eq!(plan.kept[0].reasons[0].to_string(), "daily 1970-01-02");
//! ```

#![forbid(unsafe_code)]

mod calendar;
mod candidate;
mod period;
mod plan;
mod policy;
mod reason;
mod rules;
mod span;
mod warning;

pub use calendar::{Cell, calendar};
pub use candidate::{Candidate, State, calendar_time};
pub use period::{Period, Unit};
pub use plan::{Circumstances, Kept, Plan, Removed, plan};
pub use policy::{Policy, UNLIMITED};
pub use reason::{Reason, Why};
pub use span::{InvalidSpan, Span};
pub use warning::{Warning, check};

#[cfg(test)]
mod tests;
