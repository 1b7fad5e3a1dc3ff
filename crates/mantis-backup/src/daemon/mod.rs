//! The daemon: schedules run, what they should do done, and everyone told who wants to know.
//!
//! - [`serve`]: all of it, until it is asked to stop;
//! - [`Supervisor`]: the loop over the agenda; [`Worker`] and [`Timer`]: its ports, for programs and tests of their own;
//! - [`Jobs`]: the worker that backs up, verifies, drills and prunes;
//! - [`StateDir`]: what outlives it: [`History`], [`Proofs`] and what is due;
//! - [`control`]: how the command talks to a daemon that runs;
//! - [`telemetry`]: its metrics.

#[cfg(feature = "dashboard")]
mod by_hand;
pub mod control;
#[cfg(feature = "dashboard")]
mod dashboard;
mod finder;
mod fleet;
mod freshness;
mod handle;
mod history;
mod http;
mod json_lines;
#[cfg(feature = "dashboard")]
mod listener;
mod notices;
mod order;
mod priority;
mod proofs;
mod records;
mod roster;
mod serve;
mod shutdown;
mod state_dir;
mod status;
mod supervisor;
mod systemd;
pub mod telemetry;
mod timer;
mod under_way;
mod watching;
mod worker;

pub use freshness::Freshness;
pub use handle::Handle;
pub use history::{History, Record, RunOutcome};
pub use order::{Order, Report, Worker};
pub use priority::give_way;
pub use proofs::{Proof, ProofKind, Proofs, proofs_of};
pub use roster::{Entry, Roster, arrange};
pub use serve::serve;
pub use state_dir::{Lock, StateDir};
pub use status::Status;
pub use supervisor::Supervisor;
pub use timer::{SystemTimer, Timer};
pub use watching::{News, Wanted, Watched};
pub use worker::Jobs;
