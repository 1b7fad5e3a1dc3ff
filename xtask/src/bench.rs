//! Wall times side by side with `cp` and `zstd` on the same file, in one run: medians, as ratios.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::command::{Done, cargo, exists, output, root};

/// One way to do a piece of work: what is run, in a shell, timed.
struct Way {
    name: &'static str,
    before: String,
    run: String,
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-ec", script]).current_dir(root());
    command
}

/// Runs a way once; seconds and peak memory in MiB.
fn measure(way: &Way, warm: &str) -> Result<(f64, u64), String> {
    output(&mut shell(&way.before))?;
    output(&mut shell(warm))?;
    let timed = format!(
        "python3 -c 'import resource,subprocess,sys; code=subprocess.run([\"bash\",\"-ec\",sys.argv[1]], stdout=subprocess.DEVNULL).returncode; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)' {:?}",
        way.run
    );
    let start = Instant::now();
    let printed = output(&mut shell(&timed))?;
    let seconds = start.elapsed().as_secs_f64();
    let peak = printed.trim().parse::<u64>().map_err(|error| format!("{printed}: {error}"))?;
    Ok((seconds, peak >> 10))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

fn ways(work: &Path, mantis: &str) -> Vec<Way> {
    let work = work.display();
    let fresh = format!(
        "rm -rf {work}/repo {work}/out; mkdir {work}/out; cat {work}/base.db >/dev/null; {mantis} -q init --repo {work}/repo"
    );
    let filled = |codec: &str| {
        format!(
            "{fresh}; {mantis} -q backup {work}/base.db --repo {work}/repo --compression {codec}"
        )
    };
    let backup = |codec: &str| {
        format!("{mantis} -q backup {work}/base.db --repo {work}/repo --compression {codec}")
    };
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

/// Makes the database.
const FILL: &str = include_str!("bench_fill.py");

/// `cargo xtask bench [MIB] [ROUNDS]`
pub(crate) fn run(arguments: &[String]) -> Done {
    let number = |at: usize, default: u64| {
        arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default)
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
    let base = work.join("base.db");
    let right = fs::metadata(&base)
        .is_ok_and(|base| base.len() >> 20 >= mib && base.len() >> 20 < mib + mib / 8 + 32);
    if !right {
        let _ = fs::remove_file(&base);
        let filled =
            Command::new("python3").args(["-c", FILL]).arg(&base).arg(mib.to_string()).status();
        filled.map_err(|error| error.to_string())?;
    }
    let len = fs::metadata(&base).map_err(|error| error.to_string())?.len();
    let ways = ways(&work, &mantis);
    // On a virtual machine free memory may go back to the host, and getting it again costs whoever asks
    // first; and dirty pages of one run must not be written in the next. So each run begins with three
    // times as much memory just freed as it is going to fill, and nothing dirty.
    let copies = format!("cat {0}/base.db >{0}/warm$i", work.display());
    let warm =
        format!("for i in 1 2 3; do {copies}; done; sync; rm {0}/warm*; sync", work.display());
    let mut found: Vec<(Vec<f64>, u64)> = ways.iter().map(|_| (Vec::new(), 0)).collect();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (way, (times, peak)) in ways.iter().zip(&mut found) {
            let (seconds, memory) = measure(way, &warm)?;
            times.push(seconds);
            *peak = memory.max(*peak);
        }
    }
    let medians: Vec<f64> = found.iter().map(|(times, _)| median(times.clone())).collect();
    println!("{} MiB SQLite, medians of {rounds}\n", len >> 20);
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
