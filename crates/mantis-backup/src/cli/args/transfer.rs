//! The arguments of `mantis copy`, `mantis export` and `mantis import`.

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

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mantis copy --to s3://bucket/replica\n  mantis copy --to /mnt/disk/backups latest\n\n\
    To an empty place, or to a replica that an earlier copy made, backups go as they are stored, and what is there\nis \
    not sent again. A replica has the same keys, and is a repository like any other: restore from it, back up\nto it, \
    prune it by rules of its own. To another repository they are decoded, proved and stored anew."
)]
pub(crate) struct CopyArgs {
    /// Where to: a path or URL
    #[arg(long, value_name = "URL")]
    pub(crate) to: String,
    /// Backups: the start of each one's id, or latest; all without one
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Of this source
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// The password of another repository, if it is not this one's
    #[arg(long, value_name = "FILE")]
    pub(crate) to_password_file: Option<PathBuf>,
    /// Where pages wait on their way to another repository; the system's temporary folder without it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) temp_folder: Option<PathBuf>,
}
