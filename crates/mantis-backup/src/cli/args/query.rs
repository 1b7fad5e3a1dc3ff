//! The arguments of `mantis query`.

use clap::Args;
use mantis_repo::UnixMillis;

use crate::when::parse_moment;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mantis query latest --source app 'select * from orders where id = 4711'\n  \
    mantis query latest --source app --at '5 minutes ago' 'select count(*) from orders'\n\nNothing is restored: the pages that the \
    statement needs are fetched from the repository, and proved. With --json each row is an object; blobs are hexadecimal."
)]
pub(crate) struct QueryArgs {
    /// The backup: the start of its id, or latest
    pub(crate) id: String,
    /// One statement of SQL that only reads
    #[arg(value_name = "SQL")]
    pub(crate) sql: String,
    /// With `latest`: of this source
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// With `latest`: taken at or before this moment: 2026-11-24T14:00:00Z, '5 minutes ago'
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub(crate) at: Option<UnixMillis>,
}
