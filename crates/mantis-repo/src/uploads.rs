//! Segments on their way to the store: several at once, acknowledged in order. Where the store is slower than the source, they wait on
//! the local disk, so that the source is read to its end meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use mantis_sink::{Payload, Sink};
use mantis_stream::{CancellationToken, ProgressTracker, StreamError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::layer_pages::blocking;
use crate::segment_builder::SegmentBuilder;
use crate::session::put_own;
use crate::spool::Spool;
use crate::{Place, RepoError, SegmentRef, Session, SessionId, WriteOptions};

/// Segments on their way at once, at least and at most: syncs of some overlap with the writes of others. Measured on local disk, 1 GiB
/// uncompressed, past the page cache: three and four take as long, and three take 8 MiB less.
const AT_ONCE: [u64; 2] = [2, 3];
/// Bytes of pages on their way at once, where that makes neither fewer nor more than these.
const BYTES_AT_ONCE: u64 = 48 << 20;

/// A segment whose bytes are settled, and what a manifest says of it.
type Finished = (Payload, SegmentRef);

/// Segments of one session on their way. Only what the store acknowledged comes out.
#[derive(Debug)]
pub(crate) struct Uploads {
    session: SessionId,
    sink: Arc<dyn Sink>,
    progress: Arc<ProgressTracker>,
    /// Free for what begins.
    lanes: Arc<Semaphore>,
    running: VecDeque<JoinHandle<Result<SegmentRef, RepoError>>>,
    /// What waits is newer than all that is running.
    spool: Option<Spool>,
}

fn at_once(segment_len: u64) -> usize {
    let [least, most] = AT_ONCE;
    (BYTES_AT_ONCE / segment_len.max(1)).clamp(least, most) as usize
}

impl Uploads {
    pub(crate) fn new(session: &Session, options: &WriteOptions) -> Self {
        Self {
            session: session.id(),
            sink: session.repo.shared_sink(),
            progress: Arc::clone(&options.progress),
            lanes: Arc::new(Semaphore::new(at_once(options.segment_len))),
            running: VecDeque::new(),
            spool: options.spool.clone().map(Spool::new),
        }
    }

    fn free_lane(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.lanes).try_acquire_owned().ok()
    }

    async fn next_lane(
        &self,
        cancel: &CancellationToken,
    ) -> Result<OwnedSemaphorePermit, RepoError> {
        let lane = cancel.run_until_cancelled(Arc::clone(&self.lanes).acquire_owned()).await;
        lane.ok_or(RepoError::Cancelled)?.map_err(|_| worker_died())
    }

    /// Sends a segment on its way.
    fn send(
        &mut self,
        lane: OwnedSemaphorePermit,
        finish: impl FnOnce(SessionId) -> Result<Finished, RepoError> + Send + 'static,
    ) {
        let (session, sink) = (self.session, Arc::clone(&self.sink));
        let progress = Arc::clone(&self.progress);
        self.running.push_back(tokio::spawn(async move {
            let (payload, reference) = blocking(move || finish(session)).await?;
            put_own(&*sink, Place::Segment(session, reference.hash), payload).await?;
            progress.add_out(reference.len);
            drop(lane);
            Ok(reference)
        }));
    }

    /// Takes the oldest one that waits out of the spool; none where none waits.
    async fn unspool(&mut self) -> Result<Option<Finished>, RepoError> {
        let Some(mut spool) = self.spool.take() else { return Ok(None) };
        let (spool, taken) = blocking(move || {
            let taken = spool.take();
            Ok((spool, taken))
        })
        .await?;
        self.spool = Some(spool);
        taken.transpose()
    }

    fn is_spooling(&self) -> bool {
        self.spool.as_ref().is_some_and(|spool| !spool.is_empty())
    }

    /// Sends what waits on its way, as far as there is room.
    async fn drain(&mut self) -> Result<(), RepoError> {
        while self.is_spooling() {
            let Some(lane) = self.free_lane() else { break };
            if let Some(finished) = self.unspool().await? {
                self.send(lane, |_| Ok(finished));
            }
        }
        Ok(())
    }

    /// Keeps a segment in the spool; gives it back where it has no room for it.
    async fn spool(
        &mut self,
        (payload, reference): Finished,
    ) -> Result<Option<Finished>, RepoError> {
        let Some(mut spool) = self.spool.take() else { return Ok(Some((payload, reference))) };
        let (spool, left) = blocking(move || {
            let kept = spool.keep(&payload, &reference);
            Ok((spool, (!kept).then_some((payload, reference))))
        })
        .await?;
        self.spool = Some(spool);
        Ok(left)
    }

    /// Sends a segment on its way, or has it wait on the local disk; waits itself while neither has room for it. Gives those that
    /// arrived meanwhile.
    pub(crate) async fn begin(
        &mut self,
        builder: SegmentBuilder,
        cancel: &CancellationToken,
    ) -> Result<Vec<SegmentRef>, RepoError> {
        self.drain().await?;
        match self.free_lane().filter(|_| !self.is_spooling()) {
            Some(lane) => self.send(lane, move |session| builder.finish(session)),
            None if self.spool.is_none() => {
                let lane = self.next_lane(cancel).await?;
                self.send(lane, move |session| builder.finish(session));
            }
            None => self.begin_spooled(builder, cancel).await?,
        }
        self.arrived().await
    }

    async fn begin_spooled(
        &mut self,
        builder: SegmentBuilder,
        cancel: &CancellationToken,
    ) -> Result<(), RepoError> {
        let session = self.session;
        let mut finished = blocking(move || builder.finish(session)).await?;
        while let Some(left) = self.spool(finished).await? {
            let lane = self.next_lane(cancel).await?;
            match self.unspool().await? {
                Some(oldest) => self.send(lane, |_| Ok(oldest)),
                None => {
                    self.send(lane, |_| Ok(left));
                    break;
                }
            }
            finished = left;
        }
        Ok(())
    }

    /// Those that have arrived, in their order.
    async fn arrived(&mut self) -> Result<Vec<SegmentRef>, RepoError> {
        let mut arrived = Vec::new();
        while self.running.front().is_some_and(JoinHandle::is_finished) {
            let Some(oldest) = self.running.pop_front() else { break };
            arrived.push(oldest.await.map_err(|_| worker_died())??);
        }
        Ok(arrived)
    }

    /// Waits for the oldest one; none where none is on its way.
    async fn next(&mut self, cancel: &CancellationToken) -> Result<Option<SegmentRef>, RepoError> {
        let Some(oldest) = self.running.front_mut() else { return Ok(None) };
        let arrived = cancel.run_until_cancelled(oldest).await.ok_or(RepoError::Cancelled)?;
        self.running.pop_front();
        arrived.map_err(|_| worker_died())?.map(Some)
    }

    /// Waits until all have arrived.
    pub(crate) async fn finish(
        &mut self,
        cancel: &CancellationToken,
    ) -> Result<Vec<SegmentRef>, RepoError> {
        let mut arrived = Vec::new();
        while self.is_spooling() {
            let lane = self.next_lane(cancel).await?;
            if let Some(oldest) = self.unspool().await? {
                self.send(lane, |_| Ok(oldest));
            }
            arrived.extend(self.arrived().await?);
        }
        while let Some(reference) = self.next(cancel).await? {
            arrived.push(reference);
        }
        Ok(arrived)
    }

    /// Waits until none is on its way any more, whatever became of them.
    pub(crate) async fn settle(&mut self) {
        while let Some(upload) = self.running.pop_front() {
            let _ = upload.await;
        }
    }
}

fn worker_died() -> RepoError {
    RepoError::Stream { source: StreamError::Worker }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup_writer::usual_segment_len;

    #[test]
    fn what_is_on_its_way_takes_no_more_memory_for_a_larger_database() {
        let of = |gib: u64| {
            let len = usual_segment_len(gib << 30);
            (len >> 20, at_once(len))
        };
        assert_eq!([0, 1, 128].map(of), [(8, 3); 3]);
        assert_eq!([129, 256].map(of), [(16, 3); 2]);
        assert_eq!([257, 10_240, 262_144].map(of), [(24, 2); 3]);
        assert_eq!((at_once(1), at_once(1 << 30)), (3, 2));
    }
}
