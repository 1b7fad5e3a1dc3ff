//! The arguments of `mantis verify`.

use std::path::PathBuf;

use clap::Args;

use crate::parse::share;

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
