//! The arguments of `mantis watch`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mantis_stream::Compression;

use super::backup::{HowToLock, Priority};
use super::policy::PolicyArgs;
use crate::parse::{duration, interval, log_len, size_or_none, size_rate, tag};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mantis watch app.db --every 5s --keep-within 1h --keep-minutely 600 --keep-hourly 48\n  \
    mantis restore --source app --at '5 minutes ago' --to app-then.db\n  mantis watch '/srv/tenants/**/*.db'\n\nRuns until it is stopped. Each interval in which something was \
    committed becomes a backup of what\nchanged; one without a commit costs nothing. Between backups a read mark keeps the WAL from being\n\
    begun anew unseen, and once the WAL is longer than --max-wal, it is put into the database as by the\napplication's own checkpoints: beside \
    writers where they pause, and by holding them for some\nmilliseconds where they never do, for which they need a busy timeout. Space is \
    freed by `mantis prune`."
)]
pub(crate) struct WatchArgs {
    /// SQLite databases in WAL mode: a path, sqlite:PATH, or the pattern of many, '/srv/tenants/**/*.db'
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    /// From one look to the next: 1s, 5s, 1m
    #[arg(long, value_name = "TIME", value_parser = interval, default_value = "5s")]
    pub(crate) every: Duration,
    /// What the pattern does not mean, below its part without stars; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// How often databases are looked for by the pattern
    #[arg(long, value_name = "TIME", value_parser = interval, default_value = "10s")]
    pub(crate) find_every: Duration,
    /// The source's name in the repository; its file's name without one, and for a pattern its folder's
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A tag of your own; may be repeated
    #[arg(long = "tag", value_name = "K=V", value_parser = tag)]
    pub(crate) tags: Vec<(String, String)>,
    /// none, lz4, zstd[:LEVEL] or gzip[:LEVEL]
    #[arg(long, value_name = "CODEC", default_value_t)]
    pub(crate) compression: Compression,
    /// About how long the WAL may grow for the sake of the watch
    #[arg(long, value_name = "SIZE", value_parser = log_len, default_value = "16MiB")]
    pub(crate) max_wal: u64,
    /// Read no faster than this from each source: 50MB/s
    #[arg(long, value_name = "RATE", value_parser = size_rate)]
    pub(crate) limit_rate: Option<u64>,
    /// Pieces of work at once; the number of cores without it
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) jobs: usize,
    /// Wait at most this long for a busy database
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    pub(crate) freeze_timeout: Duration,
    /// Give way to other processes for the processor and for disks, or not
    #[arg(long, value_name = "WHICH", default_value = "low")]
    pub(crate) priority: Priority,
    /// For a database in rollback-journal mode, of which each backup reads every page
    #[arg(long, value_name = "HOW", default_value = "refuse")]
    pub(crate) journal_lock: HowToLock,
    /// As of `mantis backup`; and how much of moments of all sources together waits there while the repository is gone
    #[arg(long, value_name = "SIZE", value_parser = size_or_none)]
    pub(crate) spool_limit: Option<u64>,
    /// Where spooled pages go; the system's temporary folder without it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) temp_folder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}
