//! The name of an object.

use std::fmt;

/// The longest key in bytes.
const MAX_LEN: usize = 512;

/// The name of an object: parts of lower-case letters, digits, `.`, `_` and `-`, joined by `/`. It can
/// be no path that leads elsewhere: no part is empty or starts with a dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

/// Text that is no [`ObjectKey`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidKey(pub String);

impl ObjectKey {
    /// A key of `text`.
    ///
    /// # Errors
    /// [`InvalidKey`] for any other text than described above.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._-".contains(&c);
        let part =
            |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(fits);
        if text.len() <= MAX_LEN && text.split('/').all(part) {
            Ok(Self(text))
        } else {
            Err(InvalidKey(text))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no name of an object", self.0)
    }
}

impl std::error::Error for InvalidKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leads_elsewhere() {
        for good in ["mantis.repo", "seg/0001-ab/ff00", "a_b-c.d"] {
            assert!(ObjectKey::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(513);
        for bad in [
            "", "/a", "a/", "a//b", "..", "a/../b", ".tmp/x", "A", "a b", "a\\b", "\u{e4}", "a\0",
            &long,
        ] {
            assert!(ObjectKey::new(bad).is_err(), "{bad:?}");
        }
    }
}
