//! What is shown: of sources, jobs, runs and backups. Times are RFC 3339, durations milliseconds unless their name says otherwise,
//! sizes bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::daemon::Watched;

/// How a source stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Standing {
    /// Its last run failed.
    Failing,
    /// Its newest backup is older than it should be.
    Late,
    /// No schedule that is on backs it up.
    Unprotected,
    /// There is no backup yet, or the repository cannot be looked at.
    Unknown,
    /// All is well.
    Protected,
    /// Another daemon of the fleet is to protect it.
    Elsewhere,
}

impl Standing {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Late => "late",
            Self::Unprotected => "unprotected",
            Self::Unknown => "unknown",
            Self::Protected => "protected",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// A database, and how well it is backed up.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Source {
    /// Its name in the configuration.
    pub(super) name: String,
    /// Where it is.
    pub(super) path: String,
    /// How it stands.
    pub(super) standing: Standing,
    /// Why, in a sentence.
    pub(super) because: String,
    /// When its newest backup was taken.
    pub(super) newest: Option<String>,
    /// How old that is, in seconds.
    pub(super) age_seconds: Option<i64>,
    /// How old it may become, in seconds: twice the longest time between the next runs.
    pub(super) objective_seconds: Option<i64>,
    /// Its next run.
    pub(super) next: Option<String>,
    /// How its watch stands, where it is watched.
    pub(super) watched: Option<Watched>,
    /// How many backups there are of it, in all repositories.
    pub(super) backups: u64,
    /// Bytes that these added to the repositories.
    pub(super) bytes_stored: u64,
    /// Its last runs, oldest first.
    pub(super) runs: Vec<Run>,
}

/// A run that has ended, or that was none.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Run {
    /// Its job: the schedule, and the source where it is of one.
    pub(super) job: String,
    /// What was to be done: `backup`, `verify`, `drill` or `prune`.
    #[serde(rename = "do")]
    pub(super) action: String,
    /// `done`, `part`, `failed`, `cancelled`, `interrupted`, `missed` or `skipped`.
    pub(super) outcome: String,
    /// The time that the schedule gave it.
    pub(super) scheduled: String,
    /// When it began.
    pub(super) began: String,
    /// How long it took.
    pub(super) duration_ms: u64,
    /// Which try it was, from 1.
    pub(super) attempt: u32,
    /// The backup that it made.
    pub(super) backup: Option<String>,
    /// What it did, in a few words.
    pub(super) summary: String,
    /// Why it failed.
    pub(super) error: Option<String>,
}

/// A run under way, as the supervisor tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct Running {
    /// Its job.
    pub(super) job: String,
    /// What is done: `backup`, `verify`, `drill` or `prune`.
    #[serde(rename = "do")]
    pub(super) action: String,
    /// Which try it is, from 1.
    pub(super) attempt: u32,
    /// The time that the schedule gave it.
    pub(super) scheduled: String,
    /// How many seconds it has run.
    pub(super) seconds: u64,
    /// Bytes that were read.
    pub(super) bytes: u64,
    /// Bytes to be read in all; 0 while that is not known.
    pub(super) bytes_total: u64,
    /// Bytes that were stored.
    pub(super) bytes_stored: u64,
    /// Bytes read per second, over the whole time.
    pub(super) bytes_per_second: u64,
    /// Seconds that the rest takes at that rate; none while that cannot be told.
    pub(super) eta_seconds: Option<u64>,
    /// Milliseconds for which writers of the database were kept from committing, so far; none while that is not known, and for what is no
    /// backup.
    pub(super) writers_held_ms: Option<u64>,
}

/// What became of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RestoreState {
    /// It is under way.
    Running,
    /// The file is there.
    Done,
    /// It failed, and nothing is left of it.
    Failed,
    /// It was cancelled, and nothing is left of it.
    Cancelled,
}

impl RestoreState {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A restore that was begun by the pages, or through this interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Restore {
    /// Its number, since the daemon began.
    pub(super) id: u64,
    /// What became of it.
    pub(super) state: RestoreState,
    /// What the backup is of.
    pub(super) source: String,
    /// The repository's name in the configuration.
    pub(super) repository: String,
    /// The backup's id.
    pub(super) backup: String,
    /// When that was taken.
    pub(super) taken: String,
    /// The file that is made.
    pub(super) target: String,
    /// Who began it.
    pub(super) by: String,
    /// When it began.
    pub(super) began: String,
    /// What it did, or why it failed.
    pub(super) said: String,
    /// How many seconds it has run.
    pub(super) seconds: u64,
    /// Bytes that were written.
    pub(super) bytes: u64,
    /// Bytes to be written in all.
    pub(super) bytes_total: u64,
    /// Bytes written per second, over the whole time.
    pub(super) bytes_per_second: u64,
    /// Seconds that the rest takes at that rate; none while that cannot be told.
    pub(super) eta_seconds: Option<u64>,
}

/// A job of a schedule.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Job {
    /// Its name: the schedule, and the source where it is of one.
    pub(super) job: String,
    /// The schedule.
    pub(super) schedule: String,
    /// The source, where it is of one.
    pub(super) source: Option<String>,
    /// What it does.
    #[serde(rename = "do")]
    pub(super) action: String,
    /// When, as in crontab(5).
    pub(super) cron: String,
    /// The same in words.
    pub(super) words: String,
    /// Whose times of day are meant.
    pub(super) timezone: String,
    /// Its next five runs; none while it is paused.
    pub(super) next: Vec<String>,
    /// Whether it stands still.
    pub(super) paused: bool,
    /// Whether it runs now.
    pub(super) running: bool,
    /// How often its source is looked at between runs, where it is watched: `5s`.
    pub(super) watch: Option<String>,
    /// How its watch stands, while there is one.
    pub(super) watched: Option<Watched>,
    /// Its last run that counts.
    pub(super) last: Option<Run>,
}

/// A backup.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Backup {
    /// Its id.
    pub(super) id: String,
    /// The repository's name in the configuration.
    pub(super) repository: String,
    /// What it is of.
    pub(super) source: String,
    /// The engine.
    pub(super) engine: String,
    /// When it was taken.
    pub(super) created_at: String,
    /// `full` or `incremental`.
    pub(super) kind: String,
    /// The database's length.
    pub(super) bytes: u64,
    /// Bytes that it added to the repository.
    pub(super) bytes_stored: u64,
    /// Pages of the database.
    pub(super) pages: u64,
    /// Pages that differ from those of the backup before.
    pub(super) pages_changed: u64,
    /// How long it took.
    pub(super) duration_ms: u64,
    /// How it was consistent.
    pub(super) way: String,
    /// The hash over all of its pages.
    pub(super) fingerprint: String,
    /// Its tags.
    pub(super) tags: BTreeMap<String, String>,
    /// What was proved of it last on this machine, and when.
    pub(super) proved: Option<String>,
}

/// A repository.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Repository {
    /// Its name in the configuration.
    pub(super) name: String,
    /// When it was last looked at.
    pub(super) seen: Option<String>,
    /// How many backups it has.
    pub(super) backups: u64,
    /// Bytes that these added.
    pub(super) bytes_stored: u64,
    /// Bytes of the databases that they are of, each backup's as a whole.
    pub(super) bytes: u64,
    /// Why it cannot be looked at.
    pub(super) error: Option<String>,
}

/// All at a glance.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Overview {
    /// Sources: those that need someone first.
    pub(super) sources: Vec<Source>,
    /// Runs under way.
    pub(super) running: Vec<Running>,
    /// Repositories.
    pub(super) repositories: Vec<Repository>,
}

/// Sources that have a card of their own on the page; the others are in a table.
const CARDS: usize = 60;

impl Overview {
    /// The sources that have a card.
    pub(super) fn cards(&self) -> &[Source] {
        self.sources.get(..CARDS).unwrap_or(&self.sources)
    }

    /// The others.
    pub(super) fn others(&self) -> &[Source] {
        self.sources.get(CARDS..).unwrap_or_default()
    }

    /// How many sources stand how.
    pub(super) fn standings(&self) -> BTreeMap<Standing, usize> {
        let mut standings = BTreeMap::new();
        for source in &self.sources {
            *standings.entry(source.standing).or_insert(0) += 1;
        }
        standings
    }
}
