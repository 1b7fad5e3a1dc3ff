//! Which branches of the ground crates their tests take.
//!
//! By rustc's own instrumentation, and LLVM's `llvm-profdata` and `llvm-cov` of the version that `rustc --version --verbose` names;
//! `LLVM_PROFDATA` and `LLVM_COV` say where they are. A branch counts as two: taken, and not. What is in `#[cfg(test)]` does not count,
//! nor the doors that are made for fuzzing. Each file is asked for by itself: some versions of `llvm-cov` crash on a whole program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::command::{Done, output, program, root, run as run_program};

const CRATES: [&str; 5] =
    ["mantis-cow", "mantis-repo", "mantis-stream", "mantis-retention", "mantis-schedule"];

/// What is run: the model of the repository's protocol is not its code.
const RUNS: [&[&str]; 4] = [
    &["-p", "mantis-cow", "-p", "mantis-stream", "-p", "mantis-retention", "-p", "mantis-schedule"],
    &["-p", "mantis-repo", "--lib", "--test", "it"],
    &["-p", "mantis-sim"],
    &["-p", "mantis-fuzz", "--test", "corpus"],
];

/// How often a branch was taken, and how often not, by where it is: line and column of its begin and end.
type Branches = BTreeMap<[u64; 4], (u64, u64)>;

fn cargo_test(target: &Path, what: &[&str], more: &[&str]) -> Command {
    let mut command = program("cargo", &["test", "--locked", "--all-features"]);
    command.args(what).args(more);
    command.env("CARGO_TARGET_DIR", target).env("MANTIS_SIM_SEEDS", "300");
    // Counting branches is not stable yet; the instrumentation is.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("RUSTFLAGS", "-Cinstrument-coverage -Zcoverage-options=branch");
    command.env("LLVM_PROFILE_FILE", target.join("profiles/%p-%m.profraw"));
    command
}

fn llvm(name: &str) -> Command {
    let variable = name.to_uppercase().replace('-', "_");
    Command::new(std::env::var(variable).unwrap_or_else(|_| name.to_owned()))
}

fn product_files(package: &str) -> Result<Vec<PathBuf>, String> {
    let files = output(&mut program("git", &["ls-files", &format!("crates/{package}/src/*.rs")]))?;
    let product =
        files.lines().filter(|file| !file.ends_with("fuzzing.rs") && !file.ends_with("tests.rs"));
    Ok(product.map(|file| root().join(file)).collect())
}

/// What one program's runs say of a file; nothing where it has none of it, or where `llvm-cov` crashes.
fn branches(profile: &Path, program: &str, file: &Path) -> Vec<Value> {
    let mut command = llvm("llvm-cov");
    command.args(["export", "-num-threads=1", "-instr-profile"]).arg(profile).arg(program);
    let Ok(output) = command.arg(file).output() else { return Vec::new() };
    let Ok(mut found) = serde_json::from_slice::<Value>(&output.stdout) else { return Vec::new() };
    let files = found["data"][0]["files"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let ours =
        files.into_iter().find(|found| found["filename"].as_str().map(Path::new) == Some(file));
    ours.and_then(|mut ours| ours["branches"].as_array_mut().map(std::mem::take))
        .unwrap_or_default()
}

fn of_file(profile: &Path, programs: &[String], file: &Path) -> Result<Branches, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let tests = text.lines().position(|line| line.trim() == "#[cfg(test)]");
    let end = tests.map_or(u64::MAX, |line| line as u64 + 1);
    let mut all = Branches::new();
    for branch in programs.iter().flat_map(|program| branches(profile, program, file)) {
        let number = |at: usize| branch[at].as_u64().unwrap_or_default();
        if number(0) < end {
            let counts = all.entry([0, 1, 2, 3].map(number)).or_default();
            *counts = (counts.0 + number(4), counts.1 + number(5));
        }
    }
    Ok(all)
}

/// `cargo xtask coverage [missing]`
pub(crate) fn run(arguments: &[String]) -> Done {
    let missing = match arguments {
        [] => false,
        [word] if word == "missing" => true,
        _ => return Err("coverage [missing]".into()),
    };
    let target = root().join("target/coverage");
    let profiles = target.join("profiles");
    let _ = std::fs::remove_dir_all(&profiles);
    let mut programs: Vec<String> = Vec::new();
    for what in RUNS {
        let built =
            output(&mut cargo_test(&target, what, &["--no-run", "--message-format", "json"]))?;
        let messages = built.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        programs.extend(
            messages.filter_map(|message| Some(message["executable"].as_str()?.to_owned())),
        );
        run_program(&mut cargo_test(&target, what, &[]))?;
    }
    let raw: Vec<PathBuf> = std::fs::read_dir(&profiles)
        .map_err(|error| format!("{}: {error}", profiles.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    let profile = target.join("all.profdata");
    // Where it is missing, no file would have a branch.
    run_program(llvm("llvm-cov").arg("--version"))?;
    run_program(llvm("llvm-profdata").args(["merge", "-sparse", "-o"]).arg(&profile).args(raw))?;
    println!("| crate | branches |\n| --- | --- |");
    for name in CRATES {
        let (mut taken, mut count) = (0, 0);
        for file in product_files(name)? {
            for (place, (yes, no)) in of_file(&profile, &programs, &file)? {
                count += 2;
                taken += u64::from(yes > 0) + u64::from(no > 0);
                if missing && (yes == 0 || no == 0) {
                    let never = if yes == 0 { "true" } else { "false" };
                    eprintln!("{}:{}:{}: never {never}", file.display(), place[0], place[1]);
                }
            }
        }
        let share = 1000 * taken / count.max(1);
        println!("| `{name}` | {taken} of {count}, {}.{}% |", share / 10, share % 10);
    }
    Ok(())
}
