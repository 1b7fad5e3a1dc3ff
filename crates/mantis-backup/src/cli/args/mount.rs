//! The arguments of `mantis mount`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mantis mount /mnt/backups\n  sqlite3 /mnt/backups/app/latest.db 'select count(*) from orders'\n\nThere is a folder for each source, \
    and in it a file for each backup, named by its time in UTC. Nothing is restored: what a program reads is fetched from the repository, and proved. New \
    backups appear as they are made. It ends when the folder is unmounted, or with Ctrl-C."
)]
pub(crate) struct MountArgs {
    /// An empty folder
    pub(crate) dir: PathBuf,
    /// The backups of this source alone
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Show SQLite databases that have a WAL byte for byte: what wants to open one then says immutable=1. Else their files say that they have none
    #[arg(long)]
    pub(crate) exact: bool,
    /// Let other users look, too
    #[arg(long)]
    pub(crate) allow_other: bool,
}
