//! Where a password comes from: a file, a command, the environment, or the terminal.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mantis_repo::Password;

use super::args::Cli;
use crate::Error;

/// The environment's variable that holds a password itself.
const VARIABLE: &str = "MANTIS_PASSWORD";
/// The longest password, in bytes: a larger file is no password file.
const MAX_LEN: usize = 64 << 10;

/// Where a password comes from.
#[derive(Debug, Clone)]
pub(crate) struct PasswordSource {
    file: Option<PathBuf>,
    command: Option<String>,
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

/// The password in a file.
pub(crate) fn read_file(path: &Path) -> Result<Password, Error> {
    let what = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| Error::Other {
        doing: format!("read the password file {what}"),
        source: error.into(),
        help: Some("check the path and the right to read it".into()),
    })?;
    if bytes.len() > MAX_LEN {
        return Err(Error::usage(
            format!("{what} is too long for a password file"),
            "name the file that holds the password alone",
        ));
    }
    checked(trimmed(bytes), &what)
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

impl PasswordSource {
    pub(crate) fn of(cli: &Cli) -> Self {
        Self { file: cli.password_file.clone(), command: cli.password_command.clone() }
    }

    /// The password, where one is given without asking. The file comes before the command, and both before
    /// the variable.
    pub(crate) fn given(&self) -> Result<Option<Password>, Error> {
        use std::os::unix::ffi::OsStringExt;
        if let Some(file) = &self.file {
            return read_file(file).map(Some);
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
