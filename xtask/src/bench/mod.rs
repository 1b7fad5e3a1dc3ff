//! Side by side in one run, as ratios: every task beside copiers and chunk stores as the database grows; what a live writer sees; what
//! is left in the page cache; stores over a network; large repositories. `docs/benchmarks.md` is written by this.

mod cow;
mod known;
mod levels;
mod limits;
mod look;
mod many;
mod model;
mod page_cache;
mod plot;
mod profile;
mod report;
mod scale;
mod shell;
mod stores;
mod tasks;
mod tools;
mod writer;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{Done, cargo, exists, program, root, run as run_program};

/// Makes the database.
const FILL: &str = include_str!("fill.py");
/// Changes it.
const MUTATE: &str = include_str!("mutate.py");

/// What the benchmarks work with.
struct Bench {
    /// Databases, repositories and copies.
    work: PathBuf,
    /// The command.
    mantis: String,
    /// The command of a peer that no package has.
    rustic: String,
    /// Peers that are there.
    installed: Vec<&'static str>,
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

/// Whether a program says its version, one way or the other.
fn answers(program: &str) -> bool {
    let version =
        Command::new(program).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    exists(program) || version.is_ok_and(|status| status.success())
}

/// Installs the peers: those that the system's packages have, and rustic, which takes the time of a build.
fn peers() -> Done {
    let missing: Vec<&str> =
        [("restic", "restic"), ("borg", "borgbackup"), ("sqlite3", "sqlite3"), ("zstd", "zstd")]
            .iter()
            .filter(|(name, _)| !answers(name))
            .map(|(_, package)| *package)
            .collect();
    if !missing.is_empty() {
        run_program(program("apt-get", &["install", "-y", "-qq"]).args(missing))?;
    }
    let servers = root().join("target/servers");
    if !servers.join("rustic/bin/rustic").exists() {
        let (to, build) = (servers.join("rustic"), servers.join("build"));
        let mut install = program("cargo", &["install", "rustic-rs", "--version", "0.11.4"]);
        install.args(["--no-default-features", "--locked", "--quiet", "--root"]).arg(to);
        run_program(install.arg("--target-dir").arg(build))?;
    }
    Ok(())
}

/// Each part, with what it takes: MiB and rounds.
type Part = (&'static str, fn(&Bench, u64, u64) -> Done);

const PARTS: [Part; 12] = [
    ("tasks", tasks::run),
    ("known", known::run),
    ("writer", |bench, mib, rounds| writer::run(bench, mib.div_ceil(2), rounds.min(3))),
    ("cache", |bench, mib, _| page_cache::run(bench, mib)),
    ("stores", |bench, mib, rounds| stores::run(bench, mib, rounds.min(3))),
    ("look", look::run),
    ("many", |bench, _, _| many::run(bench)),
    ("levels", |bench, _, _| levels::run(bench)),
    ("cow", cow::run),
    ("model", model::run),
    ("profile", profile::run),
    ("scale", |bench, _, _| scale::run(bench, 10_000)),
];

/// `cargo xtask bench [MIB] [ROUNDS] [PART…]`
pub(crate) fn run(arguments: &[String]) -> Done {
    let (numbers, wanted): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|text| text.parse::<u64>().is_ok());
    let number = |at: usize, default: u64| {
        numbers.get(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (mib, rounds) = (number(0, 1024), number(1, 5));
    let known = |part: &str| part == "peers" || PARTS.iter().any(|(name, _)| *name == part);
    if let Some(unknown) = wanted.iter().find(|part| !known(part)) {
        return Err(format!("no part of the benchmark is named {unknown}"));
    }
    if !exists("python3") {
        return Err("the benchmark needs python3".into());
    }
    if wanted.iter().any(|part| *part == "peers") {
        peers()?;
    }
    cargo(&["build", "--locked", "--release", "-p", "mantis-backup", "--features", "full"])?;
    let work = root().join("target/bench");
    fs::create_dir_all(&work).map_err(|error| error.to_string())?;
    let rustic = root().join("target/servers/rustic/bin/rustic").display().to_string();
    let mut installed: Vec<&'static str> =
        ["restic", "borg"].into_iter().filter(|name| answers(name)).collect();
    installed.extend(answers(&rustic).then_some("rustic"));
    let mantis = root().join("target/release/mantis").display().to_string();
    let bench = Bench { work, mantis, rustic, installed };
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| *wanted == name) {
            part(&bench, mib, rounds)?;
        }
    }
    // As it grows: with no part named, the other sizes too.
    if wanted.is_empty() && numbers.is_empty() {
        tasks::run(&bench, 100, rounds)?;
        tasks::run(&bench, 8 * 1024, 1)?;
    }
    Ok(())
}
