//! How snapshots are taken.

use std::path::PathBuf;
use std::time::Duration;

/// What happens to a snapshot that is asked for while as many as allowed are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It waits until one is released (and at most the freeze timeout).
    #[default]
    Wait,
    /// It is refused at once.
    Refuse,
}

/// How snapshots are taken.
#[derive(Debug, Clone)]
pub struct SnapshotConfig {
    /// How many snapshots may be open at once, over all sources; at least 1.
    pub max_concurrent: usize,
    /// What happens to one more.
    pub when_full: WhenFull,
    /// How long a snapshot may wait for its moment: for a free slot, a busy database, a writer.
    pub freeze_timeout: Duration,
    /// How long a snapshot may live after its freeze. Past it the engine is released (so that a
    /// reader that hangs does not hold a WAL back) and reads fail. `None`: no limit.
    pub timeout: Option<Duration>,
    /// Where spooled pages and spilled before-images go; the system's temporary folder without one.
    pub temp_folder: Option<PathBuf>,
    /// Ask after every batch whether the snapshot is still sound, not only at its end: a lost one
    /// fails early.
    pub verify: bool,
}

impl Default for SnapshotConfig {
    /// Three at once, a further one waits, half a minute to freeze, no limit to a snapshot's life.
    fn default() -> Self {
        Self {
            max_concurrent: 3,
            when_full: WhenFull::Wait,
            freeze_timeout: Duration::from_secs(30),
            timeout: None,
            temp_folder: None,
            verify: true,
        }
    }
}
