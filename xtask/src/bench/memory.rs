//! Peak memory of a backup and of a restore as the source grows.

use super::Bench;
use super::shell::{measure, shell};
use crate::command::{Done, output};

pub(super) fn run(bench: &Bench, mib: u64) -> Done {
    bench.database("base.db", mib)?;
    let (work, mantis) = (bench.work.display(), &bench.mantis);
    println!(
        "\n## Memory\n\nPeak resident memory in MiB; the sources are a SQLite database, cut or repeated to the length, backed up as raw pages with zstd:1.\n"
    );
    println!("| source MiB | backup | restore | verify |\n| --- | --- | --- | --- |");
    for wanted in [100u64, 1024, 10 * 1024] {
        let source = format!(
            "rm -rf {work}/big {work}/repo {work}/out; mkdir {work}/out; for i in $(seq {}); do cat {work}/base.db; done | head -c {wanted}M >{work}/big; {mantis} -q init --repo {work}/repo",
            wanted.div_ceil(mib),
        );
        // `head` closes the pipe before `cat` is done: that is no failure.
        output(&mut shell(&format!("set +o pipefail; {source}")))?;
        let step = |command: &str| measure(&format!("{mantis} -q {command} --repo {work}/repo"));
        let backup = step(&format!("backup file:{work}/big --compression zstd:1"))?.1;
        let restore = step(&format!("restore latest --to {work}/out/r"))?.1;
        output(&mut shell(&format!("cmp {work}/big {work}/out/r; rm {work}/out/r")))?;
        let verify = step("verify")?.1;
        println!("| {wanted} | {backup} | {restore} | {verify} |");
    }
    output(&mut shell(&format!("rm -rf {work}/big {work}/repo {work}/out")))?;
    Ok(())
}
