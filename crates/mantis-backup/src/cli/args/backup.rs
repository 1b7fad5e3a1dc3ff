//! The arguments of `mantis backup`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use mantis_engine::sqlite::JournalLock;
use mantis_stream::Compression;

use crate::parse::{duration, size_or_none, size_rate, tag};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mantis backup app.db --tag type=manual\n  \
    mantis backup sqlite:app.db redb:cache.redb --compression zstd:3\n\nIn SQLite's WAL mode no writer waits. In \
    rollback-journal mode no writer can commit while\nthe pages are read; --journal-lock says how to read them.")]
pub(crate) struct BackupArgs {
    /// Databases: a path, or sqlite:PATH, redb:PATH, file:PATH (a raw file that nobody writes)
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    /// The source's name in the repository; its file's name without one
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A tag of your own; may be repeated
    #[arg(long = "tag", value_name = "K=V", value_parser = tag)]
    pub(crate) tags: Vec<(String, String)>,
    /// Store every page, whatever earlier backups hold
    #[arg(long)]
    pub(crate) full: bool,
    /// none, lz4, zstd[:LEVEL] or gzip[:LEVEL]
    #[arg(long, value_name = "CODEC", default_value_t)]
    pub(crate) compression: Compression,
    /// Read no faster than this from each source: 50MB/s
    #[arg(long, value_name = "RATE", value_parser = size_rate)]
    pub(crate) limit_rate: Option<u64>,
    /// Pieces of work at once; the number of cores without it
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) jobs: usize,
    /// Also keep it there: a replica of the repository, made where there is none; may be repeated. Where the
    /// repository cannot be reached, the backup is made there
    #[arg(long, value_name = "URL")]
    pub(crate) copy_to: Vec<String>,
    /// Read the backup back when it is made, and prove it
    #[arg(long)]
    pub(crate) verify: bool,
    /// Take the snapshot, say what would be stored, store nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Give each backup up after this long: 30s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Wait at most this long for a busy database
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    pub(crate) freeze_timeout: Duration,
    /// Give way to other processes for the processor and for disks, or not
    #[arg(long, value_name = "WHICH", default_value = "low")]
    pub(crate) priority: Priority,
    /// For SQLite in rollback-journal mode
    #[arg(long, value_name = "HOW", default_value = "spool")]
    pub(crate) journal_lock: HowToLock,
    /// SQLite: nobody can write the database, read it without locks (read-only media)
    #[arg(long)]
    pub(crate) immutable: bool,
    /// Bytes that wait on the local disk at most, compressed and sealed, for a store that is slower than the source: 500MB, or 0.
    /// 1GiB without it for a store over a network, 0 for others
    #[arg(long, value_name = "SIZE", value_parser = size_or_none)]
    pub(crate) spool_limit: Option<u64>,
    /// Where spooled pages go; the system's temporary folder without it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) temp_folder: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Priority {
    /// The database's own processes come first
    Low,
    /// As any other process
    Normal,
}

impl Priority {
    /// Has the calling thread give way from here on, if that is what is wanted. A system that refuses is no reason to fail.
    pub(crate) fn apply(self) {
        if self == Self::Low {
            crate::nice::come_after();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HowToLock {
    /// Copy it to a temporary file at the disk's speed, then let writers go on
    Spool,
    /// Keep writers from committing until the backup has read all
    Hold,
    /// Do not back it up
    Refuse,
}

impl From<HowToLock> for JournalLock {
    fn from(how: HowToLock) -> Self {
        match how {
            HowToLock::Spool => Self::Spool,
            HowToLock::Hold => Self::Hold,
            HowToLock::Refuse => Self::Refuse,
        }
    }
}
