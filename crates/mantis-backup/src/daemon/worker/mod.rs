//! What schedules ask for, done.

mod backup;
mod drill;
mod place;
mod prune;
mod repositories;
mod sources;
mod turn;
mod verify;
mod watch;
mod watches;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use mantis_repo::RepoError;
use mantis_schedule::Outcome;

use super::{Freshness, Order, Report, StateDir, Wanted, Watched, Worker};
use crate::Error;
use crate::config::Action;
pub(super) use place::Place;
use sources::Sources;
#[cfg(feature = "dashboard")]
pub(super) use turn::to_use;
use watches::Watches;

/// How long a run that was cancelled may take to clean up; then it is let go of.
const CLEANING: Duration = Duration::from_secs(90);

/// Backs up, verifies, drills and prunes, as the configuration says. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Jobs {
    dir: StateDir,
    /// For drills and spooled pages.
    scratch: Arc<PathBuf>,
    sources: Arc<Sources>,
    freshness: Arc<Freshness>,
    watches: Arc<Watches>,
}

impl Jobs {
    /// A worker that notes what it proves in a state folder, and restores drills to a folder of its own.
    #[must_use]
    pub fn new(dir: StateDir, scratch: PathBuf, freshness: Arc<Freshness>) -> Self {
        let (sources, watches) = Default::default();
        Self { dir, scratch: scratch.into(), sources, freshness, watches }
    }

    async fn attempt(self, order: Order) -> Result<Report, Error> {
        let _turns = turn::turns(&self.dir, &order).await?;
        match order.entry.action {
            Action::Backup => backup::back_up(&self, &order).await,
            Action::Verify => verify::verify(&self, &order).await,
            Action::Drill => drill::drill(&self, &order).await,
            Action::Prune => prune::prune(&self, &order).await,
        }
    }

    async fn bounded(self, mut order: Order) -> Result<Report, Error> {
        let (what, timeout) = (super::notices::subject(&order.entry), order.timeout);
        let cancel = order.cancel.child_token();
        let outer = std::mem::replace(&mut order.cancel, cancel.clone());
        let mut attempt = Box::pin(self.attempt(order));
        let timer = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let late = tokio::select! {
            ended = &mut attempt => return ended,
            () = outer.cancelled() => None,
            () = timer => timeout,
        };
        cancel.cancel();
        let ended = tokio::time::timeout(CLEANING, attempt).await;
        match (ended, late) {
            (Ok(Err(error)), Some(after)) if error.is_cancelled() => {
                Err(Error::TimedOut { what, after })
            }
            (Ok(ended), _) => ended,
            (Err(_), _) => {
                Err(Error::TimedOut { what: format!("the end of the {what}"), after: CLEANING })
            }
        }
    }
}

/// The repository that an error says is nearly full, and what there is to say of it.
fn full(error: &Error) -> Vec<(String, String)> {
    match error {
        Error::Full { place, .. } => vec![(place.clone(), error.chain())],
        _ => Vec::new(),
    }
}

/// Whether trying the same again cannot help.
const fn is_hopeless(error: &Error) -> bool {
    match error {
        Error::Usage { .. } | Error::Config(_) => true,
        Error::Repo(error) => error.is_password(),
        _ => false,
    }
}

fn failed(error: &Error) -> Report {
    let outcome = if error.is_cancelled() {
        Outcome::Cancelled
    } else if is_hopeless(error) {
        Outcome::Hopeless
    } else {
        Outcome::Failed
    };
    Report { error: Some(error.chain_and_help()), ..Report::new(outcome) }
}

impl Worker for Jobs {
    fn work(&self, order: Order) -> BoxFuture<'static, Report> {
        let (jobs, runtime) = (self.clone(), tokio::runtime::Handle::current());
        // Each run has a thread of its own to wait on: a run is driven by one thread however many it keeps busy, and its future,
        // which borrows across its waits in ways that the compiler cannot prove to be `Send` in general, stays there.
        let done = tokio::task::spawn_blocking(move || runtime.block_on(jobs.bounded(order)));
        Box::pin(async move {
            let done = done.await.unwrap_or_else(|error| {
                let doing = "do what the schedule asks for".to_owned();
                Err(Error::Other { doing, source: error.into(), help: None })
            });
            match done {
                Ok(report) => report,
                Err(error) => Report { full: full(&error), ..failed(&error) },
            }
        })
    }

    fn watch(&self, wanted: Wanted) -> BoxFuture<'static, ()> {
        self.watches.arrange(self, wanted)
    }

    fn watched(&self) -> Vec<Watched> {
        self.watches.watched()
    }

    fn ending(&self) -> Vec<String> {
        self.watches.ending()
    }
}

/// The error of a run whose configuration is not there any more: none can be, as it has its own.
fn no_such(what: &str, name: &str) -> Error {
    Error::usage(format!("there is no {what} called {name:?}"), "run `mantis config check`")
}

/// Fails where the run was cancelled.
fn check(order: &Order) -> Result<(), Error> {
    if order.cancel.is_cancelled() { Err(RepoError::Cancelled.into()) } else { Ok(()) }
}

impl Jobs {
    /// Notes what was proved. Where that cannot be kept, the proof was none the less made.
    async fn note_proofs(
        &self,
        repo: &mantis_repo::Repository,
        found: Vec<(mantis_repo::BackupId, super::Proof)>,
        there: Vec<mantis_repo::BackupId>,
    ) {
        let (proofs, repo) = (self.dir.proofs(), repo.clone());
        let noted = tokio::task::spawn_blocking(move || proofs.add(&repo, found, &there)).await;
        if let Ok(Err(error)) = noted {
            tracing::error!(error = %error.chain(), "what was proved is not noted");
        }
    }
}
