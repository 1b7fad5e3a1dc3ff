//! Secrets from outside: a file's contents, what a command prints, a variable of the environment.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Stdio};

use mantis_repo::{Identity, Password};
use zeroize::Zeroizing;

use crate::Error;

/// The longest secret, in bytes: a larger file is none.
const MAX_LEN: u64 = 64 << 10;

type Bytes = Zeroizing<Vec<u8>>;

/// Without the line's end that editors and `echo` put behind it.
fn trimmed(mut bytes: Bytes) -> Bytes {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

fn checked(bytes: Bytes, what: &str) -> Result<Bytes, Error> {
    if bytes.is_empty() {
        return Err(Error::usage(
            format!("{what} gives an empty secret"),
            "a password has at least one byte",
        ));
    }
    Ok(bytes)
}

/// All that a file holds; `kind` is what it is called in errors.
pub(crate) fn read_whole(path: &Path, kind: &str) -> Result<Bytes, Error> {
    let mut bytes = Bytes::default();
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

/// The secret in a file.
pub(crate) fn read_file(path: &Path, kind: &str) -> Result<Bytes, Error> {
    checked(trimmed(read_whole(path, kind)?), &path.display().to_string())
}

/// The secret that a command prints.
pub(crate) fn run_command(command: &str) -> Result<Bytes, Error> {
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
    checked(trimmed(output.stdout.into()), "the password command")
}

/// A secret as the password of a repository.
pub(crate) fn password(mut bytes: Bytes) -> Password {
    Password::new(std::mem::take(&mut *bytes))
}

/// The identities in a file, as `age-keygen` writes it.
pub(crate) fn read_identities(path: &Path) -> Result<Vec<Identity>, Error> {
    let bytes = read_whole(path, "identity")?;
    let text = std::str::from_utf8(&bytes).unwrap_or("\u{FFFD}");
    Identity::parse_file(text).map_err(|error| {
        Error::usage(
            format!("{} is no file of identities: {error}", path.display()),
            "it holds lines that start with AGE-SECRET-KEY-1, as `age-keygen` writes them",
        )
    })
}

/// The secret in a variable of the environment.
pub(crate) fn read_variable(name: &str) -> Result<Bytes, Error> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    value.map(|value| Zeroizing::new(value.into_vec())).ok_or_else(|| {
        Error::usage(
            format!("the variable {name} is not set"),
            "set it where the process is started, or name a file or a command instead",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_no_part_of_a_password() {
        for (bytes, password) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a ")] {
            assert_eq!(*trimmed(Zeroizing::new(bytes.into())), password.as_bytes());
        }
    }

    #[test]
    fn a_failing_or_silent_command_is_an_error() {
        assert!(run_command("exit 3").is_err() && run_command("true").is_err());
        assert!(run_command("printf secret").is_ok());
    }
}
