//! The arguments of `mantis schedule` and `mantis serve`.

use std::path::PathBuf;

use chrono_tz::Tz;
use clap::{Args, Subcommand};
use mantis_repo::UnixMillis;
use mantis_schedule::CronSchedule;

use crate::{parse_time, parse_zone};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mantis config example > mantis.toml\n  mantis serve\n  mantis serve --config /etc/mantis/mantis.toml \
    --listen 127.0.0.1:8420\n\nSIGHUP has it read its configuration again; a wrong one is told and leaves everything as it was. SIGTERM and \
    SIGINT\nhave it stop: runs under way may end within `stop_timeout`, then they are cancelled, and begun again at the next start."
)]
pub(crate) struct ServeArgs {
    /// Where metrics and health are served, instead of the configuration's `listen`; "" for nowhere
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
}

/// Which daemon is talked to.
#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// Talk to this daemon by HTTP instead of the one on this machine: http://localhost:8420, https://backups.example
    #[arg(long, global = true, env = "MANTIS_DAEMON", value_name = "URL")]
    pub(crate) daemon: Option<String>,
    /// The token for it: what stands in this file; else $MANTIS_DAEMON_TOKEN
    #[arg(
        long,
        global = true,
        env = "MANTIS_DAEMON_TOKEN_FILE",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub(crate) token_file: Option<PathBuf>,
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
    /// List the configuration's schedules: when each runs next, and how it ran last
    List,
    /// Run a schedule now, here, whether a daemon runs or not
    #[command(
        after_help = "Examples:\n  mantis schedule run nightly\n  mantis schedule run nightly/orders --detach"
    )]
    Run {
        /// The schedule, or one of its jobs: SCHEDULE/SOURCE
        #[arg(value_name = "NAME")]
        name: String,
        /// Have the daemon that runs do it, and do not wait for it
        #[arg(long)]
        detach: bool,
    },
    /// Show what was run, newest last
    History {
        /// Only of this schedule, or of one of its jobs: SCHEDULE/SOURCE
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// No more than the last N
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Only what did not do what it should
        #[arg(long)]
        failed: bool,
    },
    /// Keep a schedule from running until it is resumed
    Pause {
        /// The schedule, or one of its jobs: SCHEDULE/SOURCE
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Cancel what the daemon runs of a schedule; it is not tried again
    Cancel {
        /// The schedule, or one of its jobs: SCHEDULE/SOURCE
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Let a schedule run again; what was due meanwhile was not missed
    Resume {
        /// The schedule, or one of its jobs: SCHEDULE/SOURCE
        #[arg(value_name = "NAME")]
        name: String,
    },
}
