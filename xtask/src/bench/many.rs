//! Thousands of databases watched by one command.

use std::process::Command;

use super::Bench;
use super::report::{Report, number};
use super::shell::shell;
use crate::command::{Done, output};

/// Runs the watch, and looks at it.
const WATCH: &str = include_str!("many.py");
/// How many databases there are.
const COUNTS: [u32; 3] = [100, 500, 2000];
/// Seconds from look to look.
const EVERY: u32 = 10;
/// Databases to which something is committed in the end.
const BUSY: u32 = 100;

pub(super) fn run(bench: &Bench) -> Done {
    let work = bench.work.display();
    let mut report = Report::new("many", "Many databases");
    report.say(&format!(
        "`mantis watch '…/**/*.db' --every {EVERY}s` on databases of 60 KiB each, into a repository on the same disk: until each had its first backup; what a minute costs in which nothing is committed; and how long it takes until one commit to each of {BUSY} of them, made at once, is in backups, of which up to {EVERY} s are the interval."
    ));
    let heads = [
        "databases",
        "first backups, s",
        "of a core while idle",
        "MiB resident",
        "objects changed while idle",
        "commits in backups, s",
        "failed tries",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for count in COUNTS {
        output(&mut shell(&format!("rm -rf {work}/many {work}/many-repo")))?;
        let mut watch = Command::new("python3");
        watch.args(["-c", WATCH, &bench.mantis]).arg(&bench.work);
        watch.args([count, EVERY, BUSY].map(|number| number.to_string()));
        let printed = output(&mut watch)?;
        let numbers: Vec<f64> =
            printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [first, share, resident, changed, then, failed] = numbers[..] else {
            return Err(format!("the measurement printed {printed:?}"));
        };
        rows.push(vec![
            count.to_string(),
            number(first),
            format!("{:.2}%", share * 100.0),
            number(resident),
            number(changed),
            number(then),
            number(failed),
        ]);
    }
    report.table(&rows);
    output(&mut shell(&format!("rm -rf {work}/many {work}/many-repo")))?;
    report.write()
}
