//! How a backup is written.

use std::sync::Arc;

use mantis_stream::{CancellationToken, Compression, ProgressTracker};

use crate::SpoolOptions;

/// How a backup is written.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// How frames are compressed.
    pub compression: Compression,
    /// Decompress every frame again before it is let out.
    pub verify: bool,
    /// Runs encoded at once; 0: one for each core.
    pub jobs: usize,
    /// Bytes of pages in one segment, before compression; 0: by the database's length, 8 MiB up to 128 GiB, then 16 MiB, then 24 MiB. A
    /// writer holds up to six in memory, fewer of long ones: one being filled, those on their way, and the batches in flight.
    pub segment_len: u64,
    /// Pages whose hashes are kept in memory, some 40 bytes each, to find pages that are stored already; 0: none.
    pub known_pages: usize,
    /// Where segments wait while the store takes them more slowly than the source gives them; they wait in memory without, and
    /// the source with them.
    pub spool: Option<SpoolOptions>,
    /// Bytes read from the source per second, at most.
    pub rate: Option<u64>,
    /// Stops the backup.
    pub cancel: CancellationToken,
    /// Shows how far it is.
    pub progress: Arc<ProgressTracker>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            verify: true,
            jobs: 0,
            segment_len: 0,
            known_pages: 1 << 18,
            spool: None,
            rate: None,
            cancel: CancellationToken::new(),
            progress: Arc::default(),
        }
    }
}
