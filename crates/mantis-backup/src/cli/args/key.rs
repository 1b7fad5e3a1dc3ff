//! The arguments of `mantis init` and `mantis key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mantis init --repo /srv/backups\n  \
    mantis init --repo /srv/backups --password-file /etc/mantis/password\n\nA repository is encrypted if a password is \
    given, by file, command or MANTIS_PASSWORD, and only\nthen. It cannot be changed later. Keep the password where a \
    disaster leaves it: without it, nobody\nreads the backups again.")]
pub(crate) struct InitArgs {
    /// What to call the first key
    #[arg(long, value_name = "TEXT", default_value = "first")]
    pub(crate) label: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// List the keys there are
    List,
    /// Add a password that opens the repository
    #[command(
        after_help = "Example, to change a password:\n  mantis key add --new-password-file new\n  \
        mantis key list --password-file new\n  mantis key remove OLD --password-file new"
    )]
    Add {
        /// The new password: the first line's worth of this file; asked for at a terminal without it
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
        /// What to call it
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
    },
    /// Remove a key; never the last one
    ///
    /// Its password opens the repository no more. Whoever has read the keyring with it before can still read
    /// what was written until then, and what is written until the next rotation.
    Remove {
        /// The start of the key's id
        #[arg(value_name = "KEY_ID")]
        id: String,
    },
    /// Seal what is written from now on with a new master key; every password opens it
    Rotate,
}
