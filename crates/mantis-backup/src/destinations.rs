//! Several places for one backup: made in the first that can be reached, copied to the others. One may fail.

use futures::future::BoxFuture;
use mantis_repo::{BackupInfo, RepoError, Repository};

use crate::Error;
use crate::jobs::{CopyJob, copy};

/// The repository and its replicas, by their ordinals: the repository's own is 0.
pub(crate) trait Places: Sync {
    /// How many there are.
    fn count(&self) -> usize;
    /// Opens one.
    fn open(&self, at: usize) -> BoxFuture<'_, Result<Repository, Error>>;
    /// What copies to one.
    fn copy_job<'a>(
        &'a self,
        from: &'a Repository,
        at: usize,
    ) -> BoxFuture<'a, Result<CopyJob, Error>>;
    /// Fails where someone asked to stop.
    fn check(&self) -> Result<(), Error>;
    /// Whether a place that failed, at being opened or later, is passed over for the next. Without an answer of its own: where
    /// its store failed.
    fn passes_over(&self, error: &Error, opening: bool) -> bool {
        let _ = opening;
        is_of_store(error)
    }
}

/// What became of a copy.
#[derive(Debug)]
pub(crate) struct CopyDone {
    /// The place.
    pub(crate) at: usize,
    /// Bytes sent, if it was made.
    pub(crate) sent: Result<u64, Error>,
}

/// A backup that was made in one place, and what became of the others.
#[derive(Debug)]
pub(crate) struct Made<T> {
    /// What was made.
    pub(crate) made: T,
    /// Where.
    pub(crate) at: usize,
    /// The copies, one for each place after that one.
    pub(crate) copies: Vec<CopyDone>,
    /// Why it was not made in the places before that one.
    pub(crate) passed_over: Vec<Error>,
}

/// No place could be used.
#[derive(Debug)]
pub(crate) struct NoPlace {
    /// Why the last one could not, or what failed elsewhere.
    pub(crate) error: Error,
    /// Why those before it could not.
    pub(crate) passed_over: Vec<Error>,
}

/// The places, and what was opened of them.
pub(crate) struct Destinations<P> {
    places: P,
    opened: Vec<Option<Repository>>,
}

/// Whether it is the store that failed, and not the source, the password or the user. A disk that is not mounted shows
/// as a repository that is not there.
pub(crate) fn is_of_store(error: &Error) -> bool {
    matches!(
        error,
        Error::Sink(_)
            | Error::Full { .. }
            | Error::Repo(RepoError::Sink { .. } | RepoError::NoRepository { .. })
    )
}

impl<P: Places> Destinations<P> {
    pub(crate) fn new(places: P) -> Self {
        let opened = (0..places.count()).map(|_| None).collect();
        Self { places, opened }
    }

    /// Opens a place, unless it is open.
    pub(crate) async fn open(&mut self, at: usize) -> Result<Repository, Error> {
        if let Some(Some(repo)) = self.opened.get(at) {
            return Ok(repo.clone());
        }
        let repo = self.places.open(at).await?;
        if let Some(slot) = self.opened.get_mut(at) {
            *slot = Some(repo.clone());
        }
        Ok(repo)
    }

    /// Makes a backup in the first place whose store does not fail, and copies it to those after it. Where `make` gives no
    /// backup, there is nothing to copy.
    pub(crate) async fn back_up<T>(
        &mut self,
        make: impl AsyncFn(Repository) -> Result<(T, Option<BackupInfo>), Error>,
    ) -> Result<Made<T>, NoPlace> {
        let mut passed_over = Vec::new();
        for at in 0..self.places.count() {
            let (made, opening) = match self.open(at).await {
                Ok(repo) => (make(repo.clone()).await.map(|made| (repo, made)), false),
                Err(error) => (Err(error), true),
            };
            match made {
                Ok((repo, (made, info))) => {
                    let copied = match info {
                        Some(info) => self.copy_to_others((&repo, at), &info).await,
                        None => Ok(Vec::new()),
                    };
                    return match copied {
                        Ok(copies) => Ok(Made { made, at, copies, passed_over }),
                        Err(error) => Err(NoPlace { error, passed_over }),
                    };
                }
                Err(error)
                    if at + 1 < self.places.count() && self.places.passes_over(&error, opening) =>
                {
                    passed_over.push(error);
                }
                Err(error) => return Err(NoPlace { error, passed_over }),
            }
        }
        let error = Error::usage("no place was named", "name one with --repo");
        Err(NoPlace { error, passed_over })
    }

    /// Fails only where someone asked to stop.
    async fn copy_to_others(
        &self,
        (repo, at): (&Repository, usize),
        info: &BackupInfo,
    ) -> Result<Vec<CopyDone>, Error> {
        let mut copies = Vec::new();
        for at in at + 1..self.places.count() {
            self.places.check()?;
            let sent = match self.places.copy_job(repo, at).await {
                Ok(job) => Box::pin(copy(job, std::slice::from_ref(info))).await,
                Err(error) => Err(error),
            };
            let sent = match sent {
                Ok(mut done) => match done.failed.pop() {
                    Some((_, error)) => Err(error),
                    None => Ok(done.sent.map_or(0, |sent| sent.bytes)),
                },
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => Err(error),
            };
            copies.push(CopyDone { at, sent });
        }
        Ok(copies)
    }
}
