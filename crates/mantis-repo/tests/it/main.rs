//! The repository's tests: one binary, a module for each concern.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod bounds;
mod collector;
mod compaction;
mod copy;
mod dedup;
#[cfg(feature = "encryption")]
mod each_fault;
#[cfg(feature = "encryption")]
mod encryption;
#[cfg(feature = "encryption")]
mod every_byte;
mod fixtures;
mod fleet;
#[cfg(feature = "fuzzing")]
mod forged;
mod incremental;
mod index_cache;
mod leftovers;
#[cfg(feature = "encryption")]
mod lived_in;
mod looks;
mod old_records;
#[cfg(feature = "encryption")]
mod page_reader;
mod refusals;
mod repair;
mod rewrites;
mod round_trip;
mod schedules;
mod spool;
mod verify_far;
mod world;
