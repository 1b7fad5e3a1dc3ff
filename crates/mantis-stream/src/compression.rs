//! How chunks are compressed, as people write it.

use std::fmt;
use std::str::FromStr;

/// A codec and its level.
///
/// ```
/// use mantis_stream::Compression;
/// assert_eq!("zstd".parse(), Ok(Compression::Zstd(3)));
/// assert_eq!("gzip:9".parse(), Ok(Compression::Gzip(9)));
/// assert!("zstd:99".parse::<Compression>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Stored as it is.
    None,
    /// LZ4 blocks: fast, light.
    Lz4,
    /// Zstandard at a level from -7 to 22; 1 is fast, 3 the usual.
    Zstd(i32),
    /// gzip at a level from 0 to 9.
    Gzip(u32),
}

impl Default for Compression {
    /// Zstandard at level 1: at the speed of a disk, two thirds of what level 3 saves and more.
    fn default() -> Self {
        Self::Zstd(1)
    }
}

/// Text that names no compression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidCompression(String);

impl fmt::Display for InvalidCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        write!(f, "`{text}` is no compression: none, lz4, zstd[:-7..22] and gzip[:0..9] are")
    }
}

impl std::error::Error for InvalidCompression {}

impl Compression {
    /// The number of the codec in a frame.
    pub(crate) const fn codec_id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Lz4 => 1,
            Self::Zstd(_) => 2,
            Self::Gzip(_) => 3,
        }
    }

    /// The level for the codec; 0 for those without.
    pub(crate) const fn level(self) -> i32 {
        match self {
            Self::None | Self::Lz4 => 0,
            Self::Zstd(level) => level,
            Self::Gzip(level) => level as i32,
        }
    }
}

impl FromStr for Compression {
    type Err = InvalidCompression;

    fn from_str(text: &str) -> Result<Self, InvalidCompression> {
        let invalid = || InvalidCompression(text.to_owned());
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level.parse::<i32>().map_err(|_| invalid())?)),
            None => (text, None),
        };
        match (name, level) {
            ("none", None) => Ok(Self::None),
            ("lz4", None) => Ok(Self::Lz4),
            ("zstd", None) => Ok(Self::Zstd(3)),
            ("zstd", Some(level @ -7..=22)) => Ok(Self::Zstd(level)),
            ("gzip", None) => Ok(Self::Gzip(6)),
            ("gzip", Some(level @ 0..=9)) => Ok(Self::Gzip(level.unsigned_abs())),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Lz4 => f.write_str("lz4"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
            Self::Gzip(level) => write!(f, "gzip:{level}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_agree() {
        for text in ["none", "lz4", "zstd:-7", "zstd:1", "zstd:22", "gzip:0", "gzip:9"] {
            assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
        }
        for text in
            ["", "zip", "none:1", "lz4:3", "zstd:", "zstd:23", "gzip:-1", "gzip:10", "zstd:1:2"]
        {
            assert!(text.parse::<Compression>().is_err(), "{text}");
        }
    }
}
