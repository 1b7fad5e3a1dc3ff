//! What a snapshot is doing.

use std::fmt;
use std::time::Duration;

use mantis_page::Lsn;

/// What a snapshot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotState {
    /// The moment is being taken.
    Creating,
    /// Its pages are being read.
    Streaming,
    /// Its backup stands.
    Completed,
    /// It failed, or lived too long.
    Failed,
    /// Someone stopped it, or its handle was dropped.
    Cancelled,
}

impl SnapshotState {
    /// Whether nothing more will happen to it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for SnapshotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Streaming => "streaming",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

/// A snapshot as the coordinator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotStatus {
    /// Its number, unique within the coordinator.
    pub id: u64,
    /// The source's name.
    pub source: String,
    /// What it is doing.
    pub state: SnapshotState,
    /// Its moment, once it was taken.
    pub lsn: Option<Lsn>,
    /// How long ago it was asked for.
    pub age: Duration,
}
