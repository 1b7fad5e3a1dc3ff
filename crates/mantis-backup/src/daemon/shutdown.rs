//! A supervisor's end, in bounded time.

use std::time::Duration;

use mantis_schedule::Outcome;

use super::under_way::UnderWay;
use super::{Supervisor, systemd};

/// How long cancelled runs may take to clean up after themselves.
const CLEANING: Duration = Duration::from_secs(60);

impl Supervisor {
    /// Ends what runs: it may end by itself for a while, is cancelled then, and has a minute to clean up. What was cancelled stays
    /// in the state as under way, and so is begun again at the next start.
    pub(super) async fn stop(mut self) {
        self.status.stop();
        systemd::stopping();
        // A watch that is cut short has lost nothing: the next one takes up what it was at.
        let unwatched = self.watch_nothing();
        let patience = self.config.stop_timeout.0.0;
        if !self.tasks.is_empty() {
            tracing::info!(
                runs = self.tasks.len(),
                seconds = patience.as_secs(),
                "stopping: runs under way may end"
            );
        }
        let deadline = tokio::time::Instant::now() + patience;
        while let Ok(Some(ended)) =
            tokio::time::timeout_at(deadline, self.tasks.join_next_with_id()).await
        {
            self.ended(ended).await;
        }
        for under_way in self.under_way.values() {
            let again = under_way.is_kept();
            tracing::warn!(job = %under_way.entry.id, again, "cancelled; `again`: it is begun again at the next start");
            under_way.cancel.cancel();
        }
        let deadline = tokio::time::Instant::now() + CLEANING;
        while let Ok(Some(ended)) =
            tokio::time::timeout_at(deadline, self.tasks.join_next_with_id()).await
        {
            // What was cancelled stays in the state as under way; what ended all the same is done.
            match ended {
                Ok((id, report))
                    if report.outcome == Outcome::Cancelled
                        && self.under_way.get(&id).is_some_and(UnderWay::is_kept) =>
                {
                    self.under_way.remove(&id);
                }
                ended => self.ended(ended).await,
            }
        }
        let _ = tokio::time::timeout_at(deadline, unwatched).await;
        self.tasks.detach_all();
        self.keep().await;
    }
}
