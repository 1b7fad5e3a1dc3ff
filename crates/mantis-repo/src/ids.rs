//! Names of things, as bytes and as text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Text that is no id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId(String);

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no id", self.0)
    }
}

impl std::error::Error for InvalidId {}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Undoes [`hex`].
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() % 2 == 1 {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn read_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (value(pair[0])? << 4) | value(pair[1])?;
    }
    Some(bytes)
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                read_hex(text).map(Self).ok_or_else(|| InvalidId(text.to_owned()))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }
    };
}

hex_id!(
    /// A repository, for ever.
    RepoId,
    16
);
hex_id!(
    /// A backup, through all generations of its manifest. People may shorten it to any prefix that
    /// names one backup.
    BackupId,
    16
);
hex_id!(
    /// One way to the keys of an encrypted repository.
    SlotId,
    16
);
hex_id!(
    /// One run of a collector. Never used again.
    CollectionId,
    16
);
hex_id!(
    /// A member of a fleet, from when it joins until it leaves or its lease ends. Never used again.
    MemberId,
    16
);
hex_id!(
    /// The BLAKE3 hash of an object's bytes.
    ObjectHash,
    32
);

impl ObjectHash {
    /// The hash of these pieces, one after another.
    #[must_use]
    pub fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for piece in pieces {
            hasher.update(piece);
        }
        Self(*hasher.finalize().as_bytes())
    }
}

impl BackupId {
    /// The first eight digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

/// One run of something that writes to a repository: a sequence number that sorts it among the others
/// and 128 random bits that make it unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SessionId {
    /// One more than the largest seen when the session began; two sessions may share it.
    pub sequence: u64,
    /// What makes it unique.
    pub unique: [u8; 16],
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}-", self.sequence)?;
        write_hex(f, &self.unique)
    }
}

impl FromStr for SessionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId(text.to_owned());
        let (sequence, unique) = text.split_once('-').ok_or_else(invalid)?;
        let sequence = sequence.parse().map_err(|_| invalid())?;
        let id = Self { sequence, unique: read_hex(unique).ok_or_else(invalid)? };
        // One text for one id: no sign, no missing or extra zeros.
        if id.to_string() == text { Ok(id) } else { Err(invalid()) }
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for SessionId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_come_back_from_their_text(bytes: [u8; 16], sequence: u64) {
            let id = BackupId(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            let session = SessionId { sequence, unique: bytes };
            prop_assert_eq!(session.to_string().parse(), Ok(session));
        }

        #[test]
        fn hexadecimal_comes_back(bytes: Vec<u8>, text in ".{0,9}") {
            prop_assert_eq!(unhex(&hex(&bytes)), Some(bytes));
            let _ = unhex(&text);
        }

        #[test]
        fn one_id_has_one_text(unique: [u8; 16], sequence in 0u64..1_000_000) {
            let text = SessionId { sequence, unique }.to_string();
            let longer = format!("0{text}");
            prop_assert!(longer.parse::<SessionId>().is_err());
            prop_assert!(text[1..].parse::<SessionId>().is_err());
        }

        #[test]
        fn other_text_is_refused(text in "[0-9a-fA-F-]{0,45}") {
            if let Ok(id) = text.parse::<SessionId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
