//! Where restored pages go.

use mantis_page::PageRun;

use crate::SnapshotError;

/// Takes the pages of a restore. Pages come in any order, each once, from several threads.
pub trait PageTarget: Send + Sync {
    /// Takes adjacent pages.
    ///
    /// # Errors
    /// What keeps them from being written.
    fn write_run(&self, run: &PageRun) -> Result<(), SnapshotError>;

    /// Every page was taken: makes the whole durable and shows it under its name.
    ///
    /// # Errors
    /// What keeps it from that; nothing of the restore is visible then.
    fn finish(self: Box<Self>) -> Result<(), SnapshotError>;
}
