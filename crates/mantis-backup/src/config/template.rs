//! Texts with `{placeholders}`.

use std::fmt;

/// A text with placeholders that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidTemplate(String);

impl fmt::Display for InvalidTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidTemplate {}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Plain(String),
    Hole(&'static str),
}

/// A text with placeholders: `{date}`. What is in braces but is no lower-case word stands for itself, so that JSON can be
/// written as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// The word between braces at the start of a text that begins with `{`, and what follows.
fn hole(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.strip_prefix('{')?.split_once('}')?;
    let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_word.then_some((word, rest))
}

impl Template {
    /// Reads a text whose placeholders are among `known`.
    ///
    /// # Errors
    /// Which one is not.
    pub fn parse(text: &str, known: &[&'static str]) -> Result<Self, InvalidTemplate> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(first) = rest.chars().next() {
            let Some((word, after)) = hole(rest) else {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            };
            let Some(name) = known.iter().find(|known| **known == word) else {
                let known: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
                let message =
                    format!("{{{word}}} is no placeholder: there are {}", known.join(", "));
                return Err(InvalidTemplate(message));
            };
            if !plain.is_empty() {
                pieces.push(Piece::Plain(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Hole(name));
            rest = after;
        }
        if !plain.is_empty() {
            pieces.push(Piece::Plain(plain));
        }
        Ok(Self(pieces))
    }

    /// The text with each placeholder replaced by its value.
    pub fn fill(&self, value: impl Fn(&'static str) -> String) -> String {
        let texts = self.0.iter().map(|piece| match piece {
            Piece::Plain(text) => text.clone(),
            Piece::Hole(name) => value(name),
        });
        texts.collect()
    }

    /// Whether a placeholder is in it.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Hole(hole) if *hole == name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn placeholders_are_replaced_and_json_is_left_alone() {
        let template =
            Template::parse(r#"{"text": "{source} at {date}", "a": {}}"#, &["source", "date"]);
        let filled = template.unwrap().fill(str::to_uppercase);
        assert_eq!(filled, r#"{"text": "SOURCE at DATE", "a": {}}"#);
        assert!(
            Template::parse("{sauce}", &["source"]).unwrap_err().to_string().contains("{source}")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,40}") {
            if let Ok(template) = Template::parse(&text, &["a"]) {
                prop_assert_eq!(template.fill(|name| format!("{{{name}}}")), text);
            }
        }
    }
}
