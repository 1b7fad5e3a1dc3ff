//! Work with a repository that a page waits for.

use std::time::Duration;

use mantis_stream::CancellationToken;

use crate::Error;

/// How long a page waits.
const PATIENCE: Duration = Duration::from_secs(120);

/// Does it on a thread of its own, as runs are: the repository's futures are not known to be `Send`. What fails is told in words; what takes
/// too long is cancelled, and so is what is asked for by somebody who does not wait.
pub(super) async fn on_a_thread<T, W>(work: W) -> Result<T, String>
where
    T: Send + 'static,
    W: AsyncFnOnce(CancellationToken) -> Result<T, Error> + Send + 'static,
{
    let runtime = tokio::runtime::Handle::current();
    let cancel = CancellationToken::new();
    let _on_drop = cancel.clone().drop_guard();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work(cancel)));
    match tokio::time::timeout(PATIENCE, done).await {
        Ok(Ok(done)) => done.map_err(|error| error.chain_and_help()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            Err(format!("it takes longer than {seconds} s: ask by the command instead"))
        }
    }
}
