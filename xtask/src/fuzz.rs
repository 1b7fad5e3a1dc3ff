//! The fuzz targets under libFuzzer, on the stable toolchain.
//!
//! What cargo-fuzz asks of the nightly compiler are the sanitizers; coverage itself comes from an LLVM pass that the stable one has too.
//! With `--address` the address sanitizer is added, for which `RUSTC_BOOTSTRAP` lets the stable compiler take its unstable flag.

use std::fs;

use crate::command::{self, Done, program, root};

/// Flags for coverage that libFuzzer reads.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";
const HOST: &str = "x86_64-unknown-linux-gnu";
const USAGE: &str = "fuzz [TARGET…] [--seconds N] [--address]";

/// The targets: each has a corpus.
fn targets() -> Result<Vec<String>, String> {
    let folder = root().join("fuzz/corpus");
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

/// `cargo xtask fuzz [TARGET…] [--seconds N] [--address]`: each target for N seconds, 60 without. What is found new goes to
/// `target/fuzz/corpus`; an input that fails is kept in `fuzz/artifacts`, and its path printed.
pub(crate) fn run(arguments: &[String]) -> Done {
    let known = targets()?;
    let (mut chosen, mut seconds, mut address) = (Vec::new(), 60u64, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => {
                let value = rest.next().and_then(|value| value.parse().ok());
                seconds = value.ok_or("--seconds takes a number")?;
            }
            "--address" => address = true,
            name if known.iter().any(|target| target == name) => chosen.push(name.to_owned()),
            other => return Err(format!("{other}: {USAGE}; targets: {}", known.join(", "))),
        }
    }
    if chosen.is_empty() {
        chosen = known;
    }
    // Where the compiler's own crates end and ours begin: flags for a named target do not reach build scripts.
    let folder = if address { "target/fuzz/address" } else { "target/fuzz/plain" };
    let manifest = "fuzz/Cargo.toml";
    // The versions that everything else is built of.
    fs::copy(root().join("Cargo.lock"), root().join("fuzz/Cargo.lock"))
        .map_err(|error| format!("fuzz/Cargo.lock: {error}"))?;
    let build = ["build", "--release", "--manifest-path", manifest, "--target", HOST];
    let mut cargo = program("cargo", &[&build[..], &["--target-dir", folder]].concat());
    let sanitizer = if address { " -Zsanitizer=address" } else { "" };
    cargo.env("RUSTFLAGS", format!("{COVERAGE}{sanitizer}"));
    if address {
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    command::run(&mut cargo)?;
    let binary = root().join(folder).join(HOST).join("release/any").display().to_string();
    for target in &chosen {
        let found = root().join("target/fuzz/corpus").join(target);
        let artifacts = root().join("fuzz/artifacts").join(target);
        for folder in [&found, &artifacts] {
            fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let mut fuzz = program(&binary, &[]);
        fuzz.env("MANTIS_FUZZ_TARGET", target);
        fuzz.arg(&found).arg(format!("fuzz/corpus/{target}"));
        fuzz.arg(format!("-max_total_time={seconds}"));
        fuzz.arg(format!("-artifact_prefix={}/", artifacts.display()));
        // A bomb is what takes more than this of either.
        fuzz.args(["-rss_limit_mb=1024", "-timeout=20", "-max_len=16384", "-print_final_stats=1"]);
        command::run(&mut fuzz)?;
    }
    Ok(())
}
