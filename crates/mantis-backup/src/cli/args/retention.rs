//! The arguments of `mantis retention` and `mantis schedule`.

use std::path::PathBuf;

use chrono_tz::Tz;
use clap::{Args, Subcommand};
use mantis_repo::UnixMillis;
use mantis_schedule::CronSchedule;

use super::PolicyArgs;
use crate::{parse_time, parse_zone};

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

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Show when a cron expression comes true next
    #[command(
        after_help = "Examples:\n  mantis schedule next \"30 2 * * MON-FRI\" --tz Europe/Berlin\n  mantis schedule next @weekly --count 3\n\n\
        Minute, hour, day of month, month and day of week, as in crontab(5): Sunday is 0 and 7; lists, ranges, steps, \
        names.\nOf two restricted fields of days one is enough. Also L, LW, 15W (days of month), 5L, 1#2 (days of week). A time of day \
        that\nclocks leave out comes true after the gap, one that comes twice comes true once; with * as the hour, each hour counts."
    )]
    Next {
        /// The expression
        #[arg(value_name = "EXPR")]
        expression: CronSchedule,
        /// Whose time of day is meant; the system's without it
        #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
        tz: Option<Tz>,
        /// After this moment; now without it
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        from: Option<UnixMillis>,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        count: u32,
    },
}
