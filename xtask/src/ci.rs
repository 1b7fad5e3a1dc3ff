//! What CI runs, in the order in which it finds most.

use crate::command::{self, Done, cargo, exists, program};

/// `cargo xtask ci`
pub(crate) fn run() -> Done {
    cargo(&["fmt", "--all", "--check"])?;
    crate::tidy::run()?;
    crate::arrows::run()?;
    cargo(&[
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ])?;
    crate::features::run()?;
    command::run(
        program("cargo", &["doc", "--locked", "--workspace", "--all-features", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    deny()
}

/// `cargo xtask deny`: licences, bans and sources. The advisory database is checked where it can be
/// reached: `cargo deny check advisories`.
pub(crate) fn deny() -> Done {
    if !exists("cargo-deny") {
        // It runs for a second: to optimize it takes minutes.
        cargo(&["install", "cargo-deny", "--locked", "--version", "0.20.2", "--debug"])?;
    }
    cargo(&[
        "deny",
        "--all-features",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ])
}
