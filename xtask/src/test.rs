//! Every test, and what it needs installed.

use crate::command::{self, Done, cargo, exists, program, root};

/// Foreign writers of the end-to-end tests: Python's sqlite3 module and the sqlite3 shell.
fn install_writers() -> Done {
    let missing: Vec<&str> =
        ["python3", "sqlite3"].into_iter().filter(|name| !exists(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let lacking =
        format!("the tests need {}: install it with your package manager", missing.join(" and "));
    if !exists("apt-get") {
        return Err(lacking);
    }
    command::run(&mut program("apt-get", &["update", "-qq"])).map_err(|_| lacking.clone())?;
    command::run(
        program("apt-get", &["install", "-y", "-qq", "python3", "sqlite3"])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .map_err(|_| lacking)
}

/// What the reader in Python needs: there is no other mantis to read with.
fn install_reader() -> Done {
    let packages = root().join("target/python");
    if packages.join("zstandard").exists() && packages.join("cryptography").exists() {
        return Ok(());
    }
    let target = packages.display().to_string();
    let arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"];
    let wanted = [&target, "zstandard>=0.22", "cryptography>=45"];
    command::run(program("python3", &arguments).args(wanted))
        .map_err(|error| format!("the tests need Python's pip: {error}"))
}

/// `cargo xtask test`
pub(crate) fn run() -> Done {
    loom()?;
    install_writers()?;
    install_reader()?;
    cargo(&["test", "--locked", "--workspace", "--all-features"])?;
    crate::integration::run(&["ci".to_owned()])?;
    crate::integration::browser(&[])
}

/// `cargo xtask kills`
pub(crate) fn kills() -> Done {
    install_writers()?;
    let built =
        ["test", "--locked", "--workspace", "--all-features", "--test", "command", "--test", "it"];
    let chosen = ["--", "--ignored", "--nocapture", "kills::", "kill_rounds::"];
    cargo(&[&built[..], &chosen].concat())?;
    crate::integration::kills()
}

/// `cargo xtask soak [--minutes N]`
pub(crate) fn soak(arguments: &[String]) -> Done {
    for_minutes("soak", arguments, "for_as_long_as_told", "MANTIS_SOAK_MINUTES")
}

/// `cargo xtask watched [--minutes N]`
pub(crate) fn watched(arguments: &[String]) -> Done {
    for_minutes("watched", arguments, "in_minutes_of_watching", "MANTIS_WATCHED_MINUTES")
}

/// Runs a test for as many minutes as told, half an hour without; the test finds them in the environment.
fn for_minutes(name: &str, arguments: &[String], test: &str, variable: &str) -> Done {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let minutes = match words[..] {
        [] => "30",
        ["--minutes", minutes] if minutes.parse::<u64>().is_ok() => minutes,
        _ => return Err(format!("{name} [--minutes N]")),
    };
    install_writers()?;
    let built =
        ["test", "--locked", "--workspace", "--all-features", "--test", "command", "--test", "it"];
    let chosen = ["--", "--ignored", "--nocapture", test];
    let arguments = [&built[..], &chosen].concat();
    command::run(program("cargo", &arguments).env(variable, minutes))
}

/// `cargo xtask faults`
pub(crate) fn faults() -> Done {
    let built =
        ["test", "--locked", "--workspace", "--all-features", "--test", "command", "--test", "it"];
    let chosen = ["--", "--ignored", "--nocapture", "crash_points", "failing_calls"];
    cargo(&[&built[..], &chosen].concat())
}

/// `cargo xtask loom`: every interleaving of the copy-on-write table, and many of the coordinator.
pub(crate) fn loom() -> Done {
    model("loom", "mantis-cow")?;
    model("shuttle", "mantis-snapshot")
}

/// The tests of a crate that are written for a model checker, which is also their name and the flag that they are built with.
fn model(checker: &str, package: &str) -> Done {
    let target = format!("target/{checker}");
    let arguments = [
        "test",
        "--locked",
        "-p",
        package,
        "--test",
        checker,
        "--release",
        "--target-dir",
        &target,
    ];
    let flags = format!("--cfg {checker}");
    command::run(
        program("cargo", &arguments).env("RUSTFLAGS", flags).env("LOOM_MAX_PREEMPTIONS", "3"),
    )
}
