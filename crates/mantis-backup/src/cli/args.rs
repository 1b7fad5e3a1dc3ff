//! The arguments: those of every command here, those of each in a file of its own.

mod backup;
mod config;
mod demo;
mod fleet;
mod forget;
mod key;
mod look;
#[cfg(all(feature = "mount", target_os = "linux"))]
mod mount;
mod policy;
mod query;
mod repair;
mod rescue;
mod restore;
mod retention;
mod schedule;
mod transfer;
mod verify;
mod watch;

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

pub(crate) use backup::{BackupArgs, Priority};
pub(crate) use config::ConfigCommand;
pub(crate) use demo::DemoArgs;
pub(crate) use fleet::FleetCommand;
pub(crate) use forget::{ForgetArgs, PruneArgs};
pub(crate) use key::{InitArgs, KeyCommand};
pub(crate) use look::{DiffArgs, DoctorArgs, ListArgs};
#[cfg(all(feature = "mount", target_os = "linux"))]
pub(crate) use mount::MountArgs;
pub(crate) use policy::PolicyArgs;
pub(crate) use query::QueryArgs;
pub(crate) use repair::RepairArgs;
pub(crate) use rescue::RescueArgs;
pub(crate) use restore::RestoreArgs;
pub(crate) use retention::{RetentionCommand, SimulateArgs};
pub(crate) use schedule::{DaemonArgs, ScheduleCommand, ServeArgs};
pub(crate) use transfer::{CopyArgs, ExportArgs, ImportArgs};
pub(crate) use verify::VerifyArgs;
pub(crate) use watch::WatchArgs;

/// Hot backups of live databases: consistent while they are written, without making writers wait.
#[derive(Debug, Parser)]
#[command(name = "mantis", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Examples:\n  mantis init --repo /srv/backups\n  mantis backup app.db --repo /srv/backups\n  \
    mantis restore latest --to restored.db --repo /srv/backups"
)]
pub(crate) struct Cli {
    /// The repository: a path or URL (./backups, file:///srv/backups, s3://bucket/prefix)
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
    /// Identities of age (AGE-SECRET-KEY-1…) that open an encrypted repository: this file's lines
    #[arg(
        long,
        global = true,
        env = "MANTIS_IDENTITY_FILE",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub(crate) identity_file: Option<PathBuf>,
    /// The configuration file; else ./mantis.toml, mantis/mantis.toml in the user's configuration folder, /etc/mantis/mantis.toml
    #[arg(long, global = true, env = "MANTIS_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// Keep indexes of the repository there, and pages that were looked at, so as not to read them again; by default in the user's cache folder,
    /// where the repository is reached over a network. May be removed at any time
    #[arg(long, global = true, env = "MANTIS_CACHE_DIR", value_name = "FOLDER")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Keep neither indexes nor pages
    #[arg(long, global = true, conflicts_with = "cache_dir")]
    pub(crate) no_cache: bool,
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
    /// Make a repository; an encrypted one where a password or a recipient is given
    Init(InitArgs),
    /// Back up databases while they are written
    Backup(BackupArgs),
    /// Protect databases continuously: a backup of what changed every few seconds
    Watch(WatchArgs),
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
    /// Ask a backup's database something, without restoring it
    Query(QueryArgs),
    /// Show every backup as a read-only file in a folder, until it is unmounted
    #[cfg(all(feature = "mount", target_os = "linux"))]
    Mount(MountArgs),
    /// Bring rows of a backup back into a live database
    Rescue(RescueArgs),
    /// Read backups back and prove every byte
    Verify(VerifyArgs),
    /// Show what changed between two backups, in pages
    Diff(DiffArgs),
    /// Forget backups: by id, or by rules
    Forget(ForgetArgs),
    /// Free what nothing refers to
    Prune(PruneArgs),
    /// Try out what retention rules keep
    Retention {
        #[command(subcommand)]
        what: RetentionCommand,
    },
    /// Run the configuration's schedules: the daemon
    Serve(ServeArgs),
    /// Daemons that share databases
    Fleet {
        #[command(subcommand)]
        what: FleetCommand,
    },
    /// Look at schedules, and run them
    Schedule {
        #[command(flatten)]
        daemon: DaemonArgs,
        #[command(subcommand)]
        what: ScheduleCommand,
    },
    /// The configuration file
    Config {
        #[command(subcommand)]
        what: ConfigCommand,
    },
    /// Put right what can be put right, and salvage the rest
    Repair(RepairArgs),
    /// Copy backups to another place
    Copy(CopyArgs),
    /// Write one backup as one self-contained file
    Export(ExportArgs),
    /// Bring an exported backup into the repository
    Import(ImportArgs),
    /// Try a repository's store out: rights, conditional writes, clock; each fault with its cure
    Doctor(DoctorArgs),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_make_sense() {
        Cli::command().debug_assert();
    }
}
