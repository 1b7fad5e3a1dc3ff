//! Backups of a database that a process holds open: the WAL tells what changed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::report::{Report, number};
use super::shell::{measure, median, shell};
use super::{Bench, MUTATE, mib_of};
use crate::command::{Done, output};

pub(super) fn run(bench: &Bench, mib: u64, rounds: u64) -> Done {
    let base = bench.database("base.db", mib)?;
    let (work, mantis) = (bench.work.display(), &bench.mantis);
    let backup = format!("{mantis} -q backup {work}/t.db --repo {work}/repo --compression zstd:1");
    let mut found: Vec<[f64; 4]> = Vec::new();
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
        let full = measure(&backup)?.wall;
        let idle = measure(&backup)?.wall;
        let program = measure(&format!("{mantis} --version"))?.wall;
        change("0.01")?;
        let changed = measure(&backup)?.wall;
        drop(to);
        holder.wait().map_err(|error| error.to_string())?;
        found.push([full, idle, changed, program]);
    }
    let [full, idle, changed, program] =
        [0, 1, 2, 3].map(|at| median(found.iter().map(|found| found[at]).collect()));
    let mut report = Report::new("known", "Changes that the WAL tells");
    report.say(&format!(
        "{} MiB SQLite that a process holds open, zstd:1, medians of {rounds}. A program that only says its version takes {:.0} ms of this measurement.",
        mib_of(&base)?,
        program * 1e3
    ));
    let heads = ["work", "s", "of the full one", "at most"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for (name, seconds, limit) in
        [("full", full, ""), ("nothing changed", idle, "20 ms"), ("1% changed", changed, "0.05")]
    {
        rows.push(vec![name.into(), number(seconds), number(seconds / full), limit.into()]);
    }
    report.table(&rows);
    output(&mut shell(&format!("rm -rf {work}/repo {work}/t.db*")))?;
    report.write()
}
