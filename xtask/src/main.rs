//! `cargo xtask …`: everything that a person or CI runs on this workspace.

mod arrows;
mod bench;
mod ci;
mod command;
mod coverage;
mod features;
mod fuzz;
mod integration;
mod sim;
mod test;
mod tidy;
mod unsafe_inventory;

use std::process::ExitCode;

const HELP: &str = "cargo xtask COMMAND

  test      every test, and what it needs installed; loom models too
  ci        test, and format, clippy, docs, licences, features, arrows, tidy
  arrows    proves that the crates depend on each other as docs/architecture.md says
  features  checks every crate with each feature alone, none and all
  loom      every interleaving of the copy-on-write table, many of the coordinator of snapshots
  coverage  which branches of the ground crates their tests take: coverage [missing]; needs LLVM's tools
  faults    every call on the disk fails in every way, every two crashes of a collection; more than the tests do
  fuzz      every decoder, hostile repositories, backups against a model: fuzz [TARGET…] [--seconds N] [--address]
  kills     thousands of commands and the daemon, killed and stopped while a database is written
  sim       the repository's code under random histories: sim [--seed N] [--seeds N] [--steps M]
  integration  real servers of stores, and the suite over them; over a bucket of your own:
            integration s3 --url 's3://bucket/prefix?region=…'
  browser   the daemon's pages in Chromium: browser [FILTER]; MANTIS_SCREENSHOTS=FOLDER keeps pictures
  fleet     two daemons share databases through a server of S3, and one is killed: fleet [DATABASES=2000]
  watched   a writer with a known history, watched, while things are killed: watched [--minutes N]
  soak      the daemon for a long while, and what it takes meanwhile: soak [--minutes N]
  tidy      file sizes, module docs, left-over words, the list of unsafe code
  bench     side by side with others, into docs/benchmarks.md: bench [MIB=1024] [ROUNDS=5] [tasks] [known] [writer] [cache] [stores]
            [cow] [scale] [model] [profile] [look] [many] [levels]; bench peers installs the others
  deny      licences, bans and sources of dependencies
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = match arguments.split_first() {
        Some((name, rest)) => (name.as_str(), rest),
        None => ("help", &[][..]),
    };
    let done = match name {
        "test" => test::run(),
        "ci" => ci::run(),
        "arrows" => arrows::run(),
        "features" => features::run(),
        "coverage" => coverage::run(rest),
        "loom" => test::loom(),
        "fuzz" => fuzz::run(rest),
        "kills" => test::kills(),
        "faults" => test::faults(),
        "sim" => sim::run(rest),
        "fleet" => integration::fleet(rest),
        "soak" => test::soak(rest),
        "watched" => test::watched(rest),
        "tidy" => tidy::run(),
        "bench" => bench::run(rest),
        "integration" => integration::run(rest),
        "browser" => integration::browser(rest),
        "deny" => ci::deny(),
        _ => {
            print!("{HELP}");
            return ExitCode::from(if name == "help" { 0 } else { 2 });
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}
