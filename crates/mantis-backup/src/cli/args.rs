//! The arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use mantis_engine::sqlite::JournalLock;
use mantis_repo::UnixMillis;
use mantis_stream::Compression;

use super::parse::{duration, size_rate, tag};
use crate::parse_time;

/// Hot backups of live databases: consistent while they are written, without making writers wait.
#[derive(Debug, Parser)]
#[command(name = "mantis", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Examples:\n  mantis init --repo /srv/backups\n  mantis backup app.db --repo /srv/backups\n  \
    mantis restore latest --to restored.db --repo /srv/backups"
)]
pub(crate) struct Cli {
    /// The repository: a path or URL (./backups, file:///srv/backups)
    #[arg(long, global = true, env = "MANTIS_REPO", value_name = "URL", hide_env_values = true)]
    pub(crate) repo: Option<String>,
    /// Print one JSON document on standard output: the result
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print nothing but errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say what is going on (-vv: in detail)
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// No progress bars
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Colour,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

impl Cli {
    /// What was said of colours; `None`: nothing.
    pub(crate) fn colour(&self) -> Option<bool> {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match self.color {
            Colour::Auto => no_color.then_some(false),
            Colour::Always => Some(true),
            Colour::Never => Some(false),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the main job on a live database: nothing to set up
    ///
    /// Makes a SQLite database that another process writes non-stop, backs it up hot again and again,
    /// restores every backup and proves that each is one consistent moment, and compares the writer's
    /// speed with and without the backup.
    Demo(DemoArgs),
    /// Make a repository
    Init,
    /// Back up databases while they are written
    Backup(BackupArgs),
    /// List backups, newest last
    List(ListArgs),
    /// Show all about one backup
    Show {
        /// The backup: the start of its id, or latest
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Restore a backup to a file
    Restore(RestoreArgs),
    /// Read backups back and prove every byte
    Verify(VerifyArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  mantis completions bash > /etc/bash_completion.d/mantis")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command to a folder
    Man {
        /// Write mantis.1, mantis-backup.1, … there
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
    /// The writer of the demo, a process of its own
    #[command(hide = true)]
    DemoWriter {
        /// The database
        database: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep database, repository and restored files there, instead of in a temporary folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
    /// How long the writer writes, in all
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u64).range(2..=3600))]
    pub(crate) seconds: u64,
}

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
    /// Give way to other processes for the processor, or not
    #[arg(long, value_name = "WHICH", default_value = "low")]
    pub(crate) priority: Priority,
    /// For SQLite in rollback-journal mode
    #[arg(long, value_name = "HOW", default_value = "spool")]
    pub(crate) journal_lock: HowToLock,
    /// SQLite: nobody can write the database, read it without locks (read-only media)
    #[arg(long)]
    pub(crate) immutable: bool,
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
        if self == Self::Low
            && let Err(error) = rustix::process::nice(10)
        {
            tracing::debug!(%error, "the processor's priority stays as it is");
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

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Of this source only
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// With this tag only; may be repeated
    #[arg(long = "tag", value_name = "K=V", value_parser = tag)]
    pub(crate) tags: Vec<(String, String)>,
    /// Taken at or before this moment: 2026-11-24T14:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) at: Option<UnixMillis>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mantis restore latest --source app --to restored.db --check\n  \
    mantis restore 3f9a --to app.db --force\n  mantis restore latest --at 2026-11-24T14:00:00Z --to then.db"
)]
pub(crate) struct RestoreArgs {
    /// The backup: the start of its id, or latest
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The file to be made
    #[arg(long, value_name = "PATH")]
    pub(crate) to: PathBuf,
    /// Of this source
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// The newest one taken at or before this moment: 2026-11-24T14:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) at: Option<UnixMillis>,
    /// Replace a file that is there, and its -wal, -shm and -journal
    #[arg(long)]
    pub(crate) force: bool,
    /// Run the engine's own integrity check before the file is shown
    #[arg(long)]
    pub(crate) check: bool,
    /// Pieces of work at once; the number of cores without it
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) jobs: usize,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Backups: the start of each one's id, or latest; all without one
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Pieces of work at once; the number of cores without it
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) jobs: usize,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_make_sense() {
        Cli::command().debug_assert();
    }
}
