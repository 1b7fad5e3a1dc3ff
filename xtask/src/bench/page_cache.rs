//! What readers do to the page cache of the database that they read: how many of its hot pages are still there, and how much of
//! the memory its cold ones took, where memory is short.

use std::path::Path;

use super::Bench;
use super::report::Report;
use super::shell::shell;
use crate::command::{Done, output};

/// Reads the first quarter of a file, twice, as a database reads what is hot; then runs a command; then counts pages.
const WATCH: &str = include_str!("page_cache.py");

/// A group of processes whose memory, page cache included, is limited; `None` where this user cannot make one.
struct Limited(String);

impl Limited {
    fn new(mib: u64) -> Option<Self> {
        let bytes = mib << 20;
        for (folder, file) in [
            ("/sys/fs/cgroup/memory/mantis-bench", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup/mantis-bench", "memory.max"),
        ] {
            let made = std::fs::create_dir_all(folder);
            let limit = Path::new(folder).join(file);
            if made.is_ok() && limit.exists() && std::fs::write(limit, bytes.to_string()).is_ok() {
                return Some(Self(folder.to_owned()));
            }
        }
        None
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

pub(super) fn run(bench: &Bench, mib: u64) -> Done {
    let base = bench.database("cache.db", mib)?;
    let base = base.display();
    let (work, mantis) = (bench.work.display(), &bench.mantis);
    let watch = bench.work.join("page_cache.py");
    std::fs::write(&watch, WATCH).map_err(|error| error.to_string())?;
    // Room for the hot quarter, for the programs, and for half of the rest.
    let limit = mib / 4 + mib * 3 / 8 + 192;
    let limited = Limited::new(limit);
    let within = match &limited {
        Some(group) => format!("echo $$ > {}/cgroup.procs;", group.0),
        None => String::new(),
    };
    let mut report = Report::new("page-cache", "The page cache");
    let memory = match &limited {
        Some(_) => format!("all processes together have {limit} MiB"),
        None => "memory is not limited, as this user cannot".into(),
    };
    report.say(&format!(
        "A database of {mib} MiB whose first quarter is hot; {memory}. How that is done: [daemon.md](daemon.md)."
    ));
    let heads = ["reader", "hot pages still cached", "cold pages brought in", "seconds"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let readers = [
        (
            "mantis backup",
            format!("{mantis} -q backup {base} --repo {work}/cache-repo --full --compression none"),
        ),
        ("cp and sync", format!("cp {base} {work}/cache-copy && sync {work}/cache-copy")),
        ("sqlite3 .backup", format!("sqlite3 {base} '.backup {work}/cache-copy'")),
        ("VACUUM INTO", format!("sqlite3 {base} \\\"vacuum into '{work}/cache-copy'\\\"")),
    ];
    for (name, command) in readers {
        let script = format!(
            "{within} rm -rf {work}/cache-repo {work}/cache-copy; {mantis} -q init --repo {work}/cache-repo; python3 {} {base} \"{command}\"",
            watch.display()
        );
        let counted = output(&mut shell(&script))?;
        let line: Vec<&str> = counted.split_whitespace().collect();
        if let [hot, cold, seconds] = line[..] {
            rows.push([name, hot, cold, seconds].map(str::to_owned).to_vec());
        }
    }
    output(&mut shell(&format!("rm -rf {work}/cache-repo {work}/cache-copy")))?;
    report.table(&rows);
    report.write()
}
