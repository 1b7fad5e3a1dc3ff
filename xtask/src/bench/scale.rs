//! What listing and pruning a large repository cost.

use super::Bench;
use super::shell::{measure, shell};
use crate::command::{Done, cargo, output, root};

pub(super) fn run(bench: &Bench, backups: u64) -> Done {
    cargo(&[
        "build",
        "--locked",
        "--release",
        "-p",
        "mantis-repo",
        "--example",
        "large_repository",
    ])?;
    let (work, mantis) = (bench.work.display(), &bench.mantis);
    let maker = root().join("target/release/examples/large_repository");
    let made = output(&mut shell(&format!(
        "rm -rf {work}/large; {} {work}/large {backups} 10 {}",
        maker.display(),
        backups / 10
    )))?;
    output(&mut shell("sync"))?;
    println!("\n## A large repository\n\n{}, on local disk.\n", made.trim());
    println!("| work | s | peak MiB |\n| --- | --- | --- |");
    for command in
        ["list", "prune --grace 0s --dry-run", "prune --grace 0s", "verify --metadata-only"]
    {
        let (seconds, peak) = measure(&format!("{mantis} -q {command} --repo {work}/large"))?;
        println!("| {command} | {seconds:.2} | {peak} |");
    }
    output(&mut shell(&format!("rm -rf {work}/large")))?;
    Ok(())
}
