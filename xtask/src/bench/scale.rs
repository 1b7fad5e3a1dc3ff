//! What listing and pruning a large repository cost.

use super::Bench;
use super::report::{Report, number};
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
    let mut report = Report::new("large", "A large repository");
    report.say(&format!("{}, on local disk.", made.trim()));
    let mut rows = vec![["work", "s", "peak MiB"].map(str::to_owned).to_vec()];
    for command in
        ["list", "prune --grace 0s --dry-run", "prune --grace 0s", "verify --metadata-only"]
    {
        let cost = measure(&format!("{mantis} -q {command} --repo {work}/large"))?;
        rows.push(vec![command.into(), number(cost.wall), format!("{:.0}", cost.peak)]);
    }
    report.table(&rows);
    output(&mut shell(&format!("rm -rf {work}/large")))?;
    report.write()
}
