//! A simulation of the whole below the umbrella: the real code of repository, pipeline, snapshots, schedules and retention; one seed,
//! one history.
//!
//! Live databases are written all the time. Clients back them up, build on backups, forget, bring back, free, put layers together, copy
//! to a replica, restore and verify, at the same time, and a daemon does what its schedules call for; in every other history the
//! repository is encrypted, and its keys change meanwhile. At every call to the store chance says whose call goes on, and whether it
//! fails: before it took effect, after it did, or with the client, which is gone then as a process that was killed is. Time goes on by
//! minutes or days, and not every client's clock is right. In every fifth history lists come late. A model knows what each backup
//! must hold; again and again all of them are compared with it.
//!
//! [`history::live`] lives a history; [`shorten::tell`] makes one that fails short, and tells it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a history fails by panicking")]

mod backup;
mod client;
mod clock;
mod daemon;
mod database;
pub mod history;
mod keys;
mod lists;
mod model;
mod places;
pub mod shorten;
mod stage;
mod store;
mod told;
#[path = "../../../crates/mantis-repo/tests/it/world.rs"]
#[allow(dead_code, unexpected_cfgs, reason = "what the tests of the repository use of it, too")]
mod world;
