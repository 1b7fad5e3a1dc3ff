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
    /// Hash a password, for a user of the daemon's pages
    ///
    /// Asks for it, or reads the first line of standard input. What it prints stands in the file as
    /// `password_hash` of [dashboard.users.NAME].
    #[command(
        after_help = "Examples:\n  mantis config password\n  pass show mantis | mantis config password"
    )]
    Password,
    /// Make a token, for a program that talks to the daemon
    ///
    /// The token goes to the program, its hash into the file as `token_hash` of [dashboard.users.NAME]. It is
    /// shown this once.
    Token,
}
