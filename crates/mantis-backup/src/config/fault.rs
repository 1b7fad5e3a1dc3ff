//! What can be wrong with the file, and where.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl Fault {
    /// A fault at bytes of a text.
    pub(super) fn at(text: &str, span: &Range<usize>, message: impl Into<String>) -> Self {
        let mut at = span.start.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &text[..at];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            // Some of the parser's messages have a second line.
            message: message.into().trim().replace('\n', ", "),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read.
    #[error("read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is something wrong in it.
    #[error("{}", lines(path, faults))]
    Faults {
        /// The file.
        path: PathBuf,
        /// All that is wrong, in the order of the file.
        faults: Vec<Fault>,
    },
    /// There is none where one was looked for.
    #[error("there is no configuration: looked for {}", list(looked))]
    None {
        /// Where.
        looked: Vec<PathBuf>,
    },
}

fn lines(path: &std::path::Path, faults: &[Fault]) -> String {
    let lines: Vec<String> =
        faults.iter().map(|fault| format!("{}:{fault}", path.display())).collect();
    lines.join("\n")
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}

impl ConfigError {
    /// What a person can do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Read { .. } => "check the path and the right to read it",
            Self::Faults { .. } => {
                "put these right; `mantis config example` explains every key, `mantis config check` looks again"
            }
            Self::None { .. } => {
                "name one with --config or MANTIS_CONFIG; `mantis config example > mantis.toml` makes one to start from"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_characters() {
        let fault = Fault::at("a\nöö = 1", &(6..7), "x");
        assert_eq!((fault.line, fault.column), (2, 3));
        let past = Fault::at("ö", &(1..9), "x");
        assert_eq!((past.line, past.column), (1, 1));
    }
}
