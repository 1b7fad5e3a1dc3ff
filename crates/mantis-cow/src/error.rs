//! What can go wrong with a snapshot's before-images. None of it reaches the writer.

use std::io;

/// Why a snapshot's pages cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CowError {
    /// A before-image could not be saved, so the moment is gone; a new snapshot may succeed.
    #[error("the snapshot is lost: a before-image could not be saved")]
    Lost,
    /// The file has more pages than the table can follow.
    #[error("{pages} pages are more than the copy-on-write table can follow ({max})")]
    TooManyPages {
        /// Pages of the file.
        pages: u64,
        /// The most the table can follow.
        max: u64,
    },
    /// Every generation number was used.
    #[error("all generations of the copy-on-write table are used up; open the database anew")]
    EpochsExhausted,
    /// The spill file reached its limit.
    #[error("the spill file reached its limit of {limit} bytes")]
    SpillFull {
        /// The limit in bytes.
        limit: u64,
    },
    /// A read past the end of the frozen file.
    #[error("bytes {offset}..{end} lie past the end of the frozen file ({len} bytes)")]
    OutOfRange {
        /// First byte asked for.
        offset: u64,
        /// One past the last byte asked for.
        end: u64,
        /// Length of the frozen file in bytes.
        len: u64,
    },
    /// A read of what was released before.
    #[error("bytes from {offset} on were released up to {released}")]
    Released {
        /// First byte asked for.
        offset: u64,
        /// One past the last byte that was released.
        released: u64,
    },
    /// The live file or the spill file could not be read or written.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl CowError {
    /// Whether a new snapshot may succeed where this one did not.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Lost | Self::SpillFull { .. } | Self::Io { .. })
    }
}
