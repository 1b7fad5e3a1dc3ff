//! Full, idle and 1% changed, beside chunk stores; encrypted beside not; and with changes that the WAL tells.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::shell::{measure, shell};
use super::{Bench, mib_of};
use crate::command::{Done, exists, output};

const MUTATE: &str = include_str!("mutate.py");

/// A backup tool: how a repository is made, and how the database is backed up to it.
struct Tool {
    name: &'static str,
    init: String,
    backup: String,
}

fn tools(bench: &Bench) -> Vec<Tool> {
    let (work, mantis) = (bench.work.display(), &bench.mantis);
    let mut tools = vec![
        Tool {
            name: "mantis, zstd:3",
            init: format!("{mantis} -q init --repo {work}/repo"),
            backup: format!(
                "{mantis} -q backup {work}/t.db --repo {work}/repo --compression zstd:3"
            ),
        },
        Tool {
            name: "mantis, zstd:3, encrypted",
            init: format!("MANTIS_PASSWORD=x {mantis} -q init --repo {work}/repo"),
            backup: format!(
                "MANTIS_PASSWORD=x {mantis} -q backup {work}/t.db --repo {work}/repo --compression zstd:3"
            ),
        },
        Tool {
            name: "mantis, none",
            init: format!("{mantis} -q init --repo {work}/repo"),
            backup: format!("{mantis} -q backup {work}/t.db --repo {work}/repo --compression none"),
        },
        Tool {
            name: "mantis, none, encrypted",
            init: format!("MANTIS_PASSWORD=x {mantis} -q init --repo {work}/repo"),
            backup: format!(
                "MANTIS_PASSWORD=x {mantis} -q backup {work}/t.db --repo {work}/repo --compression none"
            ),
        },
    ];
    if exists("restic") || Command::new("restic").arg("version").output().is_ok() {
        tools.push(Tool {
            name: "restic (encrypts)",
            init: format!("RESTIC_PASSWORD=x restic -q -r {work}/repo init"),
            backup: format!("RESTIC_PASSWORD=x restic -q -r {work}/repo backup {work}/t.db"),
        });
    }
    if exists("rustic") {
        let with = format!(
            "RUSTIC_PASSWORD=x RUSTIC_REPOSITORY={work}/repo RUSTIC_NO_PROGRESS=true rustic"
        );
        tools.push(Tool {
            name: "rustic (encrypts)",
            init: format!("{with} init >/dev/null 2>&1"),
            backup: format!("{with} backup {work}/t.db >/dev/null 2>&1"),
        });
    }
    tools
}

fn repository_len(bench: &Bench) -> Result<u64, String> {
    let files = format!(
        "find {}/repo -type f -printf '%s\\n' | awk '{{n+=$1}} END {{print n}}'",
        bench.work.display()
    );
    let printed = output(&mut shell(&files))?;
    printed.trim().parse().map_err(|error| format!("{printed}: {error}"))
}

fn middle(rounds: &[Vec<f64>], at: usize) -> f64 {
    super::shell::median(rounds.iter().filter_map(|round| round.get(at).copied()).collect())
}

pub(super) fn run(bench: &Bench, mib: u64, rounds: u64) -> Done {
    let base = bench.database("base.db", mib)?;
    let work = bench.work.display();
    output(&mut shell(&format!("cp {work}/base.db {work}/changed.db")))?;
    let mutated = output(
        Command::new("python3")
            .args(["-c", MUTATE])
            .arg(bench.work.join("changed.db"))
            .args(["0.01"])
            .arg(bench.work.join("changed.pages")),
    )?;
    let limit = output(&mut shell(&format!("zstd -q -3 -c {work}/changed.pages | wc -c")))?;
    println!(
        "\n## Incrementals\n\n{} MiB SQLite, medians of {rounds}; then nothing changed, then 1% of the pages at random ({} pages), told by hashes. `zstd -3` makes {} bytes of exactly those pages.\n",
        mib_of(&base)?,
        mutated.trim().replace(' ', " of "),
        limit.trim()
    );
    println!(
        "| tool | full s | full MB | idle s | idle +B | 1% s | 1% +B |\n| --- | --- | --- | --- | --- | --- | --- |"
    );
    for tool in tools(bench) {
        let mut found: Vec<Vec<f64>> = Vec::new();
        for _ in 0..rounds {
            let fresh = format!(
                "rm -rf {work}/repo; cp {work}/base.db {work}/t.db; {}; cat {work}/t.db >/dev/null; sync",
                tool.init
            );
            output(&mut shell(&fresh))?;
            let full = measure(&tool.backup)?.0;
            let full_len = repository_len(bench)?;
            output(&mut shell("sync"))?;
            let idle = measure(&tool.backup)?.0;
            let idle_len = repository_len(bench)?;
            output(&mut shell(&format!("cp {work}/changed.db {work}/t.db; sync")))?;
            let changed = measure(&tool.backup)?.0;
            let changed_len = repository_len(bench)?;
            let bytes = [full_len, idle_len - full_len, changed_len - idle_len].map(|n| n as f64);
            found.push(vec![full, bytes[0], idle, bytes[1], changed, bytes[2]]);
        }
        println!(
            "| {} | {:.2} | {:.0} | {:.2} | {:.0} | {:.2} | {:.0} |",
            tool.name,
            middle(&found, 0),
            middle(&found, 1) / 1e6,
            middle(&found, 2),
            middle(&found, 3),
            middle(&found, 4),
            middle(&found, 5)
        );
    }
    known_changes(bench, rounds)
}

/// A process holds the database open and commits; the WAL tells what changed.
fn known_changes(bench: &Bench, rounds: u64) -> Done {
    let (work, mantis) = (bench.work.display(), &bench.mantis);
    let backup = format!("{mantis} -q backup {work}/t.db --repo {work}/repo --compression zstd:3");
    let mut found: Vec<Vec<f64>> = Vec::new();
    for _ in 0..rounds {
        output(&mut shell(&format!(
            "rm -rf {work}/repo {work}/t.db*; cp {work}/base.db {work}/t.db; {mantis} -q init --repo {work}/repo; sync"
        )))?;
        let mut holder = Command::new("python3")
            .args(["-c", MUTATE])
            .arg(bench.work.join("t.db"))
            .arg("hold")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("python3: {error}"))?;
        let mut to = holder.stdin.take().ok_or("no pipe")?;
        let mut from = BufReader::new(holder.stdout.take().ok_or("no pipe")?);
        let mut change = |share: &str| -> Done {
            let told = writeln!(to, "{share}").and_then(|()| from.read_line(&mut String::new()));
            told.map(|_| ()).map_err(|error| error.to_string())
        };
        change("0.0001")?;
        let full = measure(&backup)?.0;
        let idle = measure(&backup)?.0;
        change("0.01")?;
        let changed = measure(&backup)?.0;
        drop(to);
        holder.wait().map_err(|error| error.to_string())?;
        found.push(vec![full, idle, changed]);
    }
    println!(
        "\nWith changes that the WAL tells, as a process holds the database open: full {:.3} s, idle {:.3} s, 1% {:.3} s ({:.1}% of the full one).",
        middle(&found, 0),
        middle(&found, 1),
        middle(&found, 2),
        100.0 * middle(&found, 2) / middle(&found, 0)
    );
    Ok(())
}
