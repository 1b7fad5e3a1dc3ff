//! What a watch does while the store is gone, and once it is back.

use std::sync::Arc;

use mantis_repo::BackupInfo;
use mantis_snapshot::{Coordinator, SnapshotConfig, SnapshotError, SnapshotToken};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::BackupJob;
use super::backup::backup_as_of;
use super::queued_moment::{QueuedEngine, QueuedMoment};
use super::watch::{Watch, WatchEvent};
use super::watch_queue::{Wanted, WatchQueue};
use crate::Error;

/// Bytes of decoded pages of the backup before that are kept in memory while moments that waited are stored.
const CACHE: u64 = 8 << 20;
/// So often in a row a moment is refused by a store that is there before it is let go of.
const REFUSED: u32 = 3;

impl<T: FnMut(WatchEvent)> Watch<'_, T> {
    /// Has a moment of the source as it is now wait for the store, if anything was committed since the last one. Where it cannot, the engine keeps in mind
    /// what changed.
    pub(super) async fn have_wait(&mut self) {
        let job = self.job;
        let Some(base) = self.base.clone() else { return };
        let Some(mut queue) = self.queue.take() else { return };
        let wanted = Wanted {
            coordinator: job.coordinator.clone(),
            engine: Arc::clone(&job.engine),
            name: job.name.clone(),
            base,
            looked: Instant::now(),
        };
        let under_way = self.under_way.clone();
        let is_first = queue.is_empty() && under_way.is_none();
        let took = tokio::task::spawn_blocking(move || {
            // Of what failed to be stored, the engine does not know that it is in no backup.
            let took = match !is_first && wanted.engine.is_idle().unwrap_or(false) {
                true => Ok(false),
                false => queue.take(&wanted, under_way.as_deref()),
            };
            (queue, took)
        });
        let Ok((queue, took)) = took.await else { return };
        let (moments, bytes) = (queue.count(), queue.len());
        self.queue = Some(queue);
        match took {
            Ok(true) => (self.tell)(WatchEvent::Queued { moments, bytes }),
            Ok(false) => {}
            Err(error) => {
                tracing::info!(source = %job.name, %error, "no moment waits on the local disk");
            }
        }
        self.tell_gaps();
    }

    /// Makes backups of the moments that wait, the oldest first.
    pub(super) async fn store_what_waits(&mut self) -> Result<(), Error> {
        while let Some(moment) = self.queue.as_mut().and_then(WatchQueue::pop) {
            self.under_way = Some(Arc::clone(&moment));
            let stored = self.store(&moment).await;
            self.under_way = None;
            match stored {
                Ok((info, token)) => {
                    self.refused = 0;
                    self.made(info, token, moment.moment.looked);
                    drop(moment);
                    self.tell_dequeued();
                }
                Err(error) => {
                    self.keep_or_let_go(moment).await;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn store(
        &mut self,
        moment: &Arc<QueuedMoment>,
    ) -> Result<(BackupInfo, Option<SnapshotToken>), Error> {
        let job = self.job;
        let Some(base) = &self.base else { return Err(SnapshotError::Cancelled.into()) };
        let base = base.info.clone();
        let turn = self.turn().await?;
        let repo = job.repo.clone();
        let base = self.looking_after_the_log(repo.page_reader(&base, CACHE)).await?;
        let engine = QueuedEngine {
            moment: Arc::clone(moment),
            base: Arc::new(base),
            runtime: Handle::current(),
        };
        // It takes no place among the snapshots of the source, of which more are taken meanwhile.
        let coordinator = Coordinator::new(SnapshotConfig::default());
        let job = BackupJob { coordinator, ..self.backup_of(Arc::new(engine)) };
        let backup = backup_as_of(job, Some(moment.moment.at));
        let stored = self.looking_after_the_log(backup).await;
        drop(turn);
        stored
    }

    /// What could not be stored waits on, unless that is not for the store's sake: then nothing that waits can be stored, and the next backup is
    /// of the source as it is then.
    async fn keep_or_let_go(&mut self, moment: Arc<QueuedMoment>) {
        let there = !self.job.write.cancel.is_cancelled()
            && self.looking_after_the_log(self.job.repo.catalogue_again()).await.is_ok();
        self.refused = if there { self.refused + 1 } else { 0 };
        let Some(queue) = &mut self.queue else { return };
        if self.refused < REFUSED {
            queue.put_back(moment);
            return;
        }
        tracing::warn!(source = %self.job.name, moments = queue.count() + 1, "moments that waited cannot be stored, and are let go of");
        queue.clear();
        (self.refused, self.base) = (0, None);
        self.tell_dequeued();
    }

    fn tell_dequeued(&mut self) {
        let Some(queue) = &self.queue else { return };
        (self.tell)(WatchEvent::Dequeued { moments: queue.count(), bytes: queue.len() });
    }
}
