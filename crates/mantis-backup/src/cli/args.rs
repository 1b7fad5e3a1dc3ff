//! The arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use mantis_engine::sqlite::JournalLock;
use mantis_repo::UnixMillis;
use mantis_stream::Compression;

use super::parse::{duration, grace, share, size_rate, tag};
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
    /// The password of an encrypted repository: the first line's worth of this file
    #[arg(
        long,
        global = true,
        env = "MANTIS_PASSWORD_FILE",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub(crate) password_file: Option<PathBuf>,
    /// The password of an encrypted repository: what this command prints
    #[arg(
        long,
        global = true,
        env = "MANTIS_PASSWORD_COMMAND",
        value_name = "COMMAND",
        hide_env_values = true
    )]
    pub(crate) password_command: Option<String>,
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
    /// Make a repository; an encrypted one where a password is given
    Init(InitArgs),
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
    /// Forget backups: by id, or by rules
    Forget(ForgetArgs),
    /// Free what nothing refers to
    Prune(PruneArgs),
    /// Keys of an encrypted repository
    Key {
        #[command(subcommand)]
        what: KeyCommand,
    },
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
#[command(after_help = "Examples:\n  mantis init --repo /srv/backups\n  \
    mantis init --repo /srv/backups --password-file /etc/mantis/password\n\nA repository is encrypted if a password is \
    given, by file, command or MANTIS_PASSWORD, and only\nthen. It cannot be changed later. Keep the password where a \
    disaster leaves it: without it, nobody\nreads the backups again.")]
pub(crate) struct InitArgs {
    /// What to call the first key
    #[arg(long, value_name = "TEXT", default_value = "first")]
    pub(crate) label: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mantis forget 3f9a 77b0\n  mantis forget --keep-last 30 --dry-run\n  \
    mantis forget --keep-last 30 --source app --prune\n  mantis forget --undo 3f9a\n\nA forgotten backup is in no list \
    and is freed by `mantis prune` after its time of grace; until then\n--undo brings it back. Rules never forget the newest \
    backup of a source."
)]
pub(crate) struct ForgetArgs {
    /// Backups: the start of each one's id
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Keep the last N of each source, and forget the others
    #[arg(long, value_name = "N", conflicts_with = "ids", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_last: Option<u32>,
    /// Of this source only
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    pub(crate) source: Option<String>,
    /// Bring this forgotten backup back
    #[arg(long, value_name = "ID", conflicts_with_all = ["ids", "keep_last", "source", "prune"])]
    pub(crate) undo: Option<String>,
    /// Say what would be forgotten, and forget nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Then free what nothing refers to
    #[arg(long)]
    pub(crate) prune: bool,
    /// With --prune: how long forgotten backups wait
    #[arg(long, value_name = "TIME", value_parser = grace, default_value = "24h")]
    pub(crate) grace: Duration,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Prune runs beside backups, restores and other prunes. What a session under way might refer to \
    waits\nfor it, and the next prune frees it; a session under way for longer than the time of grace is given up."
)]
pub(crate) struct PruneArgs {
    /// Say what would be freed, and free nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How long forgotten backups wait, and how long a session may be under way; 0s only where nobody else
    /// uses the repository
    #[arg(long, value_name = "TIME", value_parser = grace, default_value = "24h")]
    pub(crate) grace: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// List the keys there are
    List,
    /// Add a password that opens the repository
    #[command(
        after_help = "Example, to change a password:\n  mantis key add --new-password-file new\n  \
        mantis key list --password-file new\n  mantis key remove OLD --password-file new"
    )]
    Add {
        /// The new password: the first line's worth of this file; asked for at a terminal without it
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
        /// What to call it
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
    },
    /// Remove a key; never the last one
    ///
    /// Its password opens the repository no more. Whoever has read the keyring with it before can still read
    /// what was written until then, and what is written until the next rotation.
    Remove {
        /// The start of the key's id
        #[arg(value_name = "KEY_ID")]
        id: String,
    },
    /// Seal what is written from now on with a new master key; every password opens it
    Rotate,
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
#[command(after_help = "Examples:\n  mantis verify\n  mantis verify latest --restore-check\n  \
    mantis verify --sample 0.1\n\nManifests and indexes are always read whole. Exit code 1: damage was found.")]
pub(crate) struct VerifyArgs {
    /// Backups: the start of each one's id, or latest; all without one
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Read this share of the segments, another one each time: 0.1
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "metadata_only")]
    pub(crate) sample: Option<f64>,
    /// Read no segments: of each, only that it is there with its right length
    #[arg(long)]
    pub(crate) metadata_only: bool,
    /// Restore each backup to a temporary file and run its engine's own check
    #[arg(long)]
    pub(crate) restore_check: bool,
    /// Where temporary files go; the system's temporary folder without it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) temp_folder: Option<PathBuf>,
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
