//! End-to-end tests: one binary, a module for each concern.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod contract;
mod copies;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod crash_points;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod crash_stage;
mod daemon;
mod daemon_watch;
mod daemons_year;
mod damage;
mod dashboard;
mod dashboard_access;
mod diff_rows;
mod encrypted;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod failing_calls;
mod fleet;
mod kill_rounds;
mod kills;
mod leftovers;
mod library;
mod live;
#[cfg(target_os = "linux")]
mod mount;
mod operations;
mod planning;
mod query;
mod reader;
mod redb_look;
mod redb_watch;
mod rescue;
mod restores;
mod retention;
mod simulated_year;
mod soak;
mod sources;
mod tenants;
mod transfer;
mod unstored;
mod watch;
mod watch_proof;
mod watch_queue;
