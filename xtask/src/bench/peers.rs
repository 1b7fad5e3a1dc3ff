//! Wall times beside `cp` and `zstd` on the same file: medians, as ratios.

use super::shell::{measure, median, shell};
use super::{Bench, mib_of};
use crate::command::{Done, output};

/// One way to do a piece of work: what is run, in a shell, timed.
struct Way {
    name: &'static str,
    before: String,
    run: String,
}

fn ways(bench: &Bench) -> Vec<Way> {
    let (work, mantis) = (bench.work.display(), &bench.mantis);
    let fresh = format!(
        "rm -rf {work}/repo {work}/out; mkdir {work}/out; cat {work}/base.db >/dev/null; {mantis} -q init --repo {work}/repo"
    );
    let backup = |codec: &str| {
        format!("{mantis} -q backup {work}/base.db --repo {work}/repo --compression {codec}")
    };
    let filled = |codec: &str| format!("{fresh}; {}", backup(codec));
    let restore = format!("{mantis} -q restore latest --to {work}/out/r.db --repo {work}/repo");
    vec![
        Way {
            name: "cp + fsync",
            before: fresh.clone(),
            run: format!("cp {work}/base.db {work}/out/c.db; sync {work}/out/c.db"),
        },
        Way { name: "mantis backup, none", before: fresh.clone(), run: backup("none") },
        Way {
            name: "zstd -1 -T2 + fsync",
            before: fresh.clone(),
            run: format!(
                "zstd -q -f -1 -T2 {work}/base.db -o {work}/out/c.zst; sync {work}/out/c.zst"
            ),
        },
        Way { name: "mantis backup, zstd:1", before: fresh.clone(), run: backup("zstd:1") },
        Way { name: "mantis backup, lz4", before: fresh.clone(), run: backup("lz4") },
        Way { name: "mantis restore, none", before: filled("none"), run: restore.clone() },
        Way { name: "mantis restore, zstd:1", before: filled("zstd:1"), run: restore },
        Way {
            name: "mantis verify, zstd:1",
            before: filled("zstd:1"),
            run: format!("{mantis} -q verify --repo {work}/repo"),
        },
    ]
}

pub(super) fn run(bench: &Bench, mib: u64, rounds: u64) -> Done {
    let base = bench.database("base.db", mib)?;
    let ways = ways(bench);
    // On a virtual machine free memory may go back to the host, and getting it again costs whoever asks
    // first; and dirty pages of one run must not be written in the next. So each run begins with three
    // times as much memory just freed as it is going to fill, and nothing dirty.
    let copies = format!("cat {0}/base.db >{0}/warm$i", bench.work.display());
    let warm = format!(
        "for i in 1 2 3; do {copies}; done; sync; rm {0}/warm*; sync",
        bench.work.display()
    );
    let mut found: Vec<(Vec<f64>, u64)> = ways.iter().map(|_| (Vec::new(), 0)).collect();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (way, (times, peak)) in ways.iter().zip(&mut found) {
            output(&mut shell(&way.before))?;
            output(&mut shell(&warm))?;
            let (seconds, memory) = measure(&way.run)?;
            times.push(seconds);
            *peak = memory.max(*peak);
        }
    }
    let medians: Vec<f64> = found.iter().map(|(times, _)| median(times.clone())).collect();
    println!("\n## Beside cp and zstd\n\n{} MiB SQLite, medians of {rounds}.\n", mib_of(&base)?);
    println!("| work | s | of cp | of zstd | peak MiB |\n| --- | --- | --- | --- | --- |");
    for ((way, seconds), (_, peak)) in ways.iter().zip(&medians).zip(&found) {
        println!(
            "| {} | {seconds:.2} | {:.2} | {:.2} | {peak} |",
            way.name,
            seconds / medians[0],
            seconds / medians[2]
        );
    }
    Ok(())
}
