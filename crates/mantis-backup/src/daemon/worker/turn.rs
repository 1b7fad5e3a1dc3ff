//! Turns on repositories that only one may prune while nobody else uses them.

use std::fs::File;
use std::time::Duration;

use mantis_stream::CancellationToken;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::Place;
use crate::config::{Action, Config};
use crate::daemon::{Order, StateDir};
use crate::{Error, durable};

/// How often a turn is asked for again.
const PAUSE: Duration = Duration::from_millis(200);

/// Held as long as a run uses a repository: by many at once, or by a prune alone.
#[derive(Debug)]
pub(in crate::daemon) struct Turn(#[expect(dead_code, reason = "held, not used")] File);

/// Turns on those of an order's repositories that are `exclusive`: on stores where two may create one object, nothing may run beside a
/// prune. Locks of files in the state folder, so that `mantis schedule run` waits for the daemon, and it for that.
pub(super) async fn turns(dir: &StateDir, order: &Order) -> Result<Vec<Turn>, Error> {
    let config: &Config = &order.config;
    let Some(schedule) = config.schedules.get(&order.entry.schedule) else { return Ok(Vec::new()) };
    let mut names = schedule.repositories(config);
    // One order for all: whoever waits for one turn holds none that comes after it.
    names.sort();
    names.dedup();
    let mut turns = Vec::new();
    for name in names {
        if config.repositories.get(&name).is_some_and(|repository| repository.exclusive) {
            let alone = order.entry.action == Action::Prune;
            turns.push(turn(dir, &name, alone, &order.cancel).await?);
        }
    }
    Ok(turns)
}

/// A turn of somebody who only uses a repository, as a restore does; none where it is not `exclusive`.
pub(in crate::daemon) async fn to_use(
    dir: &StateDir,
    place: &Place,
    cancel: &CancellationToken,
) -> Result<Option<Turn>, Error> {
    if !place.is_exclusive() {
        return Ok(None);
    }
    turn(dir, &place.name, false, cancel).await.map(Some)
}

async fn turn(
    dir: &StateDir,
    name: &str,
    alone: bool,
    cancel: &CancellationToken,
) -> Result<Turn, Error> {
    let path = dir.path().join(format!("repository-{name}.lock"));
    let failed = |error: std::io::Error| Error::io(format!("lock {}", path.display()), error);
    let file = durable::lock_file(&path).map_err(failed)?;
    let how = if alone {
        FlockOperation::NonBlockingLockExclusive
    } else {
        FlockOperation::NonBlockingLockShared
    };
    loop {
        match flock(&file, how) {
            Ok(()) => return Ok(Turn(file)),
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(failed(error.into())),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = cancel.cancelled() => return Err(mantis_repo::RepoError::Cancelled.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_use_a_repository_and_one_prunes_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::at(folder.path());
        let cancel = CancellationToken::new();
        let take = |alone| turn(&dir, "main", alone, &cancel);
        let (first, second) = (take(false).await.unwrap(), take(false).await.unwrap());
        let patience = Duration::from_secs(60);
        assert!(tokio::time::timeout(patience, take(true)).await.is_err(), "it is used");
        drop((first, second));
        let alone = take(true).await.unwrap();
        assert!(tokio::time::timeout(patience, take(false)).await.is_err(), "it is pruned");
        cancel.cancel();
        assert!(take(false).await.unwrap_err().is_cancelled());
        drop(alone);
    }
}
