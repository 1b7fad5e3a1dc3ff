//! Looking into a backup without restoring it, on this machine's disk and on an S3 server of its own.

use std::fs;

use super::report::{Report, number};
use super::shell::{measure, median, shell};
use super::stores::{S3, start_s3};
use super::{Bench, MUTATE, mib_of};
use crate::command::{Done, output};

/// Incrementals on the full backup: what is looked for is in the newest layer that has it.
const INCREMENTALS: u32 = 8;

/// Statements, and what they are.
const QUERIES: [(&str, &str); 4] = [
    ("a row by its key", "select length(doc) from t where id = 12345"),
    ("a row by an index", "select id from t where k > 2000000000 order by k limit 1"),
    (
        "a hundred rows by their keys",
        "select sum(length(doc)) from t where id between 5000 and 5099",
    ),
    ("the schema", "select count(*) from sqlite_schema"),
];

/// What a query says beside its rows: pages, reads, and bytes as people read them.
fn fetched(said: &str) -> Option<(String, String, String)> {
    let (_, rest) = said.trim().split_once("; ")?;
    let (pages, rest) = rest.split_once(" pages fetched in ")?;
    let (reads, bytes) = rest.split_once(" reads, ")?;
    Some((pages.to_owned(), reads.to_owned(), bytes.to_owned()))
}

pub(super) fn run(bench: &Bench, mib: u64, rounds: u64) -> Done {
    let base = bench.database("base.db", mib)?;
    let s3 = start_s3(bench, Some(0))?;
    let S3 { credentials, url, .. } = &s3;
    let (work, mantis) = (bench.work.display(), &bench.mantis);
    let local = format!("{work}/repo");
    output(&mut shell(&format!("rm -rf {local} {work}/t.db*; cp {work}/base.db {work}/t.db")))?;
    for repo in [&local, url] {
        output(&mut shell(&format!("{credentials}; {mantis} -q init --repo {repo} >/dev/null")))?;
    }
    for number in 0..=INCREMENTALS {
        if number > 0 {
            let mut change = std::process::Command::new("python3");
            change.args(["-c", MUTATE]).arg(bench.work.join("t.db"));
            output(change.args(["0.001", &number.to_string()]))?;
        }
        for repo in [&local, url] {
            output(&mut shell(&format!(
                "{credentials}; {mantis} -q backup {work}/t.db --repo {repo} --compression zstd:1"
            )))?;
        }
    }
    let mut report = Report::new("look", "Looking without restoring");
    report.say(&format!(
        "{} MiB SQLite, a full backup with zstd:1 and {INCREMENTALS} incrementals of 0.1% of its rows; `mantis query` on the newest of them, each time from the start of the command, with no cache kept; medians of {rounds}. The S3 server is behind a relay that acknowledges at once: by itself it takes 40 ms for each answer, as it sends head and body apart. The last row is a restore and the same question to the file.",
        mib_of(&base)?
    ));
    let heads =
        ["what is asked", "disk, s", "S3 on this machine, s", "pages fetched", "reads", "bytes"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for (what, sql) in QUERIES {
        let mut seconds = [Vec::new(), Vec::new()];
        let mut said = None;
        for _ in 0..rounds {
            for (repo, seconds) in [&local, url].into_iter().zip(&mut seconds) {
                let ask = format!(
                    "{credentials}; {mantis} query latest '{sql}' --no-cache --repo {repo}"
                );
                seconds.push(measure(&format!("{ask} 2>/dev/null"))?.wall);
                said = fetched(&output(&mut shell(&format!("{ask} 2>&1 >/dev/null")))?);
            }
        }
        let (pages, reads, bytes) = said.ok_or("a query did not say what it fetched")?;
        let [disk, remote] = seconds.map(|seconds| number(median(seconds)));
        rows.push(vec![what.to_owned(), disk, remote, pages, reads, bytes]);
    }
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..rounds.min(3) {
        for (repo, seconds) in [&local, url].into_iter().zip(&mut seconds) {
            let whole = format!(
                "{credentials}; rm -f {work}/r.db; {mantis} -q restore latest --to {work}/r.db --no-cache --repo {repo}; sqlite3 {work}/r.db '{}'",
                QUERIES[0].1
            );
            seconds.push(measure(&whole)?.wall);
        }
    }
    let [disk, remote] = seconds.map(|seconds| number(median(seconds)));
    let nothing = String::new;
    rows.push(vec![
        "restored, then a row by its key".into(),
        disk,
        remote,
        nothing(),
        nothing(),
        nothing(),
    ]);
    report.table(&rows);
    output(&mut shell(&format!("rm -rf {local} {work}/t.db* {work}/r.db")))?;
    drop(s3);
    let _ = fs::remove_dir_all(bench.work.join("s3"));
    report.write()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_is_read_back() {
        let said = fetched("1 rows; 5 pages fetched in 12 reads, 340 KiB\n").unwrap();
        assert_eq!(said, ("5".into(), "12".into(), "340 KiB".into()));
        assert_eq!(fetched("error: nothing"), None);
    }
}
