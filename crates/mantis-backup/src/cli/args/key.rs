//! The arguments of `mantis init` and `mantis key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mantis_repo::Recipient;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mantis init --repo /srv/backups\n  \
    mantis init --repo /srv/backups --password-file /etc/mantis/password\n  \
    mantis init --repo /srv/backups --recipient age1... --recipient age1...\n\nA repository is encrypted if a password (by \
    file, command or MANTIS_PASSWORD)\nor a recipient of age is given, and only then. It cannot be changed later. Keep the \
    password or the\nidentity where a disaster leaves it: without one, nobody reads the backups again.")]
pub(crate) struct InitArgs {
    /// Whom else it is encrypted for: a recipient of age (age1…), whose identity opens it; may be repeated
    #[arg(long = "recipient", value_name = "RECIPIENT")]
    pub(crate) recipients: Vec<Recipient>,
    /// What to call the first keys
    #[arg(long, value_name = "TEXT", default_value = "first")]
    pub(crate) label: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// List the keys there are
    List,
    /// Add a password, or a recipient of age, that opens the repository
    #[command(
        after_help = "Example, to change a password:\n  mantis key add --new-password-file new\n  \
        mantis key list --password-file new\n  mantis key remove OLD --password-file new\n\n\
        For a machine, or a key in a safe:\n  age-keygen -o identity\n  \
        mantis key add --recipient age1... --label safe\n  mantis list --identity-file identity"
    )]
    Add {
        /// The new password: the first line's worth of this file; asked for at a terminal without it
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
        /// Instead of a password: a recipient of age (age1…), whose identity opens the repository
        #[arg(long, value_name = "RECIPIENT", conflicts_with = "new_password_file")]
        recipient: Option<Recipient>,
        /// What to call it
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
    },
    /// Remove a key; never the last one
    ///
    /// Its password or identity opens the repository no more. Whoever has read the keyring with it before can still read
    /// what was written until then, and what is written until the next rotation.
    Remove {
        /// The start of the key's id
        #[arg(value_name = "KEY_ID")]
        id: String,
    },
    /// Seal what is written from now on with a new master key; every key opens it
    Rotate,
}
