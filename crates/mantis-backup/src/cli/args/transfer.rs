//! The arguments of `mantis export` and `mantis import`.

use std::path::PathBuf;

use clap::Args;
use mantis_stream::Compression;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mantis export latest --to app.mantis\n  \
    mantis export 3f9a --to - | ssh other 'mantis import - --repo /srv/backups'\n\nThe file holds all that the backup needs, and \
    nothing is decoded on the way: an encrypted backup stays\nencrypted, and opens with this repository's passwords.")]
pub(crate) struct ExportArgs {
    /// The backup: the start of its id, or latest
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The file to be made; - for standard output
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) to: PathBuf,
    /// Of this source
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A file made by export; - for standard input
    #[arg(value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) file: PathBuf,
    /// The password that opens the file, if it is another than the repository's
    #[arg(long, value_name = "FILE")]
    pub(crate) from_password_file: Option<PathBuf>,
    /// none, lz4, zstd[:L] or gzip[:L]
    #[arg(long, value_name = "CODEC", default_value_t)]
    pub(crate) compression: Compression,
    /// Where the backup is restored to on its way; the system's temporary folder without it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) temp_folder: Option<PathBuf>,
}
