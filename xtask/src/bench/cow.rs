//! What copy-on-write costs a writer.

use super::Bench;
use super::report::{Report, number};
use super::shell::shell;
use crate::command::{Done, cargo, output, root};

pub(super) fn run(_: &Bench, _: u64, _: u64) -> Done {
    cargo(&["build", "--locked", "--release", "-p", "mantis-cow", "--example", "cow_cost"])?;
    let program = root().join("target/release/examples/cow_cost");
    let printed = output(&mut shell(&program.display().to_string()))?;
    let mut report = Report::new("cow", "Copy-on-write");
    report.say(
        "What one write of a page of 4 KiB pays before it happens, in nanoseconds of a core, by threads that write at once and snapshots that overlap: where no snapshot is open, for the first write of a page since the last backup (it is marked as changed) and for any other; where the page is saved already, and where it is saved now, to memory or to the spill file (in the page cache). First images are saved in bursts of 1,024, as of a checkpoint, and the snapshot is read in between. To be reached: 2, 20 and 1,000.",
    );
    let heads = [
        "threads",
        "snapshots",
        "no snapshot, first",
        "no snapshot",
        "repeat",
        "first, to memory",
        "first, spilled",
        "spilled, MB/s",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let mut beyond = String::new();
    let mut copied = String::new();
    for line in printed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [threads, snapshots, marked, none, repeat, memory, spilled] => {
                let nanos: f64 = spilled.parse().unwrap_or(f64::NAN);
                let rate = number(4096.0 * 1e3 / nanos);
                rows.push(
                    [threads, snapshots, marked, none, repeat, memory, spilled, &rate]
                        .map(str::to_owned)
                        .to_vec(),
                );
            }
            [bytes, nanos] => {
                beyond = bytes.to_owned();
                copied = nanos.to_owned();
            }
            _ => return Err(format!("the benchmark printed {line:?}")),
        }
    }
    report.table(&rows);
    report.say(&format!(
        "A page that is saved in memory takes {beyond} bytes beyond its own 4,096. Of a first write, {copied} ns are the writing of the page's bytes into memory, by one thread."
    ));
    report.write()
}
