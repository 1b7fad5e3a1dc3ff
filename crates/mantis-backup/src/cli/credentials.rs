//! What opens a repository, and where it comes from: a password from a file, a command, the environment or the
//! terminal; identities of age from a file.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use mantis_repo::{Credential, Password};

use super::args::Cli;
use crate::{Error, secrets};

/// The environment's variable that holds a password itself.
const VARIABLE: &str = "MANTIS_PASSWORD";

/// Where passwords and identities come from.
#[derive(Debug, Clone)]
pub(crate) struct CredentialSource {
    identity_file: Option<PathBuf>,
    file: Option<PathBuf>,
    command: Option<String>,
    /// What was given, once it was asked for: a command is not run for each place that is opened.
    given: OnceLock<Vec<Credential>>,
}

/// The password in a file.
pub(crate) fn read_password(path: &Path) -> Result<Password, Error> {
    secrets::read_file(path, "password").map(secrets::password)
}

impl CredentialSource {
    pub(crate) fn of(cli: &Cli) -> Self {
        Self {
            identity_file: cli.identity_file.clone(),
            file: cli.password_file.clone(),
            command: cli.password_command.clone(),
            given: OnceLock::new(),
        }
    }

    /// What is given without asking, in the order in which it is tried: identities take no time.
    pub(crate) fn given(&self) -> Result<Vec<Credential>, Error> {
        if let Some(given) = self.given.get() {
            return Ok(given.clone());
        }
        let identities = self.identity_file.as_deref().map(secrets::read_identities).transpose()?;
        let password = self.password()?;
        let identities = identities.map(Credential::Identities);
        let given = identities.into_iter().chain(password.map(Credential::Password)).collect();
        Ok(self.given.get_or_init(|| given).clone())
    }

    /// Whether identities are given.
    pub(crate) const fn has_identities(&self) -> bool {
        self.identity_file.is_some()
    }

    /// The password, where one is given without asking. The file comes before the command, and both before
    /// the variable.
    pub(crate) fn password(&self) -> Result<Option<Password>, Error> {
        use std::os::unix::ffi::OsStringExt;
        if let Some(file) = &self.file {
            return read_password(file).map(Some);
        }
        if let Some(command) = &self.command {
            return secrets::run_command(command).map(|bytes| Some(secrets::password(bytes)));
        }
        let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
        Ok(variable.map(|value| Password::new(value.into_vec())))
    }

    /// Whether there is someone to ask.
    pub(crate) fn can_ask() -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks at the terminal, without showing what is typed.
    pub(crate) fn ask(prompt: &str) -> Result<Password, Error> {
        let typed = rpassword::prompt_password(prompt)
            .map_err(|error| Error::io("ask for the password", error))?;
        if typed.is_empty() {
            return Err(Error::usage(
                "an empty password was typed",
                "a repository is encrypted with a password of at least one byte",
            ));
        }
        Ok(Password::new(typed.into_bytes()))
    }
}
