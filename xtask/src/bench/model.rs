//! What a deployment costs, on paper: objects, bytes, requests, money, time and memory, from constants of which those of the format are
//! measured on a repository that is made for it.

use std::fs;
use std::path::Path;

use super::Bench;
use super::report::{Report, bytes, number};
use super::shell::{measure, shell};
use crate::command::{Done, output};

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;
const PAGE: f64 = 4096.0;
/// Keys that one answer to a listing has.
const KEYS: f64 = 1000.0;
/// Seconds that a request to an object store takes, and how many are under way at once where they do not wait for each other.
const REQUEST: f64 = 0.03;
const AT_ONCE: f64 = 16.0;
/// Bytes a second of a link of 1 Gbit/s.
const LINK: f64 = 117e6;
/// Memory of an object in a collector's list, and of a segment in a manifest, in bytes.
const KEY_MEMORY: f64 = 250.0;
const SEGMENT_MEMORY: f64 = 220.0;

/// Dollars: a GB for a month, a thousand writes or listings, a thousand reads. S3 Standard, us-east-1.
const STORED: f64 = 0.023;
const WRITES: f64 = 0.005;
const READS: f64 = 0.0004;

/// What was measured.
struct Measured {
    /// Stored bytes of a byte of pages.
    ratio: f64,
    /// Bytes of a segment in a stored list.
    reference: f64,
    /// Bytes of an index for each page.
    index: f64,
    manifest: f64,
    outcome: f64,
    /// Bytes of pages a second.
    full: f64,
    scan: f64,
    restore: f64,
}

/// The lengths of the files below a folder.
fn lengths(folder: &Path) -> Vec<f64> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(about) if about.is_dir() => found.extend(lengths(&entry.path())),
            Ok(about) => found.push(about.len() as f64),
            Err(_) => {}
        }
    }
    found
}

/// The lengths of the indexes of all segments, together, from their footers.
fn index_bytes(folder: &Path) -> Result<f64, String> {
    let mut total = 0.0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            total += index_bytes(&path)?;
            continue;
        }
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let at = bytes.len().checked_sub(24).ok_or("a segment without a footer")?;
        let field: [u8; 4] = bytes[at..at + 4].try_into().map_err(|_| "a footer cut short")?;
        total += f64::from(u32::from_le_bytes(field));
    }
    Ok(total)
}

fn measured(bench: &Bench) -> Result<Measured, String> {
    let base = bench.database("base.db", 1024)?;
    let (work, mantis, repo) = (bench.work.display(), &bench.mantis, bench.work.join("repo"));
    output(&mut shell(&format!(
        "rm -rf {work}/repo {work}/out; mkdir {work}/out; {mantis} -q init --repo {work}/repo; cat {work}/base.db >/dev/null; sync"
    )))?;
    let run = |what: &str| measure(&format!("{mantis} -q {what} --repo {work}/repo"));
    let backup = format!("backup {work}/base.db --compression zstd:1");
    let full = run(&backup)?.wall;
    let len = fs::metadata(&base).map_err(|error| error.to_string())?.len() as f64;
    let of = |folder: &str| lengths(&repo.join(folder));
    let sum = |lengths: Vec<f64>| lengths.iter().sum::<f64>();
    let segments = of("seg").len() as f64;
    let found = Measured {
        ratio: sum(of("seg")) / len,
        reference: sum(of("lay")) / segments,
        index: index_bytes(&repo.join("seg"))? / (len / PAGE),
        manifest: sum(of("man")),
        outcome: sum(of("out")),
        full: len / full,
        scan: len / run(&backup)?.wall,
        restore: len / run(&format!("restore latest --to {work}/out/r.db"))?.wall,
    };
    output(&mut shell(&format!("rm -rf {work}/repo {work}/out")))?;
    Ok(found)
}

/// Databases in one repository.
struct Deployment {
    name: &'static str,
    databases: f64,
    /// Bytes of each.
    len: f64,
    backups_per_day: f64,
    years: f64,
    /// The share of pages that changes between two backups, at random places.
    changed: f64,
    /// Backups of each that retention keeps.
    kept: f64,
}

const DEPLOYMENTS: [Deployment; 3] = [
    Deployment {
        name: "one database of 10 TiB, daily for a year, 1% changed a day, 40 kept",
        databases: 1.0,
        len: 10240.0 * GIB,
        backups_per_day: 1.0,
        years: 1.0,
        changed: 0.01,
        kept: 40.0,
    },
    Deployment {
        name: "one database of 10 GiB, hourly for 10 years, 0.1% changed an hour, 58 kept",
        databases: 1.0,
        len: 10.0 * GIB,
        backups_per_day: 24.0,
        years: 10.0,
        changed: 0.001,
        kept: 58.0,
    },
    Deployment {
        name: "1,000 databases of 1 GiB, hourly for 10 years, 0.1% changed an hour, 58 kept of each",
        databases: 1000.0,
        len: GIB,
        backups_per_day: 24.0,
        years: 10.0,
        changed: 0.001,
        kept: 58.0,
    },
];

/// As `usual_segment_len` of `mantis-repo`.
fn segment_len(len: f64) -> f64 {
    (len / (128.0 * GIB)).ceil().clamp(1.0, 3.0) * 8.0 * MIB
}

/// What something takes.
struct Takes {
    what: &'static str,
    requests: f64,
    dollars: f64,
    seconds: f64,
    memory: f64,
}

impl Deployment {
    /// Segments of a full backup of one database.
    fn segments(&self) -> f64 {
        (self.len / segment_len(self.len)).ceil()
    }

    fn sessions(&self) -> f64 {
        self.databases * self.backups_per_day * 365.0 * self.years
    }

    fn live(&self) -> f64 {
        self.databases * self.kept
    }

    /// Segments of an incremental.
    fn layer(&self) -> f64 {
        (self.len * self.changed / segment_len(self.len)).ceil()
    }

    /// Objects in the repository in the end, by what they are: segments; manifests and lists; records. A prune a day: those of a backup that
    /// is forgotten are there through its time of grace, a day, and until two more runs have removed one of the two each.
    fn objects(&self) -> [f64; 3] {
        let segments = self.databases * (self.segments() + self.kept * self.layer());
        let records = self.live() + self.databases * self.backups_per_day * 5.0;
        [segments, 2.0 * self.live(), records]
    }

    fn stored(&self, of: &Measured) -> f64 {
        let pages = self.databases * self.len * (1.0 + self.kept * self.changed) * of.ratio;
        let [_, _, records] = self.objects();
        pages + records * of.outcome + self.live() * of.manifest
    }

    fn takes(&self, of: &Measured) -> [Takes; 6] {
        let (segments, layer) = (self.segments(), self.layer());
        let [all, _, records] = self.objects();
        let in_turn = |lists: f64| lists * REQUEST;
        let at_once = |requests: f64| requests * REQUEST / AT_ONCE;
        let takes = |what, (writes, reads): (f64, f64), seconds, memory| Takes {
            what,
            requests: writes + reads,
            dollars: (writes * WRITES + reads * READS) / 1000.0,
            seconds,
            memory,
        };
        let manifest = segments * SEGMENT_MEMORY;
        // Which backups there are: the records are listed, what is live is read once and kept here.
        let lists = records / KEYS;
        let list =
            takes("list", (lists.ceil(), 2.0), in_turn(lists) + 2.0 * REQUEST, records * 60.0);
        let stored = self.len * of.ratio;
        let full = takes(
            "full backup",
            (segments + 4.0 + lists, 0.0),
            in_turn(lists) + (self.len / of.full).max(stored / LINK),
            100.0 * MIB + manifest,
        );
        let indexes = self.len / PAGE * of.index;
        let incremental = takes(
            "incremental, by scan",
            (layer + 4.0 + lists, segments),
            in_turn(lists)
                + (self.len / of.scan).max(at_once(segments)).max(indexes / LINK)
                + self.len * self.changed * of.ratio / LINK,
            100.0 * MIB + manifest,
        );
        let known = takes(
            "incremental, known changes",
            (layer + 4.0 + lists, segments.min(self.len / PAGE * self.changed)),
            in_turn(lists)
                + at_once(segments.min(self.len / PAGE * self.changed))
                + self.len * self.changed * of.ratio / LINK,
            100.0 * MIB + manifest,
        );
        let restore = takes(
            "restore",
            (lists, segments + self.kept * layer),
            in_turn(lists) + (self.len / of.restore).max(stored / LINK),
            80.0 * MIB + manifest,
        );
        let listed = (all + records) / KEYS;
        // Of each backup that went, two records are asked for before they are removed.
        let forgotten = self.databases * self.backups_per_day;
        let prune = takes(
            "prune",
            (3.0 * listed, 2.0 * self.live() + 3.0 * forgotten),
            in_turn(3.0 * listed) + at_once(2.0 * self.live() + 3.0 * forgotten),
            (all + records) * KEY_MEMORY,
        );
        [list, full, incremental, known, restore, prune]
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        7200.0.. => format!("{} h", number(seconds / 3600.0)),
        120.0.. => format!("{} min", number(seconds / 60.0)),
        _ => format!("{} s", number(seconds)),
    }
}

fn count(value: f64) -> String {
    match value {
        1e6.. => format!("{} M", number(value / 1e6)),
        _ => format!("{value:.0}"),
    }
}

pub(super) fn run(bench: &Bench, _: u64, _: u64) -> Done {
    let of = measured(bench)?;
    let mut report = Report::on("docs/scale.md", "model", "What it costs, by the model");
    report.say(&format!(
        "Measured for this: a stored byte for {} of pages (zstd:1); {} bytes of a list for a segment, {} of an index for a page, {} of a manifest, {} of an outcome; {} MB/s for a full backup, {} for a scan, {} for a restore. Taken from elsewhere: {} ms for a request, {AT_ONCE} at once where they need not wait for each other, a link of 1 Gbit/s, and the prices of S3 Standard.",
        number(1.0 / of.ratio),
        number(of.reference),
        number(of.index),
        number(of.manifest),
        number(of.outcome),
        number(of.full / 1e6),
        number(of.scan / 1e6),
        number(of.restore / 1e6),
        number(REQUEST * 1e3),
    ));
    for deployment in &DEPLOYMENTS {
        let [segments, lists, records] = deployment.objects();
        let stored = deployment.stored(&of);
        report.say(&format!(
            "**{}**, of {} that were made: {} segments, {} manifests and lists, {} records; {} stored, {} dollars a month.",
            deployment.name,
            count(deployment.sessions()),
            count(segments),
            count(lists),
            count(records),
            bytes(stored),
            number(stored / 1e9 * STORED),
        ));
        let heads = ["work", "requests", "dollars", "time", "memory MiB"];
        let mut rows = vec![heads.map(str::to_owned).to_vec()];
        rows.extend(deployment.takes(&of).map(|takes| {
            vec![
                takes.what.into(),
                count(takes.requests),
                number(takes.dollars),
                time(takes.seconds),
                number(takes.memory / MIB),
            ]
        }));
        report.table(&rows);
    }
    report.write()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_grow_with_the_database_as_in_the_repository() {
        assert_eq!(
            [1.0, 128.0, 129.0, 300.0].map(|gib| segment_len(gib * GIB) / MIB),
            [8.0, 8.0, 16.0, 24.0]
        );
    }

    #[test]
    fn records_grow_with_what_is_kept() {
        let [_, _, hourly] = &DEPLOYMENTS[..] else { panic!("three") };
        assert!((hourly.sessions() - 87.6e6).abs() < 1e3);
        let [_, _, records] = hourly.objects();
        assert!((records - 178e3).abs() < 1.0);
    }
}
