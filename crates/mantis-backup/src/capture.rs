//! The bridge from an engine's blocking thread to the asynchronous pipeline: the only one.

use std::sync::Arc;

use mantis_page::{PageNo, PageRange, PageRun, PageSet};
use mantis_snapshot::{Snapshot, SnapshotError};
use tokio::sync::mpsc;

use crate::buffers::Buffers;

/// Bytes read from a source at once.
const BATCH_LEN: usize = 1 << 20;
/// Bytes of short runs handed over at once: where single pages changed, each would wake the other side.
const SHORT_AT_ONCE: usize = 256 << 10;
/// Batches read ahead of the pipeline.
const READ_AHEAD: usize = 4;
/// A run shorter than this gets memory of its own: a buffer for a whole batch would be wasted on it.
const SHORT_LEN: usize = 64 << 10;

/// Reads the pages of a snapshot, ascending, on a thread that may block, ahead of whoever takes them: all of
/// them, or those of a set; several runs at once, where they are short. The thread ends when the receiver is dropped.
pub(crate) fn capture(
    snapshot: Arc<Snapshot>,
    wanted: Option<PageSet>,
) -> mpsc::Receiver<Result<Vec<PageRun>, SnapshotError>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    tokio::task::spawn_blocking(move || {
        let geometry = snapshot.geometry();
        let all = PageRange::new(PageNo::FIRST, geometry.page_count);
        let ranges: Box<dyn Iterator<Item = PageRange>> = match &wanted {
            None => Box::new(all.into_iter()),
            Some(wanted) => {
                Box::new(wanted.ranges().filter_map(|range| within(range, geometry.page_count)))
            }
        };
        let size = geometry.page_size;
        let per_batch = (BATCH_LEN / size.bytes()).max(1);
        let buffers = Buffers::new(per_batch * size.bytes());
        let (mut gathered, mut gathered_len) = (Vec::new(), 0);
        for range in ranges.flat_map(|range| range.split(per_batch as u64)) {
            // What lies before it is read no more.
            snapshot.release_before(range.first());
            let len = range.len() as usize * size.bytes();
            let run = if len < SHORT_LEN {
                snapshot.read_run(range)
            } else {
                let read = buffers.filled(len, |buf| snapshot.read_pages(range.first(), buf));
                read.and_then(|bytes| {
                    PageRun::new(range.first(), size, bytes).map_err(|error| {
                        SnapshotError::engine("cut into pages a batch of", range.first(), error)
                    })
                })
            };
            match run {
                Ok(run) => gathered.push(run),
                Err(error) => {
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            }
            gathered_len += len;
            if gathered_len >= SHORT_AT_ONCE || len >= SHORT_LEN {
                if sender.blocking_send(Ok(std::mem::take(&mut gathered))).is_err() {
                    return;
                }
                gathered_len = 0;
            }
        }
        if !gathered.is_empty() {
            let _ = sender.blocking_send(Ok(gathered));
        }
    });
    receiver
}

/// The part of a range up to the last page there is.
pub(crate) fn within(range: PageRange, page_count: u64) -> Option<PageRange> {
    let end = page_count.checked_sub(range.first().index())?;
    PageRange::new(range.first(), range.len().min(end))
}
