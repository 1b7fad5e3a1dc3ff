//! What was run: a file of JSON lines, the oldest of which go when it grows too long.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::json_lines::JsonLines;
use crate::Error;
use crate::config::Action;

/// No line is longer.
const MAX_LINE: usize = 64 << 10;

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunOutcome {
    /// It did what it should.
    Done,
    /// It did, but for a part: a place of several, or what comes after the backup.
    Part,
    /// It failed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// The process ended while it ran.
    Interrupted,
    /// Its time passed while nobody was there.
    Missed,
    /// It was dropped, as the one before had not ended.
    Skipped,
}

impl RunOutcome {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Part => "part",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Missed => "missed",
            Self::Skipped => "skipped",
        }
    }
}

/// One try of a run, or what was no run at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The schedule.
    pub schedule: String,
    /// The source, where it was of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What was to be done.
    #[serde(rename = "do")]
    pub action: Action,
    /// What became of it.
    pub outcome: RunOutcome,
    /// The time that the schedule gave it.
    pub scheduled: DateTime<Utc>,
    /// When it began; for what did not, when that was noted.
    pub began: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Which try it was, from 1.
    pub attempt: u32,
    /// Names the run among all, the same for all its tries; none for what did not begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// Somebody asked for it.
    #[serde(default)]
    pub manual: bool,
    /// It made up for one that was missed.
    #[serde(default)]
    pub late: bool,
    /// It is tried again.
    #[serde(default)]
    pub again: bool,
    /// The backup that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// What it did, in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Record {
    /// Whether it decides if its job is well: what was only missed or dropped does not.
    #[must_use]
    pub const fn decides(&self) -> bool {
        match self.outcome {
            RunOutcome::Done | RunOutcome::Part => true,
            RunOutcome::Failed => !self.again,
            _ => false,
        }
    }

    /// Whether it is of this schedule, or of this job.
    #[must_use]
    pub fn is_of(&self, name: &str) -> bool {
        self.schedule == name || self.job() == name
    }

    /// The job's name: the schedule, and the source where it is of one.
    #[must_use]
    pub fn job(&self) -> String {
        match &self.source {
            Some(source) => format!("{}/{source}", self.schedule),
            None => self.schedule.clone(),
        }
    }
}

/// What was run. Several processes may write to it.
#[derive(Debug, Clone)]
pub struct History(JsonLines);

impl History {
    /// The history in a file.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(JsonLines::at(path.into()))
    }

    fn failed(&self, doing: &str, error: io::Error) -> Error {
        Error::io(format!("{doing} the history in {}", self.0.path().display()), error)
    }

    /// Adds records. After a crash the last line may be cut short; it is left out when read, and ended before the next one.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn add(&self, records: &[Record]) -> Result<(), Error> {
        let lines = lines(records).map_err(io::Error::from);
        lines.and_then(|lines| self.0.add(lines)).map_err(|error| self.failed("add to", error))
    }

    /// Gives each record to `each`, oldest first. What is no record is passed over.
    ///
    /// # Errors
    /// What the file system reports; a file that is not there is empty.
    pub fn read(&self, each: impl FnMut(Record)) -> Result<(), Error> {
        self.0.read(each).map_err(|error| self.failed("read", error))
    }

    /// The newest of the records that fit, so many at most, oldest first.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn newest(
        &self,
        limit: usize,
        fits: impl Fn(&Record) -> bool,
    ) -> Result<VecDeque<Record>, Error> {
        self.0.newest(limit, fits).map_err(|error| self.failed("read", error))
    }

    /// The last record of each job that decides whether it is well.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn last(&self) -> Result<BTreeMap<String, Record>, Error> {
        let mut last = BTreeMap::new();
        self.read(|record| {
            if record.decides() {
                last.insert(record.job(), record);
            }
        })?;
        Ok(last)
    }
}

fn lines(records: &[Record]) -> Result<Vec<u8>, serde_json::Error> {
    let mut lines = Vec::new();
    for record in records {
        let mut line = serde_json::to_vec(record)?;
        if line.len() > MAX_LINE {
            // Errors of any length stay within a line of bounded length.
            let short = |text: &str| text.chars().take(4000).collect::<String>();
            let record = Record {
                error: record.error.as_deref().map(short),
                summary: short(&record.summary),
                ..record.clone()
            };
            line = serde_json::to_vec(&record)?;
        }
        lines.extend(line);
        lines.push(b'\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::super::json_lines::MAX_LEN;
    use super::*;

    fn record(run: u64, outcome: RunOutcome) -> Record {
        Record {
            schedule: "s".into(),
            source: Some("a".into()),
            action: Action::Backup,
            outcome,
            scheduled: DateTime::default(),
            began: DateTime::default(),
            duration_ms: 5,
            attempt: 1,
            run: Some(run),
            manual: false,
            late: false,
            again: false,
            backup: None,
            summary: String::new(),
            error: None,
        }
    }

    fn runs(history: &History) -> Vec<u64> {
        let mut runs = Vec::new();
        history.read(|record| runs.extend(record.run)).unwrap();
        runs
    }

    #[test]
    fn a_line_that_was_cut_short_costs_that_line_alone() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::at(folder.path().join("h"));
        assert_eq!(runs(&history), Vec::<u64>::new());
        history.add(&[record(1, RunOutcome::Done), record(2, RunOutcome::Failed)]).unwrap();
        let mut text = std::fs::read(folder.path().join("h")).unwrap();
        text.truncate(text.len() - 10);
        std::fs::write(folder.path().join("h"), text).unwrap();
        history.add(&[record(3, RunOutcome::Missed)]).unwrap();
        assert_eq!(runs(&history), [1, 3]);
        assert_eq!(history.last().unwrap()["s/a"].run, Some(1), "what was missed decides nothing");
    }

    #[test]
    fn it_does_not_grow_without_end_and_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::at(folder.path().join("h"));
        let long =
            |run| Record { error: Some("x".repeat(3000)), ..record(run, RunOutcome::Failed) };
        for chunk in 0..16 {
            let records: Vec<Record> = (0..250).map(|at| long(chunk * 250 + at)).collect();
            history.add(&records).unwrap();
        }
        let len = std::fs::metadata(folder.path().join("h")).unwrap().len();
        assert!(len < MAX_LEN + (2 << 20), "{len}");
        let runs = runs(&history);
        assert!(runs.len() > 1000 && runs.last() == Some(&3999) && runs.is_sorted());
        history
            .add(&[Record {
                error: Some("y".repeat(MAX_LINE)),
                ..record(4000, RunOutcome::Failed)
            }])
            .unwrap();
        assert_eq!(self::runs(&history).last(), Some(&4000));
    }
}
