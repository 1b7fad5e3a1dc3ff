//! The file read: all that is wrong in it at once.
//!
//! serde gives up at the first fault. So the key at which it did is taken out and the rest is read again, until nothing is
//! wrong with what is left: each fault is told once, with its place. Only a file whose every key is right by itself is then
//! checked as a whole.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::{Config, ConfigError, Fault, check};

/// The longest file, in bytes.
const MAX_LEN: u64 = 4 << 20;
/// More faults than this are not told.
const MOST_FAULTS: usize = 50;

/// Reads and checks a file. Relative paths in it count from its folder.
///
/// # Errors
/// Where it cannot be read, or with all that is wrong in it.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_LEN + 1).read_to_string(&mut text))
        .map_err(failed)?;
    if text.len() as u64 > MAX_LEN {
        return Err(failed(std::io::Error::other("it is longer than 4 MiB")));
    }
    let mut config =
        parse(&text).map_err(|faults| ConfigError::Faults { path: path.to_owned(), faults })?;
    let absolute = std::path::absolute(path).map_err(failed)?;
    config.resolve(absolute.parent().unwrap_or(Path::new("/")));
    Ok(config)
}

/// Reads and checks a text.
///
/// # Errors
/// All that is wrong in it, in its order.
pub fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let fault = |error: &toml::de::Error| fault(text, error);
        return Err(ordered(errors.iter().map(fault).collect()));
    }
    let (mut faults, mut taken) = (Vec::new(), Vec::new());
    let mut rest = table;
    loop {
        match Config::deserialize(Deserializer::from(rest.clone())) {
            Ok(config) if faults.is_empty() => {
                let found = check::check(&config, text, rest.get_ref());
                return if found.is_empty() { Ok(config) } else { Err(ordered(found)) };
            }
            Ok(_) => return Err(ordered(faults)),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let path = locate(rest.get_ref(), &span);
                // A key that was taken out is missing on our account.
                let missing = error.message().strip_prefix("missing field `");
                let missing = missing.and_then(|rest| rest.strip_suffix('`'));
                let ours = missing
                    .is_some_and(|key| taken.contains(&[&path[..], &[key.to_owned()]].concat()));
                if !ours {
                    faults.push(fault(text, &error));
                }
                if faults.len() >= MOST_FAULTS || !take_out(rest.get_mut(), &path) {
                    return Err(ordered(faults));
                }
                taken.push(path);
            }
        }
    }
}

fn fault(text: &str, error: &toml::de::Error) -> Fault {
    Fault::at(text, &error.span().unwrap_or(0..0), in_words(error.message()))
}

/// A message of serde's in the words of TOML.
fn in_words(message: &str) -> String {
    const WORDS: [(&str, &str); 12] = [
        ("unknown field", "unknown key"),
        ("missing field", "missing key"),
        ("unknown variant", "unknown value"),
        ("invalid type: ", "this is "),
        ("invalid value: ", "this is "),
        ("expected struct ", "expected a table, "),
        ("expected a map", "expected a table"),
        ("expected a sequence", "expected a list"),
        ("expected a boolean", "expected true or false"),
        ("expected u8", "expected a number from 0 to 255"),
        ("expected u16", "expected a number from 0 to 65535"),
        ("expected u32", "expected a whole number"),
    ];
    WORDS.iter().fold(message.to_owned(), |words, (serde, toml)| words.replace(serde, toml))
}

fn ordered(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort_by_key(|fault| (fault.line, fault.column));
    faults.dedup();
    faults.truncate(MOST_FAULTS);
    faults
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// The way to the innermost key at which, or in whose value, a fault is.
fn locate(table: &DeTable<'_>, span: &Range<usize>) -> Vec<String> {
    let at = table.iter().find(|(key, value)| {
        holds(&key.span(), span) || holds(&value.span(), span) || is_in(value.get_ref(), span)
    });
    let Some((key, value)) = at else { return Vec::new() };
    let mut path = vec![key.get_ref().to_string()];
    if let DeValue::Table(inner) = value.get_ref()
        && !holds(&key.span(), span)
    {
        path.extend(locate(inner, span));
    }
    path
}

/// Takes out the key at the end of a way. Returns whether it was there.
fn take_out(table: &mut DeTable<'_>, path: &[String]) -> bool {
    match path {
        [] => false,
        [key] => table.remove(&**key).is_some(),
        [key, rest @ ..] => match table.get_mut(&**key).map(Spanned::get_mut) {
            Some(DeValue::Table(inner)) => take_out(inner, rest),
            _ => false,
        },
    }
}

/// Whether a span is that of something in a value. Tables that are written in pieces have no one span of their own.
fn is_in(value: &DeValue<'_>, span: &Range<usize>) -> bool {
    let DeValue::Table(table) = value else { return false };
    let mut entries = table.iter();
    entries.any(|(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        holds(&key.span(), span) || holds(&value.span(), span) || is_in(value.get_ref(), span)
    })
}
