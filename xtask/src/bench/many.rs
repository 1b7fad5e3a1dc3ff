//! Thousands of databases watched by one command.

use std::process::Command;

use super::Bench;
use super::report::{Report, number};
use super::shell::shell;
use super::stores::start_s3;
use crate::command::{Done, output, root};

/// Runs the watch, and looks at it.
const WATCH: &str = include_str!("many.py");
/// How many databases there are, into a repository on the disk.
const COUNTS: [u32; 3] = [100, 500, 2000];
/// And into one over a network.
const FAR: [u32; 2] = [200, 1000];
/// Milliseconds that a request takes on its way there.
const DELAY: u32 = 30;
/// Seconds from look to look.
const EVERY: u32 = 10;
/// Databases to which something is committed in the end.
const BUSY: u32 = 100;

/// One watch: a row of the table. `store`: the repository, and the folder where its objects are.
fn watch(bench: &Bench, count: u32, (repo, folder): (&str, &str)) -> Result<Vec<String>, String> {
    let mut watch = Command::new("python3");
    watch.args(["-c", WATCH, &bench.mantis]).arg(&bench.work).args([repo, folder]);
    watch.args([count, EVERY, BUSY].map(|number| number.to_string()));
    watch.env("AWS_ACCESS_KEY_ID", "bench").env("AWS_SECRET_ACCESS_KEY", "bench");
    watch.current_dir(root());
    let printed = output(&mut watch)?;
    let numbers: Vec<f64> =
        printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [first, segments, share, resident, changed, then, failed] = numbers[..] else {
        return Err(format!("the measurement printed {printed:?}"));
    };
    Ok(vec![
        count.to_string(),
        number(first),
        number(segments),
        format!("{:.2}%", share * 100.0),
        number(resident),
        number(changed),
        number(then),
        number(failed),
    ])
}

pub(super) fn run(bench: &Bench) -> Done {
    let work = bench.work.display();
    let clean = format!("rm -rf {work}/many {work}/many-repo {work}/s3");
    let mut report = Report::new("many", "Many databases");
    report.say(&format!(
        "`mantis watch '…/**/*.db' --every {EVERY}s` on databases of 60 KiB each, into a repository on the same disk: until each had its first backup, and in how many segments those are; what a minute costs in which nothing is committed; and how long it takes until one commit to each of {BUSY} of them, made at once, is in backups, of which up to {EVERY} s are the interval."
    ));
    let heads = [
        "databases",
        "first backups, s",
        "segments of them",
        "of a core while idle",
        "MiB resident",
        "objects changed while idle",
        "commits in backups, s",
        "failed tries",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut rows = vec![heads.clone()];
    let repo = format!("{work}/many-repo");
    for count in COUNTS {
        output(&mut shell(&clean))?;
        rows.push(watch(bench, count, (&repo, &repo))?);
    }
    report.table(&rows);
    report.say(&format!(
        "The same into S3, s3s-fs on the same machine, behind a relay that lets each request wait for {DELAY} ms:"
    ));
    rows = vec![heads];
    for count in FAR {
        output(&mut shell(&clean))?;
        let server = start_s3(bench, Some(DELAY))?;
        let url = server.url.trim_matches('\'');
        rows.push(watch(bench, count, (url, &format!("{work}/s3/bucket")))?);
    }
    report.table(&rows);
    output(&mut shell(&clean))?;
    report.write()
}
