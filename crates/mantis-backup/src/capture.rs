//! The bridge from an engine's blocking thread to the asynchronous pipeline: the only one.

use std::sync::Arc;

use mantis_page::{PageNo, PageRange, PageRun};
use mantis_snapshot::{Snapshot, SnapshotError};
use tokio::sync::mpsc;

use crate::buffers::Buffers;

/// Bytes read from a source at once.
const BATCH_LEN: usize = 1 << 20;
/// Batches read ahead of the pipeline.
const READ_AHEAD: usize = 4;

/// Reads every page of a snapshot, ascending, on a thread that may block, ahead of whoever takes them.
/// The thread ends when the receiver is dropped.
pub(crate) fn capture(snapshot: Arc<Snapshot>) -> mpsc::Receiver<Result<PageRun, SnapshotError>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    tokio::task::spawn_blocking(move || {
        let geometry = snapshot.geometry();
        let size = geometry.page_size;
        let per_batch = (BATCH_LEN / size.bytes()).max(1);
        let buffers = Buffers::new(per_batch * size.bytes());
        let all = PageRange::new(PageNo::FIRST, geometry.page_count);
        for range in all.into_iter().flat_map(|all| all.split(per_batch as u64)) {
            let len = range.len() as usize * size.bytes();
            let run = buffers.filled(len, |buf| snapshot.read_pages(range.first(), buf)).and_then(
                |bytes| {
                    PageRun::new(range.first(), size, bytes).map_err(|error| {
                        SnapshotError::engine("cut into pages a batch of", range.first(), error)
                    })
                },
            );
            let failed = run.is_err();
            if sender.blocking_send(run).is_err() || failed {
                return;
            }
        }
    });
    receiver
}
