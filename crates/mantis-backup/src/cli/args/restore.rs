//! The arguments of `mantis restore`.

use std::path::PathBuf;

use clap::Args;
use mantis_page::Lsn;
use mantis_repo::UnixMillis;

use crate::when::parse_moment;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mantis restore latest --source app --to restored.db --check\n  \
    mantis restore 3f9a --to app.db --force\n  mantis restore latest --to app.db --delta\n  mantis restore latest --to - | \
    ssh other 'cat >app.db'\n  mantis restore --at 2026-11-24T14:00:00Z --to then.db\n  mantis restore --at '5 minutes ago' --to then.db\n  \
    mantis restore --source app --before-commit 3/0000BEE1 --to then.db"
)]
pub(crate) struct RestoreArgs {
    /// The backup: the start of its id, or latest
    #[arg(value_name = "ID", default_value = "latest", hide_default_value = true)]
    pub(crate) id: String,
    /// The file to be made; - for standard output
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    pub(crate) to: PathBuf,
    /// Of this source
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// The newest one taken at or before this moment: 2026-11-24T14:00:00Z, '5 minutes ago'
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub(crate) at: Option<UnixMillis>,
    /// The newest one that is known to be without this commit, as `list` shows it
    #[arg(long, value_name = "LSN", conflicts_with = "at")]
    pub(crate) before_commit: Option<Lsn>,
    /// Replace a file that is there, and its -wal, -shm and -journal
    #[arg(long)]
    pub(crate) force: bool,
    /// Replace a file that is there, and fetch only those of its pages that differ
    #[arg(long)]
    pub(crate) delta: bool,
    /// Run the engine's own integrity check before the file is shown
    #[arg(long)]
    pub(crate) check: bool,
    /// Where temporary files go, for standard output; the system's temporary folder without it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) temp_folder: Option<PathBuf>,
    /// Pieces of work at once; the number of cores without it
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) jobs: usize,
}
