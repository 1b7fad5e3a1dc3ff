//! The arguments of `mantis list` and `mantis diff`.

use clap::Args;
use mantis_repo::UnixMillis;

use crate::parse::tag;
use crate::when::parse_moment;

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Of this source only
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// With this tag only; may be repeated
    #[arg(long = "tag", value_name = "K=V", value_parser = tag)]
    pub(crate) tags: Vec<(String, String)>,
    /// Taken at or before this moment: 2026-11-24T14:00:00Z, '5 minutes ago'
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub(crate) at: Option<UnixMillis>,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The older backup: the start of its id, or latest
    #[arg(value_name = "A")]
    pub(crate) a: String,
    /// The newer backup
    #[arg(value_name = "B")]
    pub(crate) b: String,
    /// Also compare the rows of this table, of SQLite databases
    #[arg(long, value_name = "TABLE")]
    pub(crate) rows: Option<String>,
    /// Rows that are shown, at most
    #[arg(long, value_name = "N", default_value_t = 100, requires = "rows")]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Writes, reads, lists and deletes objects under probe/, has several create one object at once, and looks \
    at the\nstore's clock. Each fault comes with its cure. Exits with 1 where there is any."
)]
pub(crate) struct DoctorArgs {
    /// Also make more objects than a store lists in one answer (1,100, removed again)
    #[arg(long)]
    pub(crate) thorough: bool,
}
