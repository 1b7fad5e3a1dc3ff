//! What a writer of the database sees, alone and while it is backed up again and again.

use std::process::{Command, Stdio};

use super::plot::Plot;
use super::report::{Report, number};
use super::shell::{median, shell};
use super::{Bench, mib_of};
use crate::command::{Done, cargo, output, root};

const SECONDS: u32 = 12;

/// What the writer says: transactions a second, p50, p99, p99.9 and max in ms, the longest WAL in MiB; and how many backups ended
/// meanwhile.
type Seen = [f64; 7];

/// A writer, and what goes on beside it.
struct Way {
    name: &'static str,
    engine: &'static str,
    /// A command that is run again and again.
    beside: Option<String>,
    /// The codec of backups that the writer's own process makes, and how many MB/s they read at most.
    inside: Option<&'static str>,
    /// On one core, which the writer fills.
    one_core: bool,
}

fn way(name: &'static str, engine: &'static str, beside: Option<String>) -> Way {
    Way { name, engine, beside, inside: None, one_core: false }
}

fn ways(bench: &Bench) -> Vec<Way> {
    let work = bench.work.display();
    let ours = |codec: &str| {
        format!(
            "{} -q backup {work}/hot.db --repo {work}/repo --full --compression {codec}",
            bench.mantis
        )
    };
    let mut ways = vec![
        way("SQLite, alone", "sqlite", None),
        way("mantis backup, zstd:1", "sqlite", Some(ours("zstd:1"))),
        way("mantis backup, none", "sqlite", Some(ours("none"))),
        way(
            "mantis watch, every second",
            "sqlite",
            Some(format!(
                "timeout -s INT {SECONDS} {} -q watch {work}/hot.db --repo {work}/repo --every 1s",
                bench.mantis
            )),
        ),
        way(
            "VACUUM INTO",
            "sqlite",
            Some(format!("rm -f {work}/copy; sqlite3 {work}/hot.db \"vacuum into '{work}/copy'\"")),
        ),
        way(
            "sqlite3 .backup",
            "sqlite",
            Some(format!(
                "rm -f {work}/copy; timeout {SECONDS} sqlite3 {work}/hot.db '.backup {work}/copy'"
            )),
        ),
    ];
    if bench.installed.contains(&"restic") {
        let restic = format!(
            "RESTIC_PASSWORD=x restic -q -r {work}/restic backup --force {work}/hot.db {work}/hot.db-wal"
        );
        ways.push(way("restic of the raw files", "sqlite", Some(restic)));
    }
    let inside = |name, engine, inside| Way { inside, ..way(name, engine, None) };
    ways.extend([
        inside("SQLite by the VFS, alone", "sqlite-vfs", None),
        inside("mantis in its process, zstd:1", "sqlite-vfs", Some("zstd:1")),
        inside("the same, at 100 MB/s at most", "sqlite-vfs", Some("zstd:1 100")),
        inside("redb, alone", "redb", None),
        inside("mantis in its process, redb, zstd:1", "redb", Some("zstd:1")),
    ]);
    let one_core = |name, beside| Way { one_core: true, ..way(name, "sqlite", beside) };
    ways.extend([
        one_core("SQLite on one core, alone", None),
        one_core("mantis backup on the same core, zstd:1", Some(ours("zstd:1"))),
        Way {
            inside: Some("zstd:1"),
            engine: "sqlite-vfs",
            ..one_core("mantis in its process, on the same core", None)
        },
    ]);
    ways
}

fn observe(bench: &Bench, writer: &str, way: &Way) -> Result<Seen, String> {
    let work = bench.work.display();
    output(&mut shell(&format!(
        "cd {work}; rm -rf hot.db* repo inside restic copy; cp hot-base.db hot.db; {} -q init --repo {work}/repo; (RESTIC_PASSWORD=x restic -q -r restic init || true) 2>/dev/null; sync; cat hot.db >/dev/null",
        bench.mantis
    )))?;
    let (database, pin) = match way.engine {
        "redb" => (format!("{work}/hot.redb"), ""),
        _ => (format!("{work}/hot.db"), if way.one_core { "taskset -c 0 " } else { "" }),
    };
    let inside = way.inside.map_or_else(String::new, |codec| format!("{work}/inside {codec}"));
    let step = format!("exec {pin}{writer} {} {database} {SECONDS} {inside}", way.engine);
    let mut child =
        shell(&step).stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let mut backups = 0;
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        match &way.beside {
            // One that does not come to its end is no backup, and the table says so.
            Some(beside) => {
                let status =
                    shell(&format!("{pin}bash -c {beside:?}")).stderr(Stdio::null()).status();
                backups += u32::from(status.is_ok_and(|status| status.success()));
            }
            None => std::thread::sleep(std::time::Duration::from_millis(100)),
        }
    }
    let printed = child.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let mut seen: Seen = numbers.try_into().map_err(|_| format!("the writer said {text:?}"))?;
    seen[6] += f64::from(backups);
    Ok(seen)
}

pub(super) fn run(bench: &Bench, mib: u64, rounds: u64) -> Done {
    cargo(&["build", "--locked", "--release", "-p", "mantis-tests", "--example", "hot_writer"])?;
    let writer = root().join("target/release/examples/hot_writer").display().to_string();
    let base = bench.database("hot-base.db", mib)?;
    // A redb database is filled by the writer itself, once.
    let work = bench.work.display();
    output(
        Command::new(&writer).args(["redb", &format!("{work}/hot.redb"), "1"]).current_dir(root()),
    )?;
    let ways = ways(bench);
    let mut found: Vec<Vec<Seen>> = ways.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for (way, seen) in ways.iter().zip(&mut found) {
            eprintln!("writer, round {} of {rounds}: {}", round + 1, way.name);
            seen.push(observe(bench, &writer, way)?);
        }
    }
    let middle = |seen: &[Seen], at: usize| median(seen.iter().map(|seen| seen[at]).collect());
    let mut report = Report::new("writer", "What the writer sees");
    report.say(&format!(
        "SQLite of {} MiB, WAL, synchronous=NORMAL, and a redb of 500,000 rows, one commit a second durable; five updates at random places a transaction, one after another without a pause, for {SECONDS} s; beside it full backups, one after another without a pause. Medians of {rounds}; shares are of the writer alone on the same engine and cores.",
        mib_of(&base)?
    ));
    let heads = [
        "beside the writer",
        "tx/s",
        "of alone",
        "p50 ms",
        "p99 ms",
        "of alone",
        "p99.9 ms",
        "max ms",
        "longest WAL MiB",
        "backups",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let (mut alone, mut bars) = (&found[0], Vec::new());
    for (way, seen) in ways.iter().zip(&found) {
        if way.name.ends_with("alone") {
            alone = seen;
        }
        // The one of the VFS on one core is compared with that on one core.
        let share = |at: usize| middle(seen, at) / middle(alone, at);
        let mut row =
            vec![way.name.to_owned(), format!("{:.0}", middle(seen, 0)), number(share(0))];
        row.extend(
            [middle(seen, 1), middle(seen, 2), share(2), middle(seen, 3), middle(seen, 4)]
                .map(number),
        );
        row.extend([5, 6].map(|at| format!("{:.0}", middle(seen, at))));
        rows.push(row);
        let wal = middle(seen, 5);
        if way.engine != "redb" && !way.one_core {
            bars.push((way.name.to_owned(), wal, format!("{wal:.0} MiB")));
        }
    }
    report.table(&rows);
    let title = "The longest WAL while it is backed up without a pause, MiB".into();
    report.plot("wal", &Plot { title, bars, logarithmic: false })?;
    output(&mut shell(&format!("cd {work} && rm -rf hot.db* hot.redb repo inside restic copy")))?;
    report.write()
}
