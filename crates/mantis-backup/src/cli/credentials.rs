//! What opens a repository, and where it comes from: a password from a file, a command, the environment or the
//! terminal; identities of age from a file.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use mantis_repo::{Credential, Identity, Password};
use zeroize::Zeroizing;

use super::args::Cli;
use crate::Error;

/// The environment's variable that holds a password itself.
const VARIABLE: &str = "MANTIS_PASSWORD";
/// The longest file of passwords or identities, in bytes: a larger one is none.
const MAX_LEN: u64 = 64 << 10;

/// Where passwords and identities come from.
#[derive(Debug, Clone)]
pub(crate) struct CredentialSource {
    identity_file: Option<PathBuf>,
    file: Option<PathBuf>,
    command: Option<String>,
    /// What was given, once it was asked for: a command is not run for each place that is opened.
    given: OnceLock<Vec<Credential>>,
}

/// Without the line's end that editors and `echo` put behind it.
fn trimmed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

fn checked(bytes: Vec<u8>, what: &str) -> Result<Password, Error> {
    let password = Password::new(bytes);
    if password.is_empty() {
        return Err(Error::usage(
            format!("{what} gives an empty password"),
            "a repository is encrypted with a password of at least one byte",
        ));
    }
    Ok(password)
}

fn read(path: &Path, kind: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let opened = File::open(path);
    let read = opened.and_then(|file| file.take(MAX_LEN + 1).read_to_end(&mut bytes));
    read.map_err(|error| Error::Other {
        doing: format!("read the {kind} file {}", path.display()),
        source: error.into(),
        help: Some("check the path and the right to read it".into()),
    })?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(Error::usage(
            format!("{} is too long for a {kind} file", path.display()),
            format!("name the file that holds the {kind} alone"),
        ));
    }
    Ok(bytes)
}

/// The password in a file.
pub(crate) fn read_password(path: &Path) -> Result<Password, Error> {
    checked(trimmed(read(path, "password")?), &path.display().to_string())
}

/// The identities in a file, as `age-keygen` writes it.
fn read_identities(path: &Path) -> Result<Vec<Identity>, Error> {
    let bytes = Zeroizing::new(read(path, "identity")?);
    let text = std::str::from_utf8(&bytes).unwrap_or("\u{FFFD}");
    Identity::parse_file(text).map_err(|error| {
        Error::usage(
            format!("{} is no file of identities: {error}", path.display()),
            "it holds lines that start with AGE-SECRET-KEY-1, as `age-keygen` writes them",
        )
    })
}

fn run_command(command: &str) -> Result<Password, Error> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Other {
        doing: "run the password command".into(),
        source,
        help: Some("it must print the password, and nothing else, on standard output".into()),
    };
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(error.into()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string().into()));
    }
    checked(trimmed(output.stdout), "the password command")
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
        let identities = self.identity_file.as_deref().map(read_identities).transpose()?;
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
            return run_command(command).map(Some);
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
        checked(typed.into_bytes(), "the terminal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_no_part_of_a_password() {
        for (bytes, password) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a ")] {
            assert_eq!(trimmed(bytes.into()), password.as_bytes());
        }
    }

    #[test]
    fn a_failing_or_silent_command_is_an_error() {
        assert!(run_command("exit 3").is_err() && run_command("true").is_err());
        assert!(run_command("printf secret").is_ok());
    }
}
