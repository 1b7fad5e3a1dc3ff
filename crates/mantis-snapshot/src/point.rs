//! What a moment is known by.

use std::fmt;
use std::time::Duration;

use mantis_page::{Lsn, PageSize};

/// A source, before any snapshot of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceInfo {
    /// The engine's name: `sqlite`, `redb`, `file`, or a custom engine's own.
    pub engine: String,
    /// What people know the source by: usually its path.
    pub object: String,
    /// Whether the engine can tell changed pages without reading all.
    pub knows_changes: bool,
}

/// How a moment was held still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FreezeWay {
    /// Before-images saved inside the writing process; nothing waits, nothing grows.
    CopyOnWrite,
    /// The engine's own read lock, under which writers go on (SQLite's WAL mode).
    ReadLock,
    /// The engine's own read lock, which keeps writers from committing until the last page is read.
    BlockingReadLock,
    /// Copied to a spool under a short lock, then read from there.
    Spooled,
    /// Nobody writes: the source is closed, or cannot change.
    Closed,
}

impl FreezeWay {
    /// The name in messages and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CopyOnWrite => "copy-on-write",
            Self::ReadLock => "read-lock",
            Self::BlockingReadLock => "blocking-read-lock",
            Self::Spooled => "spooled",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for FreezeWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The moment that a snapshot shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyPoint {
    /// The last commit in it.
    pub lsn: Lsn,
    /// Positions compare only within one timeline.
    pub timeline: [u8; 16],
    /// How the moment was held still.
    pub way: FreezeWay,
    /// How long writers could not commit because of this freeze, as far as the engine can tell.
    pub writers_held: Duration,
}

/// The shape of a frozen source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// The size of each page.
    pub page_size: PageSize,
    /// How many pages.
    pub page_count: u64,
    /// The length in bytes. The last page may reach past it; it is read as zeros there, and a
    /// restore cuts the file to this length.
    pub byte_len: u64,
}

impl Geometry {
    /// The shape of a file of `byte_len` bytes.
    #[must_use]
    pub const fn of_file(page_size: PageSize, byte_len: u64) -> Self {
        Self { page_size, page_count: page_size.pages_for(byte_len), byte_len }
    }
}

/// What an engine needs in order to tell, next time, which pages changed since this moment. Opaque to
/// everyone else; stored with the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotToken(pub Vec<u8>);
