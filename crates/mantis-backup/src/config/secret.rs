//! Secrets: they stand in the environment, in a file, or are what a command prints; never in the configuration itself.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use zeroize::Zeroizing;

use crate::{Error, secrets};

/// The file has one key of these.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
struct Table {
    /// The variable of the environment that holds it
    env: Option<String>,
    /// The file that holds it; a line's end at its end is no part of it
    file: Option<PathBuf>,
    /// The command that prints it, for `sh -c`
    command: Option<String>,
}

/// How a secret is told.
const FORM: &str = "one of { env = \"NAME\" }, { file = \"PATH\" }, { command = \"…\" }";

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "Table")]
pub enum Secret {
    /// In a variable of the environment.
    Env(String),
    /// In a file.
    File(PathBuf),
    /// On the standard output of a command.
    Command(String),
}

/// Reads where a secret is. What stands there in its place is not told again: it may be the secret.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORM)
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Secret, E> {
        Err(E::custom(format!(
            "a secret does not stand in the file itself: say where it is, as {FORM}"
        )))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        match (table.env, table.file, table.command) {
            (Some(name), None, None) => Ok(Secret::Env(name)),
            (None, Some(file), None) => Ok(Secret::File(file)),
            (None, None, Some(command)) => Ok(Secret::Command(command)),
            _ => Err(serde::de::Error::custom(format!("a secret is {FORM}"))),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

impl Secret {
    /// Fetches it. Commands are run: on a thread that may block.
    ///
    /// # Errors
    /// Where it is not there, or empty.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        match self {
            Self::Env(name) => secrets::read_variable(name),
            Self::File(file) => secrets::read_file(file, "secret"),
            Self::Command(command) => secrets::run_command(command),
        }
    }

    /// As [`Self::read`], as text.
    ///
    /// # Errors
    /// Where it is not there, empty, or no text.
    pub fn read_text(&self) -> Result<Zeroizing<String>, Error> {
        let bytes = self.read()?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::usage(format!("{self} is no text"), "it must be UTF-8"))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Paths in it that are relative count from a folder.
    pub(super) fn resolve(&mut self, folder: &std::path::Path) {
        if let Self::File(file) = self {
            *file = folder.join(&*file);
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the secret in the variable {name}"),
            Self::File(file) => write!(f, "the secret in {}", file.display()),
            Self::Command(_) => write!(f, "the secret that a command prints"),
        }
    }
}

/// A text that may be a secret, such as a webhook's address.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a text, or one of { env = \"NAME\" }, { file = \"PATH\" }, { command = \"…\" }"
)]
pub enum TextOrSecret {
    /// The text itself.
    Text(String),
    /// Where it is.
    Secret(Secret),
}

impl TextOrSecret {
    /// The text. Commands are run: on a thread that may block.
    ///
    /// # Errors
    /// As [`Secret::read_text`].
    pub fn read(&self) -> Result<Zeroizing<String>, Error> {
        match self {
            Self::Text(text) => Ok(Zeroizing::new(text.clone())),
            Self::Secret(secret) => secret.read_text(),
        }
    }

    pub(super) fn resolve(&mut self, folder: &std::path::Path) {
        if let Self::Secret(secret) = self {
            secret.resolve(folder);
        }
    }
}
