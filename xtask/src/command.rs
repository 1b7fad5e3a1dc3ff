//! Runs other programs from the workspace's root.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What went wrong, in words.
pub(crate) type Done = Result<(), String>;

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// A program, to be run in the root.
pub(crate) fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs a program and says what it is.
pub(crate) fn run(command: &mut Command) -> Done {
    eprintln!("+ {command:?}");
    let began = std::time::Instant::now();
    let status = command.status().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    let seconds = began.elapsed().as_secs();
    if seconds >= 10 {
        eprintln!("  took {} min {} s", seconds / 60, seconds % 60);
    }
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}")) }
}

/// Runs cargo.
pub(crate) fn cargo(arguments: &[&str]) -> Done {
    run(&mut program("cargo", arguments))
}

/// What a program prints.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{command:?}: {error}"))
}

/// Whether a program is there.
pub(crate) fn exists(name: &str) -> bool {
    let found =
        Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}
