//! The position of a commit in an engine's log.

use std::fmt;
use std::str::FromStr;

/// The position of a commit in an engine's log: larger is later, within one timeline.
///
/// What the number counts is the engine's affair (frames of a WAL, transaction ids, change
/// counters). Positions of two databases, or of one database before and after its log began
/// anew, cannot be compared; the engine's timeline says whether they can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// Wraps an engine's own position.
    #[must_use]
    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    /// The engine's own position.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Text that names no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidLsn;

impl fmt::Display for InvalidLsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a commit is written as 12885045985, or in halves of hexadecimal digits: 3/0000BEE1",
        )
    }
}

impl std::error::Error for InvalidLsn {}

impl FromStr for Lsn {
    type Err = InvalidLsn;

    /// A number, or what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, InvalidLsn> {
        let half = |text: &str| {
            let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            u32::from_str_radix(text, 16).ok().filter(|_| is_hex).map(u64::from)
        };
        let position = match text.split_once('/') {
            Some((high, low)) => half(high).zip(half(low)).map(|(high, low)| high << 32 | low),
            None => text.parse().ok(),
        };
        position.map(Self).ok_or(InvalidLsn)
    }
}

impl fmt::Display for Lsn {
    /// Two halves of eight hexadecimal digits, as PostgreSQL prints its log positions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:08X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_both_halves() {
        assert_eq!(Lsn::new((3 << 32) | 0xBEEF).to_string(), "3/0000BEEF");
    }

    #[test]
    fn is_read_as_it_is_printed_and_as_a_number() {
        for lsn in [0, 1, 0xBEEF, 3 << 32 | 0xBEEF, u64::MAX].map(Lsn::new) {
            assert_eq!(lsn.to_string().parse(), Ok(lsn));
            assert_eq!(lsn.get().to_string().parse(), Ok(lsn));
        }
        for wrong in ["", "/", "3/", "/3", "3/+1", "3/1/1", "-1", "123456789/0", "x"] {
            assert_eq!(wrong.parse::<Lsn>(), Err(InvalidLsn), "{wrong}");
        }
    }
}
