//! What was promised of the speed, and what was found.

use super::report::{Report, number};
use super::tasks::{Found, Task};
use crate::command::Done;

/// A figure of ours, of another one, that is to be at most so much.
struct Limit {
    what: &'static str,
    ours: (&'static str, Task),
    of: (&'static str, Task),
    at_most: f64,
}

const CP: &str = "cp + fsync";
const RESTIC: &str = "restic (encrypts)";
const RUSTIC: &str = "rustic (encrypts)";

const LIMITS: [Limit; 15] = {
    use Task::{Full, OnePercent, Restore, RestoreCold, Verify};
    const fn limit(
        what: &'static str,
        ours: (&'static str, Task),
        of: (&'static str, Task),
        at_most: f64,
    ) -> Limit {
        Limit { what, ours, of, at_most }
    }
    [
        limit("full, uncompressed, of cp + fsync", ("mantis, none", Full), (CP, Full), 1.25),
        limit(
            "full, zstd:1, of zstd -1 -T2",
            ("mantis, zstd:1", Full),
            ("zstd -1 -T2 + fsync", Full),
            0.9,
        ),
        limit("full, zstd:1, of restic", ("mantis, zstd:1", Full), (RESTIC, Full), 0.5),
        limit("full, zstd:1, of rustic", ("mantis, zstd:1", Full), (RUSTIC, Full), 0.5),
        limit(
            "full, zstd:1, encrypted, of the same unencrypted",
            ("mantis, zstd:1, encrypted", Full),
            ("mantis, zstd:1", Full),
            1.15,
        ),
        limit(
            "1% changed, by scan, of cp + fsync",
            ("mantis, zstd:1", OnePercent),
            (CP, Full),
            0.5,
        ),
        limit(
            "restore, uncompressed, of cp + fsync",
            ("mantis, none", Restore),
            (CP, Restore),
            1.1,
        ),
        limit(
            "restore, uncompressed, from disk, of cp + fsync",
            ("mantis, none", RestoreCold),
            (CP, RestoreCold),
            1.1,
        ),
        limit(
            "restore, uncompressed, of restic",
            ("mantis, none", Restore),
            (RESTIC, Restore),
            0.5,
        ),
        limit(
            "restore, uncompressed, of rustic",
            ("mantis, none", Restore),
            (RUSTIC, Restore),
            0.5,
        ),
        limit("restore, zstd:1, of restic", ("mantis, zstd:1", Restore), (RESTIC, Restore), 0.5),
        limit("restore, zstd:1, of rustic", ("mantis, zstd:1", Restore), (RUSTIC, Restore), 0.5),
        limit("verify, zstd:1, of restic", ("mantis, zstd:1", Verify), (RESTIC, Verify), 0.5),
        limit("verify, zstd:1, of rustic", ("mantis, zstd:1", Verify), (RUSTIC, Verify), 1.0),
        limit(
            "verify, zstd:1, encrypted, of restic",
            ("mantis, zstd:1, encrypted", Verify),
            (RESTIC, Verify),
            0.5,
        ),
    ]
};
/// Resident memory of ours at its peak, in MiB.
const PEAK: f64 = 128.0;

fn verdict(found: f64, at_most: f64) -> String {
    match found {
        _ if found.is_nan() => "not measured".into(),
        _ if found <= at_most => "yes".into(),
        _ => "**no**".into(),
    }
}

/// The part of the page that says what holds.
pub(super) fn write(found: &[Found], rounds: u64) -> Done {
    let seconds = |(name, task): (&str, Task)| {
        let tool = found.iter().find(|found| found.name == name);
        tool.map_or(f64::NAN, |tool| tool.seconds(task))
    };
    let mut report = Report::new("limits", "What was promised");
    report.say(&format!(
        "1 GiB SQLite, warm, medians of {rounds}, from the same run as the tables of that size below; on {}.",
        super::report::machine()
    ));
    let heads = ["work", "at most", "found", "holds"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for limit in &LIMITS {
        let ratio = seconds(limit.ours) / seconds(limit.of);
        rows.push(vec![
            limit.what.into(),
            number(limit.at_most),
            number(ratio),
            verdict(ratio, limit.at_most),
        ]);
    }
    let ours = found.iter().filter(|found| found.name.starts_with("mantis"));
    let peak = ours.map(Found::peak).fold(0.0, f64::max);
    rows.push(vec![
        "peak memory of any of these, MiB".into(),
        number(PEAK),
        format!("{peak:.0}"),
        verdict(peak, PEAK),
    ]);
    report.table(&rows);
    report.write()
}
