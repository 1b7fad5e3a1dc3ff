//! What is done when.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono_tz::Tz;
use mantis_schedule::{CronSchedule, Job, MissedRuns, Overlap, Retry};
use mantis_stream::Compression;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{ByteRate, Config, Interval, LogSize, Share, SpoolSize, Text};

/// What a schedule does.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Back its sources up, then remove what its retention does not keep
    #[default]
    Backup,
    /// Read the repository back and prove it
    Verify,
    /// Restore the newest backup of its sources to a temporary folder, and run the engine's own check on it
    Drill,
    /// Free what nothing refers to
    Prune,
}

impl Action {
    /// Its name, as it stands in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::Drill => "drill",
            Self::Prune => "prune",
        }
    }

    /// Whether each source has runs of its own.
    #[must_use]
    pub const fn is_per_source(self) -> bool {
        matches!(self, Self::Backup | Self::Drill)
    }
}

#[derive(JsonSchema)]
#[schemars(rename = "MissedRuns", rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum MissedNames {
    /// They are dropped, and told
    Skip,
    /// One run stands for all of them
    Once,
    /// Each is made up for
    All,
}

#[derive(JsonSchema)]
#[schemars(rename = "Overlap", rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum OverlapNames {
    /// The new one is dropped, and told
    Skip,
    /// The new one waits; not more than one does
    Queue,
    /// The one before is cancelled
    Replace,
    /// Both run
    Allow,
}

/// A schedule.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Minute, hour, day of month, month and day of week, as in crontab(5)
    pub cron: Text<CronSchedule>,
    /// What is done
    #[serde(default, rename = "do")]
    pub action: Action,
    /// backup: besides, each source is looked at this often, and backed up where something was committed; SQLite in WAL mode only
    pub watch: Option<Text<Interval>>,
    /// watch: tell when what was committed is in no backup for longer than this; ten times `watch` without it, a minute at least
    pub rpo: Option<Text<Duration>>,
    /// watch: about how long a source's WAL may grow between backups for its sake; 16MiB without it
    pub max_wal: Option<Text<LogSize>>,
    /// Of which sources; of all without it
    #[schemars(with = "Option<Vec<String>>")]
    pub sources: Option<Vec<Spanned<String>>>,
    /// In which repository; may be left out where there is only one
    #[schemars(with = "Option<String>")]
    pub repository: Option<Spanned<String>>,
    /// backup: also keep each there, in replicas of the repository; one of all the places may fail
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub copy_to: Vec<Spanned<String>>,
    /// backup: what is kept of each source after each backup; all without it
    #[schemars(with = "Option<String>")]
    pub retention: Option<Spanned<String>>,
    /// backup: what a source is called in the repository; {date}, {time}, {source}, {schedule} and {host} are replaced
    #[schemars(with = "Option<String>")]
    pub name: Option<Spanned<String>>,
    /// backup: tags; the same are replaced
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub tags: BTreeMap<String, Spanned<String>>,
    /// Whose times of day are meant
    pub timezone: Option<Text<Tz>>,
    /// Each run begins up to this much later, by chance
    pub jitter: Option<Text<Duration>>,
    /// What becomes of runs that were missed
    #[serde(default)]
    #[schemars(with = "MissedNames")]
    pub missed: MissedRuns,
    /// What happens when the run before has not ended
    #[serde(default)]
    #[schemars(with = "OverlapNames")]
    pub overlap: Overlap,
    /// How often a run is tried, the first time included
    #[schemars(range(min = 1, max = 100))]
    pub attempts: Option<u32>,
    /// The bound of the wait before the second try; it doubles with each
    pub retry_delay: Option<Text<Duration>>,
    /// The bound of any wait before a try
    pub retry_max_delay: Option<Text<Duration>>,
    /// How long a try may take
    pub timeout: Option<Text<Duration>>,
    /// backup: store every page, whatever earlier backups hold
    #[serde(default)]
    pub full: bool,
    /// backup: read it back when it is made, and prove it
    #[serde(default)]
    pub read_back: bool,
    /// backup: how pages are compressed
    pub compression: Option<Text<Compression>>,
    /// backup: read no faster than this from each source
    pub limit_rate: Option<Text<ByteRate>>,
    /// backup: bytes that wait in `temp_folder` at most for a repository that is slower than the database; 1GiB without it for one over a
    /// network, nothing for others
    pub spool_limit: Option<Text<SpoolSize>>,
    /// Pieces of work at once in each run; the number of cores without it
    #[serde(default)]
    #[schemars(range(min = 0, max = 1024))]
    pub jobs: u32,
    /// verify: read only this share, another one each time
    pub sample: Option<Text<Share>>,
    /// A schedule that is not on stands still
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn yes() -> bool {
    true
}

impl ScheduleConfig {
    /// The names of its databases, those that patterns found as well, without what is left to other members of the fleet.
    #[must_use]
    pub fn sources(&self, config: &Config) -> Vec<String> {
        let all = self.named(config).flat_map(|name| match config.is_pattern(name) {
            true => config.found.of(name).map(|(name, _)| name.to_owned()).collect(),
            false => vec![name.to_owned()],
        });
        all.filter(|name| !config.elsewhere.contains(name)).collect()
    }

    /// Whether a database is one of its sources, or was found by one.
    #[must_use]
    pub fn is_of(&self, config: &Config, database: &str) -> bool {
        let pattern = database.split_once('/').map_or(database, |(pattern, _)| pattern);
        self.named(config).any(|name| name == pattern)
    }

    /// Its sources as they are named in the file, patterns too.
    pub(super) fn named<'a>(
        &'a self,
        config: &'a Config,
    ) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        match &self.sources {
            Some(named) => Box::new(named.iter().map(|name| name.get_ref().as_str())),
            None => Box::new(config.sources.keys().map(String::as_str)),
        }
    }

    /// The name of its repository, and those of its replicas.
    #[must_use]
    pub fn repositories(&self, config: &Config) -> Vec<String> {
        let first = match &self.repository {
            Some(named) => Some(named.get_ref().clone()),
            None => config.repositories.keys().next().cloned(),
        };
        first.into_iter().chain(self.copy_to.iter().map(|name| name.get_ref().clone())).collect()
    }

    /// How often its sources are looked at, as it stands in the file, where they are watched.
    #[must_use]
    pub fn watched_every(&self) -> Option<String> {
        self.watch.map(|every| every.0.to_string())
    }

    /// How long what was committed may be in no backup before that is told, where its sources are watched.
    #[must_use]
    pub fn most_exposed(&self) -> Option<Duration> {
        let every = self.watch?.0.0;
        let usual = every.saturating_mul(10).max(Duration::from_secs(60));
        Some(self.rpo.map_or(usual, |rpo| rpo.0))
    }

    /// Whose times of day it means.
    #[must_use]
    pub fn zone(&self, config: &Config) -> Tz {
        self.timezone.map_or_else(|| config.zone(), |zone| zone.0)
    }

    /// What a source's backups by it, under this name of its own, are called in the repository, as far as that is known before a run: the
    /// host and times of runs stand as they are.
    pub(crate) fn backups_name(&self, own: &str, source: &str) -> String {
        self.name.as_ref().map_or_else(
            || source.to_owned(),
            |name| name.get_ref().replace("{source}", source).replace("{schedule}", own),
        )
    }

    /// The names of its jobs, each with the source that it is for, if it is for one.
    #[must_use]
    pub fn job_ids(&self, name: &str, config: &Config) -> Vec<(String, Option<String>)> {
        if !self.action.is_per_source() {
            return vec![(name.to_owned(), None)];
        }
        let sources = self.sources(config).into_iter();
        sources.map(|source| (format!("{name}/{source}"), Some(source))).collect()
    }

    /// The job of that name.
    #[must_use]
    pub fn job(&self, id: String, config: &Config) -> Job {
        let usual = Retry::default();
        let delay = self.retry_delay.map_or(usual.delay, |delay| delay.0);
        let retry = Retry {
            attempts: self.attempts.unwrap_or(usual.attempts),
            delay,
            max_delay: self.retry_max_delay.map_or(usual.max_delay, |delay| delay.0).max(delay),
        };
        Job {
            jitter: self.jitter.map_or(Duration::ZERO, |jitter| jitter.0),
            missed: self.missed,
            overlap: self.overlap,
            retry,
            timeout: self.timeout.map(|timeout| timeout.0),
            ..Job::new(id, self.cron.0.clone(), self.zone(config))
        }
    }
}
