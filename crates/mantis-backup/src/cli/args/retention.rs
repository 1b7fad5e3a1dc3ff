//! The arguments of `mantis retention`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mantis_repo::UnixMillis;
use mantis_schedule::CronSchedule;

use super::PolicyArgs;
use crate::parse_time;

#[derive(Debug, Subcommand)]
pub(crate) enum RetentionCommand {
    /// Show what rules would keep, of backups in a file or of a year of a schedule
    Simulate(SimulateArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mantis retention simulate --schedule \"0 2 * * *\" --keep-daily 7 --keep-weekly 5 --keep-monthly 12\n  \
    mantis retention simulate --backups backups.json --now 2026-11-25T12:00:00Z --keep-daily 7\n\n\
    The file holds a JSON array of objects with id, source and created_at (RFC 3339); tags, an object, and state \
    (good,\nrunning, failed) may be given too: `mantis list --json` prints such a file. No repository is touched."
)]
pub(crate) struct SimulateArgs {
    /// Backups, as JSON; - for standard input
    #[arg(long, value_name = "FILE", required_unless_present = "schedule")]
    pub(crate) backups: Option<PathBuf>,
    /// A year in which a backup is made at each of this schedule's times, and the rules are applied after each
    #[arg(long, value_name = "EXPR", conflicts_with = "backups")]
    pub(crate) schedule: Option<CronSchedule>,
    /// The time at which the rules are applied; now without it
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) now: Option<UnixMillis>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}
