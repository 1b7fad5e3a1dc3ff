//! A live writer in a process of its own: alone, and beside hot backups one after another.

use std::process::{Command, Stdio};

use super::shell::{median, shell};
use super::{Bench, mib_of};
use crate::command::{Done, output};

const WRITER: &str = include_str!("writer.py");
const SECONDS: u32 = 12;

/// What the writer saw: transactions a second, p50, p99 and max in ms, the longest WAL in MiB; and how
/// many backups were made meanwhile.
type Seen = ([f64; 5], u32);

/// Runs the writer on a fresh copy, with `beside` again and again as long as it runs.
fn observe(bench: &Bench, beside: Option<&str>) -> Result<Seen, String> {
    let work = bench.work.display();
    let fresh = format!(
        "rm -rf {work}/hot.db* {work}/repo; cp {work}/hot-base.db {work}/hot.db; sync; {} -q init --repo {work}/repo",
        bench.mantis
    );
    output(&mut shell(&fresh))?;
    let mut writer = Command::new("python3")
        .args(["-c", WRITER])
        .arg(bench.work.join("hot.db"))
        .arg(SECONDS.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("python3: {error}"))?;
    let mut runs = 0;
    while writer.try_wait().map_err(|error| error.to_string())?.is_none() {
        match beside {
            Some(command) => {
                output(&mut shell(command))?;
                runs += 1;
            }
            None => std::thread::sleep(std::time::Duration::from_millis(100)),
        }
    }
    let printed = writer.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let numbers = numbers.try_into().map_err(|_| format!("the writer said {text:?}"))?;
    Ok((numbers, runs))
}

pub(super) fn run(bench: &Bench, mib: u64, rounds: u64) -> Done {
    let base = bench.database("hot-base.db", mib)?;
    let work = bench.work.display();
    let backup = |options: &str| {
        format!("{} -q backup {work}/hot.db --repo {work}/repo {options}", bench.mantis)
    };
    let ways = [
        ("alone", None),
        ("mantis backup, zstd:1, one job", Some(backup("--compression zstd:1 --jobs 1 --full"))),
        ("mantis backup, zstd:1", Some(backup("--compression zstd:1 --full"))),
        ("mantis backup, none", Some(backup("--compression none --full"))),
    ];
    let mut found: Vec<Vec<Seen>> = ways.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        eprintln!("writer, round {} of {rounds}", round + 1);
        for ((_, beside), seen) in ways.iter().zip(&mut found) {
            seen.push(observe(bench, beside.as_deref())?);
        }
    }
    println!(
        "\n## A live writer\n\n{} MiB SQLite, WAL, synchronous=NORMAL, 5 updates a transaction, {SECONDS} s, medians of {rounds}.\n",
        mib_of(&base)?
    );
    println!(
        "| beside it, in a loop | tx/s | of alone | p50 ms | p99 ms | max ms | longest WAL MiB | backups |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    let middle = |seen: &[Seen], at: usize| {
        median(seen.iter().filter_map(|(numbers, _)| numbers.get(at).copied()).collect())
    };
    let alone = found.first().map_or(f64::NAN, |seen| middle(seen, 0));
    for ((name, _), seen) in ways.iter().zip(&found) {
        let backups = median(seen.iter().map(|(_, runs)| f64::from(*runs)).collect());
        println!(
            "| {name} | {:.0} | {:.2} | {:.3} | {:.3} | {:.1} | {:.0} | {backups:.0} |",
            middle(seen, 0),
            middle(seen, 0) / alone,
            middle(seen, 1),
            middle(seen, 2),
            middle(seen, 3),
            middle(seen, 4),
        );
    }
    output(&mut shell(&format!("rm -rf {work}/hot.db* {work}/repo")))?;
    Ok(())
}
