//! Which backups to keep.
//!
//! [`plan`] is a function of a [`Policy`] and the backups there are ([`Candidate`]s, with ids of any type): each is
//! kept, with every reason that keeps it, or removed. It reads no clock and touches no repository.
//!
//! ```
//! use mantis_retention::{Candidate, Policy, plan};
//! let candidates = [(1, 100), (2, 200), (3, 300)]
//!     .map(|(id, created_at)| Candidate { id, source: "orders".into(), created_at });
//! let plan = plan(Policy { keep_last: Some(2) }, &candidates);
//! assert_eq!(plan.removed, [1]);
//! ```

#![forbid(unsafe_code)]

mod candidate;
mod plan;
mod policy;
mod reason;

pub use candidate::Candidate;
pub use plan::{Kept, Plan, plan};
pub use policy::Policy;
pub use reason::Reason;
