//! The tables of the file, but for schedules and notifications.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use mantis_retention::{Policy, Span};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    ByteSize, DashboardConfig, FleetConfig, Found, Interval, NotificationConfig, ScheduleConfig,
    Secret, Share, Text, Wait,
};

const fn two() -> u32 {
    2
}

pub(super) const fn thirty_seconds() -> Text<Wait> {
    Text(Wait(Duration::from_secs(30)))
}

fn loopback() -> String {
    "127.0.0.1:8420".into()
}

const fn ten_seconds() -> Text<Interval> {
    Text(Interval(Duration::from_secs(10)))
}

const fn five_percent() -> Text<Share> {
    Text(Share(0.05))
}

const fn one_day() -> Text<Wait> {
    Text(Wait(Duration::from_secs(24 * 3600)))
}

/// The whole file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the daemon keeps what must outlive it: what is due, and what was run
    pub state_dir: Option<PathBuf>,
    /// Whose times of day are meant; the system's without it
    pub timezone: Option<Text<Tz>>,
    /// Where metrics and health are served; "" for nowhere
    #[serde(default = "loopback")]
    pub listen: String,
    /// Runs under way at once
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_running: u32,
    /// How long runs under way may go on when the daemon is asked to stop; then they are cancelled
    #[serde(default = "thirty_seconds")]
    pub stop_timeout: Text<Wait>,
    /// How much the daemon gives way for the processor, from 0 to 19
    #[serde(default)]
    #[schemars(range(min = 0, max = 19))]
    pub nice: Option<u8>,
    /// How much it gives way for disks, where the system's scheduler heeds that
    #[serde(default)]
    pub io_priority: IoPriority,
    /// Where spooled pages and drills go, in a folder of their own; `tmp` in `state_dir` without it
    pub temp_folder: Option<PathBuf>,
    /// How often databases are looked for by the patterns of sources
    #[serde(default = "ten_seconds")]
    pub find_every: Text<Interval>,
    /// What is logged, and how
    #[serde(default)]
    pub log: Log,
    /// Repositories, by the names that schedules have for them
    #[serde(default)]
    pub repositories: BTreeMap<String, RepositoryConfig>,
    /// Databases, by the names that schedules have for them
    #[serde(default)]
    pub sources: BTreeMap<String, SourceConfig>,
    /// What is kept, by the names that schedules have for it
    #[serde(default)]
    pub retention: BTreeMap<String, RetentionConfig>,
    /// What is done when
    #[serde(default)]
    pub schedules: BTreeMap<String, ScheduleConfig>,
    /// Who is told of what
    #[serde(default)]
    pub notifications: BTreeMap<String, NotificationConfig>,
    /// Daemons that share their databases
    pub fleet: Option<FleetConfig>,
    /// Who may look at the daemon's pages, and what they may do there
    #[serde(default)]
    pub dashboard: DashboardConfig,
    /// What the patterns of sources found
    #[serde(skip)]
    pub found: Found,
    /// Databases that are left to other members of the fleet
    #[serde(skip)]
    pub elsewhere: Arc<BTreeSet<String>>,
}

/// How much a process gives way for disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IoPriority {
    /// Only when nobody else wants the disk
    Idle,
    /// After others
    #[default]
    Low,
    /// As others
    Normal,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// For people, or as one JSON object a line
    #[serde(default)]
    pub format: LogFormat,
    /// How much
    #[serde(default)]
    pub level: LogLevel,
}

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people
    #[default]
    Human,
    /// One JSON object a line
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed
    Error,
    /// What may fail
    Warn,
    /// What is done
    #[default]
    Info,
    /// How it is done
    Debug,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepositoryConfig {
    /// A path or URL, as for --repo; secrets of clouds stand in the environment
    pub url: String,
    /// The password, where it is encrypted
    pub password: Option<Secret>,
    /// Identities of age that open it: this file's lines
    pub identity_file: Option<PathBuf>,
    /// No backup begins, and someone is told, while less than this is free there; for folders on this machine
    pub min_free_space: Option<Text<ByteSize>>,
    /// The share that may be unused before a prune rewrites
    #[serde(default = "five_percent")]
    pub max_unused: Text<Share>,
    /// How long what was removed can still be brought back
    #[serde(default = "one_day")]
    pub grace: Text<Wait>,
    /// Nobody else ever prunes it: needed on stores without conditional writes
    #[serde(default)]
    pub exclusive: bool,
    /// Where indexes of it are kept, so as not to read them again
    pub cache_folder: Option<PathBuf>,
}

/// What happens to writers of a SQLite database in rollback-journal mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JournalLocking {
    /// Copy it to a temporary file at the disk's speed, then let writers go on
    #[default]
    Spool,
    /// Keep writers from committing until the backup has read all
    Hold,
    /// Do not back it up
    Refuse,
}

/// A database, or the pattern of those that there are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// A path, or sqlite:PATH, redb:PATH, file:PATH
    #[serde(default)]
    pub path: String,
    /// Instead of a path, a pattern of paths, as /srv/tenants/**/*.db or sqlite:PATTERN: each database that is found is a source of its own
    pub pattern: Option<String>,
    /// What the pattern does not mean: patterns of paths below its part without anything special
    #[serde(default)]
    pub exclude: Vec<String>,
    /// What a relative pattern counts from
    #[serde(skip)]
    pub(super) folder: PathBuf,
    /// Tags of all its backups; {date}, {time}, {source}, {schedule} and {host} are replaced
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// For SQLite in rollback-journal mode
    #[serde(default)]
    pub journal_lock: JournalLocking,
    /// SQLite: nobody can write the database, read it without locks (read-only media)
    #[serde(default)]
    pub immutable: bool,
    /// How long a busy database is waited for
    #[serde(default = "thirty_seconds")]
    pub freeze_timeout: Text<Wait>,
}

/// What is kept. A backup stays if one of the rules keeps it; the caps come after them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct RetentionConfig {
    /// Keep the last N
    #[schemars(range(min = 1))]
    pub keep_last: Option<u32>,
    /// Keep the last one of each minute, for the last N minutes that have one
    #[schemars(range(min = 1))]
    pub keep_minutely: Option<u32>,
    /// Likewise of each hour
    #[schemars(range(min = 1))]
    pub keep_hourly: Option<u32>,
    /// Likewise of each day
    #[schemars(range(min = 1))]
    pub keep_daily: Option<u32>,
    /// Likewise of each week, from Monday on
    #[schemars(range(min = 1))]
    pub keep_weekly: Option<u32>,
    /// Likewise of each month
    #[schemars(range(min = 1))]
    pub keep_monthly: Option<u32>,
    /// Likewise of each year
    #[schemars(range(min = 1))]
    pub keep_yearly: Option<u32>,
    /// Keep the oldest too, as long as a rule that counts minutes to years has some left to keep
    #[serde(default)]
    pub keep_oldest: bool,
    /// Keep all that are less than this much older than the newest
    pub keep_within: Option<Text<Span>>,
    /// Keep all with one of these tags: KEY=VALUE, or KEY with any value
    #[serde(default)]
    pub keep_tags: Vec<String>,
    /// Cap: none that is older than this
    pub max_age: Option<Text<Span>>,
    /// Cap: no more than the newest N of each source
    #[schemars(range(min = 1))]
    pub max_count: Option<u32>,
}

impl RetentionConfig {
    /// The policy, without a cap on space.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            keep_last: self.keep_last,
            keep_minutely: self.keep_minutely,
            keep_hourly: self.keep_hourly,
            keep_daily: self.keep_daily,
            keep_weekly: self.keep_weekly,
            keep_monthly: self.keep_monthly,
            keep_yearly: self.keep_yearly,
            keep_oldest: self.keep_oldest,
            keep_within: self.keep_within.map(|span| span.0),
            keep_tags: self.keep_tags.clone(),
            max_age: self.max_age.map(|span| span.0),
            max_count: self.max_count,
            min_free: None,
        }
    }

    /// Its counts, by their keys.
    pub(super) const fn counts(&self) -> [(&'static str, Option<u32>); 8] {
        [
            ("keep_last", self.keep_last),
            ("keep_minutely", self.keep_minutely),
            ("keep_hourly", self.keep_hourly),
            ("keep_daily", self.keep_daily),
            ("keep_weekly", self.keep_weekly),
            ("keep_monthly", self.keep_monthly),
            ("keep_yearly", self.keep_yearly),
            ("max_count", self.max_count),
        ]
    }
}

impl Config {
    /// Whose times of day are meant where nothing else is said.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.timezone.map_or_else(crate::local_zone, |zone| zone.0)
    }
}
