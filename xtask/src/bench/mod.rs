//! Side by side in one run, as ratios: wall times with `cp` and `zstd`, a live writer alone and beside
//! hot backups, and peak memory as the database grows.

mod incremental;
mod memory;
mod page_cache;
mod peers;
mod scale;
mod shell;
mod stores;
mod writer;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Done, cargo, exists, root};

/// Makes the database.
const FILL: &str = include_str!("fill.py");

/// What the benchmarks work with.
struct Bench {
    /// Databases, repositories and copies.
    work: PathBuf,
    /// The command.
    mantis: String,
}

impl Bench {
    /// A database of about so many MiB, made where it is not there yet.
    fn database(&self, name: &str, mib: u64) -> Result<PathBuf, String> {
        let base = self.work.join(name);
        let right = fs::metadata(&base)
            .is_ok_and(|base| base.len() >> 20 >= mib && base.len() >> 20 < mib + mib / 8 + 32);
        if !right {
            let _ = fs::remove_file(&base);
            let filled =
                Command::new("python3").args(["-c", FILL]).arg(&base).arg(mib.to_string()).status();
            if !filled.map_err(|error| error.to_string())?.success() {
                return Err(format!("{} could not be made", base.display()));
            }
        }
        Ok(base)
    }
}

/// The length of a file in MiB.
fn mib_of(path: &Path) -> Result<u64, String> {
    fs::metadata(path)
        .map(|file| file.len() >> 20)
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// `cargo xtask bench [MIB] [ROUNDS] [PART…]`
pub(crate) fn run(arguments: &[String]) -> Done {
    let (numbers, parts): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|text| text.parse::<u64>().is_ok());
    let number = |at: usize, default: u64| {
        numbers.get(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (mib, rounds) = (number(0, 1024), number(1, 5));
    for needed in ["python3", "zstd"] {
        if !exists(needed) {
            return Err(format!("the benchmark needs {needed}"));
        }
    }
    cargo(&["build", "--locked", "--release", "-p", "mantis-backup"])?;
    let mantis = root().join("target/release/mantis").display().to_string();
    let work = root().join("target/bench");
    fs::create_dir_all(&work).map_err(|error| error.to_string())?;
    let bench = Bench { work, mantis };
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| *wanted == part);
    if wanted("peers") {
        peers::run(&bench, mib, rounds)?;
    }
    if wanted("cache") {
        page_cache::run(&bench, mib)?;
    }
    if wanted("writer") {
        writer::run(&bench, mib.div_ceil(2), rounds.min(3))?;
    }
    if wanted("stores") {
        stores::run(&bench, mib, rounds.min(3))?;
    }
    if wanted("incremental") {
        incremental::run(&bench, mib, rounds.min(3))?;
    }
    if wanted("scale") {
        scale::run(&bench, 10_000)?;
    }
    if wanted("memory") {
        memory::run(&bench, mib)?;
    }
    Ok(())
}
