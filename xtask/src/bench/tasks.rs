//! What people do with a backup tool, by each of them on the same database: full, nothing changed, 1% and 10% changed, restore,
//! verify, prune. As the database grows.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::limits;
use super::plot::Plot;
use super::report::{Report, bytes, number};
use super::shell::{Cost, measure, median, middle, shell};
use super::tools::{Tool, all};
use super::{Bench, MUTATE, mib_of};
use crate::command::{Done, output};

/// Tools that are worth their time on a large database.
const LARGE: [&str; 7] = [
    "cp + fsync",
    "zstd -1 -T2 + fsync",
    "mantis, none",
    "mantis, zstd:1",
    "mantis, zstd:1, encrypted",
    "restic (encrypts)",
    "rustic (encrypts)",
];
/// From which size on a database is large, in MiB.
const LARGE_MIB: u64 = 4096;

/// What is done, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    Full,
    Restore,
    /// The same restore, and nothing of the repository in the page cache.
    RestoreCold,
    Idle,
    OnePercent,
    TenPercent,
    RestoreStack,
    Verify,
    Prune,
}

pub(super) const TASKS: [(Task, &str); 9] = [
    (Task::Full, "full"),
    (Task::Restore, "its restore"),
    (Task::RestoreCold, "the same, from disk"),
    (Task::Idle, "nothing changed"),
    (Task::OnePercent, "1% changed"),
    (Task::TenPercent, "10% changed"),
    (Task::RestoreStack, "restore of the last one"),
    (Task::Verify, "verify"),
    (Task::Prune, "prune"),
];

/// One round of one tool: each task with what it cost, and by how much the repository grew.
type Round = Vec<(Task, Cost, f64)>;

/// All rounds of a tool.
pub(super) struct Found {
    pub(super) name: String,
    rounds: Vec<Round>,
}

impl Found {
    fn costs(&self, task: Task) -> Vec<Cost> {
        self.all(task).map(|(_, cost, _)| *cost).collect()
    }

    fn all(&self, task: Task) -> impl Iterator<Item = &(Task, Cost, f64)> {
        self.rounds.iter().flatten().filter(move |(done, ..)| *done == task)
    }

    /// Median seconds; NaN where the tool does not do that.
    pub(super) fn seconds(&self, task: Task) -> f64 {
        middle(&self.costs(task), |cost| cost.wall)
    }

    fn grown(&self, task: Task) -> f64 {
        median(self.all(task).map(|(.., grown)| *grown).collect())
    }

    /// The most memory that any of the tasks took, in MiB.
    pub(super) fn peak(&self) -> f64 {
        self.rounds.iter().flatten().map(|(_, cost, _)| cost.peak).fold(0.0, f64::max)
    }
}

/// The bytes of all files in a folder.
fn len_of(folder: &Path) -> f64 {
    let mut waiting = vec![folder.to_owned()];
    let mut total = 0;
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(about) if about.is_dir() => waiting.push(entry.path()),
                Ok(about) => total += about.len(),
                Err(_) => {}
            }
        }
    }
    total as f64
}

/// On a virtual machine free memory may go back to the host, and getting it again costs whoever asks first: as much is used and
/// freed as will be needed. And nothing dirty is left for the next step to wait for.
fn settle(bench: &Bench, large: bool) -> Done {
    let work = bench.work.display();
    let warm = if large {
        String::new()
    } else {
        format!("for i in 1 2; do cat {work}/t.db >{work}/warm$i; done; sync; rm {work}/warm*;")
    };
    output(&mut shell(&format!("{warm} sync; cat {work}/t.db >/dev/null"))).map(drop)
}

/// Lets the page cache go of every file in the repository.
const EVICT: &str = "
import os, sys
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        file = os.open(os.path.join(folder, name), os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
";

/// Has all of the repository in the page cache, or nothing of it, whatever a tool left there itself.
fn cached(bench: &Bench, yes: bool) -> Done {
    let repo = bench.work.join("repo");
    let mut command = if yes {
        shell(&format!("find {} -type f -exec cat {{}} + >/dev/null", repo.display()))
    } else {
        let mut evict = Command::new("python3");
        evict.args(["-c", EVICT]).arg(repo);
        evict
    };
    output(&mut command).map(drop)
}

fn change(bench: &Bench, share: &str) -> Done {
    let mut command = Command::new("python3");
    command.args(["-c", MUTATE]).arg(bench.work.join("t.db")).arg(share);
    output(&mut command).map(drop)
}

fn round(bench: &Bench, tool: &Tool, base: &Path, large: bool) -> Result<Round, String> {
    let (work, repo) = (bench.work.display(), bench.work.join("repo"));
    output(&mut shell(&format!(
        "rm -rf {work}/repo {work}/out {work}/t.db*; mkdir {work}/out; cp {} {work}/t.db; {}",
        base.display(),
        tool.init
    )))?;
    let mut done = Round::new();
    let mut before = len_of(&repo);
    let mut run = |task: Task, step: &str| -> Done {
        let cost = measure(step)?;
        let after = len_of(&repo);
        done.push((task, cost, after - before));
        before = after;
        output(&mut shell("sync")).map(drop)
    };
    settle(bench, large)?;
    run(Task::Full, &tool.backup)?;
    let restored = |large: bool| -> Done {
        if tool.exact && !large {
            output(&mut shell(&format!("find {work}/out -type f -exec cmp {work}/t.db {{}} \\;")))?;
        }
        output(&mut shell(&format!("rm -rf {work}/out; mkdir {work}/out; sync"))).map(drop)
    };
    for (task, warm) in [(Task::Restore, true), (Task::RestoreCold, false)] {
        settle(bench, large)?;
        cached(bench, warm)?;
        run(task, &tool.restore)?;
        restored(large)?;
    }
    if tool.is_repository {
        run(Task::Idle, &tool.backup)?;
        for (task, share) in [(Task::OnePercent, "0.01"), (Task::TenPercent, "0.1")] {
            change(bench, share)?;
            output(&mut shell("sync"))?;
            run(task, &tool.backup)?;
        }
        settle(bench, large)?;
        cached(bench, true)?;
        run(Task::RestoreStack, &tool.restore)?;
        restored(large)?;
    }
    for (task, step) in [(Task::Verify, &tool.verify), (Task::Prune, &tool.prune)] {
        if let Some(step) = step {
            cached(bench, true)?;
            run(task, step)?;
        }
    }
    Ok(done)
}

/// By all tools, or the given ones, on a database of about so many MiB: a report, and what was found.
fn size(bench: &Bench, mib: u64, rounds: u64) -> Result<(Report, Vec<Found>), String> {
    let (name, file) = match mib {
        0..512 => ("tasks-small", "small.db"),
        512..LARGE_MIB => ("tasks", "base.db"),
        _ => ("tasks-large", "large.db"),
    };
    let large = mib >= LARGE_MIB;
    let base = bench.database(file, mib)?;
    let tools: Vec<Tool> = all(bench)
        .into_iter()
        .filter(|tool| !large || LARGE.contains(&tool.name.as_str()))
        .collect();
    let mut found: Vec<Found> =
        tools.iter().map(|tool| Found { name: tool.name.clone(), rounds: Vec::new() }).collect();
    for number in 0..rounds {
        for (tool, found) in tools.iter().zip(&mut found) {
            eprintln!("{mib} MiB, round {} of {rounds}: {}", number + 1, tool.name);
            found.rounds.push(round(bench, tool, &base, large)?);
        }
    }
    let len = mib_of(&base)?;
    let mut report = Report::new(name, &format!("Every task, {len} MiB"));
    report.say(&format!("SQLite, medians of {rounds}. `cargo xtask bench {mib} {rounds} tasks`."));
    tables(&mut report, &found);
    if large {
        fs::remove_file(&base).map_err(|error| format!("{}: {error}", base.display()))?;
    }
    output(&mut shell(&format!("cd {} && rm -rf repo out t.db*", bench.work.display())))?;
    Ok((report, found))
}

fn row(name: &str, cells: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(cells).collect()
}

fn tables(report: &mut Report, found: &[Found]) {
    report.say("Seconds. Restores and verify find the repository in the page cache, whatever a tool left there; \"from disk\" nothing of it.");
    let heads = TASKS.iter().map(|(_, name)| (*name).to_owned());
    let mut rows = vec![row("tool", heads)];
    rows.extend(
        found.iter().map(|found| {
            row(&found.name, TASKS.iter().map(|(task, _)| number(found.seconds(*task))))
        }),
    );
    report.table(&rows);
    report.say("What was added to the repository, and what a full backup and a restore took of the machine: seconds of its cores, resident memory at the peak of any task, bytes read from the disk and written to it by the kernel's count (what is cached is not read).");
    let heads = [
        "full",
        "nothing changed",
        "1% changed",
        "10% changed",
        "CPU s, full",
        "CPU s, restore",
        "peak MiB",
        "read MiB, full",
        "written MiB, full",
    ];
    let mut rows = vec![row("tool", heads.map(str::to_owned))];
    rows.extend(found.iter().map(|found| {
        let full = found.costs(Task::Full);
        let stored = [Task::Full, Task::Idle, Task::OnePercent, Task::TenPercent]
            .map(|task| bytes(found.grown(task)));
        let costs = [
            number(middle(&full, |cost| cost.cpu)),
            number(middle(&found.costs(Task::Restore), |cost| cost.cpu)),
            format!("{:.0}", found.peak()),
            format!("{:.0}", middle(&full, |cost| cost.read)),
            format!("{:.0}", middle(&full, |cost| cost.written)),
        ];
        row(&found.name, stored.into_iter().chain(costs))
    }));
    report.table(&rows);
}

fn plots(report: &mut Report, found: &[Found]) -> Done {
    let bars = |value: &dyn Fn(&Found) -> f64, show: &dyn Fn(f64) -> String| {
        let bars = found.iter().map(|found| (found.name.clone(), value(found), show(value(found))));
        bars.filter(|(_, value, _)| !value.is_nan()).collect::<Vec<_>>()
    };
    let seconds = |value: f64| format!("{} s", number(value));
    let mut plot = |file: &str, title: &str, bars, logarithmic| {
        report.plot(file, &Plot { title: title.into(), bars, logarithmic })
    };
    plot(
        "full",
        "A full backup of 1 GiB, seconds",
        bars(&|it| it.seconds(Task::Full), &seconds),
        false,
    )?;
    plot(
        "restore",
        "Its restore, seconds",
        bars(&|it| it.seconds(Task::Restore), &seconds),
        false,
    )?;
    plot(
        "restore-cold",
        "Its restore, nothing of the repository in the page cache, seconds",
        bars(&|it| it.seconds(Task::RestoreCold), &seconds),
        false,
    )?;
    plot(
        "one-percent",
        "A backup after 1% of the pages changed, seconds",
        bars(&|it| it.seconds(Task::OnePercent), &seconds),
        false,
    )?;
    plot(
        "one-percent-stored",
        "What that added to the repository",
        bars(&|it| it.grown(Task::OnePercent), &bytes),
        true,
    )?;
    plot(
        "peak",
        "The most memory of any task, MiB",
        bars(&Found::peak, &|value| format!("{value:.0} MiB")),
        false,
    )
}

/// The part for one size.
pub(super) fn run(bench: &Bench, mib: u64, rounds: u64) -> Done {
    let (mut report, found) = size(bench, mib, rounds)?;
    if (512..LARGE_MIB).contains(&mib) {
        plots(&mut report, &found)?;
        limits::write(&found, rounds)?;
    }
    report.write()
}
