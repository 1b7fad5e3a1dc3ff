//! The arguments of `mantis fleet`.

use std::time::Duration;

use clap::Subcommand;

use crate::parse::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum FleetCommand {
    /// Which daemons share databases, and how old the newest backup of each is: by what the repository alone tells
    #[command(
        after_help = "Daemons with [fleet] in their configuration tell of themselves in its repository. An idle\n\
        database that is watched has an old newest backup, as there is nothing newer in it:\n\
        --older-than is for databases that are always written, or backed up by a schedule. Exits\n\
        with 3 where there are such."
    )]
    Status {
        /// Show each source, not only how many there are
        #[arg(long)]
        all: bool,
        /// Show sources whose newest backup is older than this: 90s, 10m, 2h, 1d
        #[arg(long, value_name = "TIME", value_parser = duration)]
        older_than: Option<Duration>,
    },
}
