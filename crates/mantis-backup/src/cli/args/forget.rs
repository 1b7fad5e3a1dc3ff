//! The arguments of `mantis forget` and `mantis prune`.

use std::time::Duration;

use clap::Args;

use super::PolicyArgs;
use crate::parse::{grace, share};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mantis forget 3f9a 77b0\n  mantis forget --keep-last 30 --dry-run\n  \
    mantis forget --keep-last 30 --source app --prune\n  mantis forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --keep-tag keep --tz Europe/Berlin\n  mantis forget --undo 3f9a\n\nA forgotten backup is in no list \
    and is freed by `mantis prune` after its time of grace; until then\n--undo brings it back. Rules never forget the newest \
    backup of a source."
)]
pub(crate) struct ForgetArgs {
    /// Backups: the start of each one's id
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Of this source only
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    pub(crate) source: Option<String>,
    /// Bring this forgotten backup back
    #[arg(long, value_name = "ID", conflicts_with_all = ["ids", "source", "prune"])]
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
    /// Nothing else uses the repository meanwhile: needed on stores that let two create one object at once
    #[arg(long)]
    pub(crate) exclusive: bool,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Prune runs beside backups, restores and other prunes. What a session under way might refer to \
    waits\nfor it, and the next prune frees it; a session under way for longer than the time of grace is given up."
)]
pub(crate) struct PruneArgs {
    /// Put layers of backups together until no more than this share of the repository is unused
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "5%")]
    pub(crate) max_unused: f64,
    /// Say what would be freed, and free nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How long forgotten backups wait, and how long a session may be under way; 0s only where nobody else
    /// uses the repository
    #[arg(long, value_name = "TIME", value_parser = grace, default_value = "24h")]
    pub(crate) grace: Duration,
    /// Nothing else uses the repository meanwhile: needed on stores that let two create one object at once
    #[arg(long)]
    pub(crate) exclusive: bool,
}
