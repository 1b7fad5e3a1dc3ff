//! The command itself. That there is a test of it here also has `cargo test` build it, for the end-to-end
//! tests of the workspace.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::process::Command;

#[test]
fn says_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_mantis")).arg("--version").output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.trim(), concat!("mantis ", env!("CARGO_PKG_VERSION")));
}
