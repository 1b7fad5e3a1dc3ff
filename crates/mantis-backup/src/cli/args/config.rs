//! The arguments of `mantis config`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say what is wrong with the configuration file, with line and column of each fault
    #[command(
        after_help = "Examples:\n  mantis config check\n  mantis config check --config /etc/mantis/mantis.toml"
    )]
    Check,
    /// Print a file that shows and explains every key
    #[command(after_help = "Example:\n  mantis config example > mantis.toml")]
    Example,
    /// Print the file's JSON schema, for editors
    Schema,
}
