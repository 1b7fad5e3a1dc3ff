//! What fuzz targets do with bytes. `cargo xtask fuzz` feeds them what coverage leads it to; the tests feed them the corpus, and a fixed
//! number of mutations of it.
//!
//! A target panics where something is wrong, and returns whatever the bytes were.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target fails by panicking"
)]

mod archive;
mod decoders;
mod differential;
mod repository;
mod seeds;
mod take;
mod template;
mod texts;

pub use seeds::seeds;

/// A target: its name, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 12] = [
    ("frame", decoders::frame),
    ("object", decoders::object),
    ("chunk", decoders::chunk),
    ("index", decoders::index),
    ("wal", decoders::wal),
    ("archive", archive::archive),
    ("cron", texts::cron),
    ("address", texts::address),
    ("config", texts::config),
    ("request", texts::request),
    ("repository", repository::repository),
    ("differential", differential::differential),
];

/// Runs a target by its name.
///
/// # Panics
/// Where there is none, or where it finds something.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.expect("no such target").1(bytes);
}
