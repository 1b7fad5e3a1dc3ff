//! The daemon's pages in a browser that people use: `cargo xtask browser`, which installs Chromium, its driver and axe.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod browser;
mod pages;
mod ways;
