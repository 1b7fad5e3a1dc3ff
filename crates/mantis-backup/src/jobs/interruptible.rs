//! Work of SQLite's on a thread of its own, which a cancellation interrupts.

use std::time::Duration;

use mantis_repo::RepoError;
use mantis_stream::CancellationToken;
use rusqlite::InterruptHandle;
use tokio::sync::oneshot;

use crate::Error;

/// How often a statement is interrupted again: one that has not begun yet is not.
const AGAIN: Duration = Duration::from_millis(50);

/// Runs work that may block, and interrupts its connection when it is to end; the work hands out what does that.
///
/// # Errors
/// Those of the work; that it was cancelled.
pub(super) async fn interruptible<T: Send + 'static>(
    cancel: &CancellationToken,
    doing: &'static str,
    work: impl FnOnce(oneshot::Sender<InterruptHandle>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (sender, handle) = oneshot::channel();
    let mut done = tokio::task::spawn_blocking(move || work(sender));
    let ended = tokio::select! {
        ended = &mut done => ended,
        () = cancel.cancelled() => {
            // Without a connection there is nothing that takes long.
            let handle = handle.await.ok();
            loop {
                if let Some(handle) = &handle {
                    handle.interrupt();
                }
                tokio::select! {
                    ended = &mut done => break ended,
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
        }
    };
    let ended = ended.map_err(|error| Error::Other {
        doing: doing.into(),
        source: error.into(),
        help: None,
    })?;
    match ended {
        Err(_) if cancel.is_cancelled() => Err(RepoError::Cancelled.into()),
        ended => ended,
    }
}
