//! What it costs to keep many moments: bytes written again and again, and bytes that are there in the end.

use std::process::Command;

use super::Bench;
use super::report::{Report, bytes, number};
use super::shell::shell;
use crate::command::{Done, output};

/// Runs the writer, the watch and prunes, and counts.
const LEVELS: &str = include_str!("levels.py");
/// Rows of the database, of some 210 bytes.
const ROWS: u32 = 250_000;
const MINUTES: usize = 10;
/// After which minutes a row is shown.
const SHOWN: [usize; 4] = [1, 2, 5, 10];

pub(super) fn run(bench: &Bench) -> Done {
    let work = bench.work.display();
    let clean = format!("rm -rf {work}/levels*");
    output(&mut shell(&clean))?;
    let mut levels = Command::new("python3");
    levels.args(["-c", LEVELS, &bench.mantis]).arg(&bench.work);
    levels.args([ROWS.to_string(), MINUTES.to_string()]);
    let printed = output(&mut levels)?;
    let lines: Vec<Vec<f64>> = printed
        .lines()
        .map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect())
        .collect();
    let [minutes @ .., full] = &lines[..] else {
        return Err(format!("the measurement printed {printed:?}"));
    };
    let (Some(full), MINUTES) = (full.first(), minutes.len()) else {
        return Err(format!("the measurement printed {printed:?}"));
    };
    let mut report = Report::new("levels", "What many moments cost");
    report.say(&format!(
        "A database of {ROWS} accounts, of which 50 transactions a second change two, one of them of the hundredth that is asked for most, and put two rows into another table; `mantis watch --every 1s --keep-within 1min --keep-minutely 60`, and `mantis prune --grace 0s` each minute, which frees what the rules let go of and puts layers together. All since the watch began; in the end every moment was verified. Pages: those that changed from one tick to the next, as they are in the database; compressed, as the first 25 ticks stored them, which store nothing else. Later ticks store some again, to keep stacks short. Written again: by prunes, which put layers together. Write amplification: all that was written for each compressed byte. A full backup in the end takes {}.",
        bytes(*full)
    ));
    let heads = [
        "minutes",
        "ticks",
        "pages",
        "compressed",
        "stored by ticks",
        "written again",
        "write amplification",
        "freed",
        "moments kept",
        "repository",
        "beside a full backup",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for minute in SHOWN {
        let figures = minutes.get(minute - 1).map(Vec::as_slice);
        let Some([_, ticks, pages, compressed, stored, written, freed, kept, size]) = figures
        else {
            return Err(format!("the measurement printed {printed:?}"));
        };
        rows.push(vec![
            minute.to_string(),
            number(*ticks),
            bytes(*pages),
            bytes(*compressed),
            bytes(*stored),
            bytes(*written),
            number((stored + written) / compressed),
            bytes(*freed),
            number(*kept),
            bytes(*size),
            number(size / full),
        ]);
    }
    report.table(&rows);
    output(&mut shell(&clean))?;
    report.write()
}
