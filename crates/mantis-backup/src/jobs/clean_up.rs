//! Giving up, in bounded time: a store that is gone must not keep anyone waiting once more.

use std::future::Future;
use std::time::Duration;

/// How long cleaning up may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs what removes the traces of a job. What is left of it then is as a crash would leave it: the next backup takes it
/// over, or a prune frees it.
pub(super) async fn clean_up(work: impl Future<Output = ()>) {
    if tokio::time::timeout(PATIENCE, work).await.is_err() {
        tracing::warn!("not all could be cleaned up in time; `mantis prune` frees the rest");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_ends_is_waited_for_and_work_that_does_not_is_let_go() {
        let mut done = false;
        clean_up(async { done = true }).await;
        assert!(done);
        tokio::time::pause();
        clean_up(std::future::pending()).await;
    }
}
