//! Engines, a repository, and backups of the one into the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use mantis_repo::{
    BackupInfo, Credential, NewKey, RepoError, Repository, SpoolOptions, WriteOptions,
};
use mantis_sink::{ProbeReport, Sink, open_url, probe};
use mantis_snapshot::{Coordinator, Engine, SnapshotConfig};
use mantis_stream::{CancellationToken, Compression, Progress, ProgressTracker};
use tokio::sync::watch;

use crate::jobs::{self, BackupJob};
use crate::{Error, Source, SourceOptions, clock};

/// Opens the repository at a path or URL; an encrypted one with the first of `credentials` that opens it.
///
/// # Errors
/// Where there is none, it cannot be read, or nothing opens it.
pub async fn open_repository(url: &str, credentials: &[Credential]) -> Result<Repository, Error> {
    open_in(open_url(url)?, credentials).await
}

/// Opens the repository in a store, as [`open_repository`].
pub(crate) async fn open_in(
    sink: Arc<dyn Sink>,
    credentials: &[Credential],
) -> Result<Repository, Error> {
    let Some((last, others)) = credentials.split_last() else {
        return Ok(Repository::open(sink, None).await?);
    };
    for credential in others {
        match Repository::open(Arc::clone(&sink), Some(credential)).await {
            Err(RepoError::WrongPassword { .. }) => {}
            opened => return Ok(opened?),
        }
    }
    Ok(Repository::open(sink, Some(last)).await?)
}

/// Tries out the store at a path or URL; `thorough` makes more objects in it than it lists in one answer. What is
/// made is removed again.
///
/// # Errors
/// Where it is no address of a store. What is wrong with the store is no error here but the report.
pub async fn probe_store(url: &str, thorough: bool) -> Result<ProbeReport, Error> {
    let sink = open_url(url)?;
    let [a, b, c, d, e, f, g, h, ..] = clock::entropy()?;
    Ok(probe(&*sink, u64::from_le_bytes([a, b, c, d, e, f, g, h]), thorough).await)
}

/// Makes a repository at a path or URL; an encrypted one where keys are given.
///
/// # Errors
/// Where there is one already, or it cannot be written.
pub async fn init_repository(
    url: &str,
    keys: impl IntoIterator<Item = NewKey>,
) -> Result<Repository, Error> {
    Ok(Repository::init(open_url(url)?, clock::entropy()?, clock::now(), keys).await?)
}

/// Engines by name, a repository, and how backups are made. Cheap to clone.
#[derive(Clone)]
pub struct BackupSystem {
    engines: Arc<BTreeMap<String, Arc<dyn Engine>>>,
    repo: Repository,
    coordinator: Coordinator,
    write: WriteOptions,
}

impl std::fmt::Debug for BackupSystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.engines.keys().collect();
        f.debug_struct("BackupSystem")
            .field("engines", &names)
            .field("repo", &self.repo.location())
            .finish_non_exhaustive()
    }
}

/// Puts a [`BackupSystem`] together.
#[derive(Default)]
pub struct Builder {
    engines: BTreeMap<String, Arc<dyn Engine>>,
    repo: Option<Repository>,
    snapshots: SnapshotConfig,
    write: WriteOptions,
}

impl Builder {
    /// Adds a database by its engine.
    #[must_use]
    pub fn engine(mut self, name: impl Into<String>, engine: impl Engine) -> Self {
        self.engines.insert(name.into(), Arc::new(engine));
        self
    }

    /// Adds a database by its path.
    ///
    /// # Errors
    /// As [`Source::engine`].
    pub fn source(mut self, name: impl Into<String>, source: Source) -> Result<Self, Error> {
        let engine = source.engine(&SourceOptions::default())?;
        self.engines.insert(name.into(), Arc::from(engine));
        Ok(self)
    }

    /// Where backups go.
    #[must_use]
    pub fn repository(mut self, repo: Repository) -> Self {
        self.repo = Some(repo);
        self
    }

    /// How snapshots are taken.
    #[must_use]
    pub fn snapshots(mut self, config: SnapshotConfig) -> Self {
        self.snapshots = config;
        self
    }

    /// How frames are compressed.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.write.compression = compression;
        self
    }

    /// Bytes read from sources per second, at most, by each backup.
    #[must_use]
    pub fn limit_rate(mut self, bytes_per_second: u64) -> Self {
        self.write.rate = Some(bytes_per_second);
        self
    }

    /// Where what was read waits for a store that is slower than the databases, so that they are held no longer than reading takes.
    #[must_use]
    pub fn spool(mut self, spool: SpoolOptions) -> Self {
        self.write.spool = Some(spool);
        self
    }

    /// The system.
    ///
    /// # Errors
    /// Without a repository.
    pub fn build(self) -> Result<BackupSystem, Error> {
        let missing =
            || Error::usage("a backup system needs a repository", "name one with `repository`");
        Ok(BackupSystem {
            engines: Arc::new(self.engines),
            repo: self.repo.ok_or_else(missing)?,
            coordinator: Coordinator::new(self.snapshots),
            write: self.write,
        })
    }
}

impl BackupSystem {
    /// Begins to put a system together.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A backup of one database, to be run.
    #[must_use]
    pub fn backup(&self, name: &str) -> BackupRequest {
        let progress = Arc::new(ProgressTracker::new());
        let cancel = CancellationToken::new();
        let write = WriteOptions { progress, cancel, ..self.write.clone() };
        BackupRequest {
            system: self.clone(),
            name: name.to_owned(),
            tags: BTreeMap::new(),
            write,
            timeout: None,
            full: false,
        }
    }

    /// The repository.
    #[must_use]
    pub const fn repository(&self) -> &Repository {
        &self.repo
    }

    /// The snapshots under way.
    #[must_use]
    pub const fn snapshots(&self) -> &Coordinator {
        &self.coordinator
    }
}

/// A backup to be run: await it, or call [`BackupRequest::run`].
#[derive(Debug)]
pub struct BackupRequest {
    system: BackupSystem,
    name: String,
    tags: BTreeMap<String, String>,
    write: WriteOptions,
    timeout: Option<Duration>,
    full: bool,
}

impl BackupRequest {
    /// Adds the user's own words.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// How long it may take.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Stores every page, whatever earlier backups hold.
    #[must_use]
    pub const fn full(mut self) -> Self {
        self.full = true;
        self
    }

    /// A view that always shows how far it is.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.write.progress.subscribe()
    }

    /// Stops it when cancelled.
    #[must_use]
    pub fn canceller(&self) -> CancellationToken {
        self.write.cancel.clone()
    }

    /// Runs it.
    ///
    /// # Errors
    /// As [`jobs::backup`]; [`Error::Usage`] where no engine has that name.
    pub async fn run(self) -> Result<BackupInfo, Error> {
        let engine = self.system.engines.get(&self.name).map(Arc::clone).ok_or_else(|| {
            Error::usage(
                format!("no engine is called {:?}", self.name),
                "add it with `engine` or `source`",
            )
        })?;
        jobs::backup(BackupJob {
            repo: self.system.repo.clone(),
            coordinator: self.system.coordinator.clone(),
            engine,
            name: self.name,
            tags: self.tags,
            write: self.write,
            timeout: self.timeout,
            full: self.full,
            looks_good_for: Duration::ZERO,
        })
        .await
    }
}

impl IntoFuture for BackupRequest {
    type Output = Result<BackupInfo, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
