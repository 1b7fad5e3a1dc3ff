//! Real servers: the same suite over each store, whole lives of repositories, faults on the way. Run by
//! `cargo xtask integration`, which installs the servers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod conformance;
mod faults;
mod fleet;
mod kill_rounds;
mod lives;
mod own_store;
