//! Repositories by their configuration: opened with their own secrets, and not filled to the last byte.

use std::path::PathBuf;

use futures::future::BoxFuture;
use mantis_repo::{Credential, IndexCache, PruneOptions, RepoError, Repository, WriteOptions};
use mantis_stream::{CancellationToken, ProgressTracker};

use crate::config::{Config, RepositoryConfig, is_local};
use crate::daemon::telemetry::name;
use crate::destinations::{Places, is_of_store};
use crate::disk_space::free_space;
use crate::jobs::{CopyJob, PruneJob};
use crate::{Error, known_keys, open_repository, secrets};

use super::no_such;

/// A repository and its name.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::daemon) struct Place {
    pub(in crate::daemon) name: String,
    config: RepositoryConfig,
}

/// The folder of a store on this machine.
fn folder_of(url: &str) -> Option<PathBuf> {
    is_local(url).then(|| url.strip_prefix("file://").unwrap_or(url).into())
}

impl Place {
    pub(in crate::daemon) fn of(config: &Config, name: &str) -> Result<Self, Error> {
        let found = config.repositories.get(name).ok_or_else(|| no_such("repository", name))?;
        Ok(Self { name: name.to_owned(), config: found.clone() })
    }

    /// Whether nobody may use it while it is pruned.
    pub(super) const fn is_exclusive(&self) -> bool {
        self.config.exclusive
    }

    /// Fails where there is less space than is to be left free; shows how much there is.
    pub(in crate::daemon) fn check_space(&self) -> Result<(), Error> {
        let Some(free) = folder_of(&self.config.url).and_then(|folder| free_space(&folder)) else {
            return Ok(());
        };
        metrics::gauge!(name::FREE, "repository" => self.name.clone()).set(free as f64);
        match self.config.min_free_space {
            Some(wanted) if free < wanted.0.0 => {
                Err(Error::Full { place: self.name.clone(), free, wanted: wanted.0.0 })
            }
            _ => Ok(()),
        }
    }

    /// What opens it. Commands that print passwords are run: on a thread that may block.
    async fn credentials(&self) -> Result<Vec<Credential>, Error> {
        let config = self.config.clone();
        let read = tokio::task::spawn_blocking(move || {
            let identities =
                config.identity_file.as_deref().map(secrets::read_identities).transpose()?;
            let password = config.password.map(|secret| secret.read()).transpose()?;
            let password = password.map(|bytes| Credential::Password(secrets::password(bytes)));
            Ok(identities.map(Credential::Identities).into_iter().chain(password).collect())
        });
        read.await.map_err(|error| Error::Other {
            doing: format!("read the secrets of the repository {}", self.name),
            source: error.into(),
            help: None,
        })?
    }

    fn cache(&self) -> Option<IndexCache> {
        let folder = self.config.cache_folder.clone();
        folder.map(|folder| IndexCache::new(folder, IndexCache::USUAL_LIMIT))
    }

    /// Opens it.
    pub(in crate::daemon) async fn open(&self) -> Result<Repository, Error> {
        let repo = open_repository(&self.config.url, &self.credentials().await?).await?;
        if self.config.identity_file.is_some() {
            known_keys::check(&repo)?;
        }
        Ok(match self.cache() {
            Some(cache) => repo.with_cache(cache),
            None => repo,
        })
    }

    /// A prune of it by its configuration.
    pub(in crate::daemon) fn prune_job(
        &self,
        repo: Repository,
        dry_run: bool,
        cancel: CancellationToken,
    ) -> PruneJob {
        let grace_ms = u64::try_from(self.config.grace.0.0.as_millis()).unwrap_or(u64::MAX);
        let options = PruneOptions { grace_ms, dry_run, exclusive: self.config.exclusive };
        PruneJob { repo, max_unused: self.config.max_unused.0.0, options, cancel }
    }

    /// Bytes that it holds.
    pub(super) async fn measure(&self) -> Result<u64, Error> {
        let objects = mantis_sink::open_url(&self.config.url)?.list("").await?;
        Ok(objects.iter().map(|object| object.len).sum())
    }
}

/// The places of a schedule's backups.
#[derive(Debug)]
pub(super) struct ConfigPlaces {
    pub(super) places: Vec<Place>,
    pub(super) temp_folder: PathBuf,
    pub(super) cancel: CancellationToken,
}

impl ConfigPlaces {
    pub(super) fn name(&self, at: usize) -> &str {
        self.places.get(at).map_or("", |place| &place.name)
    }

    fn place(&self, at: usize) -> Result<&Place, Error> {
        self.places.get(at).ok_or_else(|| no_such("place", &at.to_string()))
    }
}

impl Places for &ConfigPlaces {
    fn count(&self) -> usize {
        self.places.len()
    }

    fn open(&self, at: usize) -> BoxFuture<'_, Result<Repository, Error>> {
        Box::pin(async move {
            let place = self.place(at)?;
            place.check_space()?;
            place.open().await
        })
    }

    fn copy_job<'a>(
        &'a self,
        from: &'a Repository,
        at: usize,
    ) -> BoxFuture<'a, Result<CopyJob, Error>> {
        Box::pin(async move {
            let place = self.place(at)?;
            place.check_space()?;
            Ok(CopyJob {
                from: from.clone(),
                to: place.config.url.clone(),
                credentials: place.credentials().await?,
                write: WriteOptions::default(),
                temp_folder: Some(self.temp_folder.clone()),
                cache: place.cache(),
                cancel: self.cancel.clone(),
                progress: ProgressTracker::new().into(),
            })
        })
    }

    /// Nobody is there to put a place right: a backup in the next one is better than none.
    fn passes_over(&self, error: &Error, opening: bool) -> bool {
        (opening && !error.is_cancelled()) || is_of_store(error)
    }

    fn check(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() { Err(RepoError::Cancelled.into()) } else { Ok(()) }
    }
}
