//! The arguments of `mantis rescue`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mantis_repo::UnixMillis;

use crate::parse::duration;
use crate::when::parse_moment;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mantis rescue latest orders --source app --at '1 hour ago' --where \"customer = 7\" --into app.db\n  \
    mantis rescue latest orders --source app --at '1 hour ago' --where \"customer = 7\" --into app.db --apply\n\nWithout --apply nothing is \
    changed: it tells which rows are missing in the database, and which differ. Rows are told apart by the primary key; of a table without one, a row is there \
    where all of it is. All rows come back in one transaction, while others write the database. A table that is not there is made, with its indexes."
)]
pub(crate) struct RescueArgs {
    /// The backup: the start of its id, or latest
    pub(crate) id: String,
    /// The table whose rows are brought back
    pub(crate) table: String,
    /// The live database
    #[arg(long, value_name = "PATH")]
    pub(crate) into: PathBuf,
    /// Which rows: an expression of SQL over the backup's columns; all without it
    #[arg(long = "where", value_name = "SQL")]
    pub(crate) only: Option<String>,
    /// Rows that are there and differ become what they were
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Do it; else it is only told what would be done
    #[arg(long)]
    pub(crate) apply: bool,
    /// Wait at most this long for others that write
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    pub(crate) busy_timeout: Duration,
    /// With `latest`: of this source
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// With `latest`: taken at or before this moment: 2026-11-24T14:00:00Z, '5 minutes ago'
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub(crate) at: Option<UnixMillis>,
}
