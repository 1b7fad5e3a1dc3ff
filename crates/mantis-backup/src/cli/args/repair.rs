//! The arguments of `mantis repair`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mantis repair --dry-run\n  mantis repair\n  \
    mantis repair --salvage 3f9a --to rescued.db\n\nA damaged segment is written anew where each of its pages can still be had, \
    from its readable frames\nor from identical pages elsewhere. Nothing that can be read is changed in its place. Exit code 1: \
    something\nremains lost.")]
pub(crate) struct RepairArgs {
    /// Say what would be repaired, and repair nothing
    #[arg(long, conflicts_with = "salvage")]
    pub(crate) dry_run: bool,
    /// Write all that can be read of this backup to a file, with zeros for what is lost
    #[arg(long, value_name = "ID", requires = "to")]
    pub(crate) salvage: Option<String>,
    /// With --salvage: the file to be made
    #[arg(long, value_name = "PATH", requires = "salvage")]
    pub(crate) to: Option<PathBuf>,
}
