//! One restore.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use mantis_engine::RestoreFile;
use mantis_page::PageSize;
use mantis_repo::{
    BackupInfo, Purpose, RepoError, Repository, RestoreOptions, Restored as Pages, Session,
};
use mantis_snapshot::{Geometry, PageTarget, SnapshotError};

use crate::{Error, clock};

/// What to restore, and where to.
#[derive(Debug)]
pub struct RestoreJob {
    /// Where from.
    pub repo: Repository,
    /// What.
    pub backup: BackupInfo,
    /// Where to.
    pub target: PathBuf,
    /// Replace a file that is there.
    pub replace: bool,
    /// Begin with what the target holds: pages that it holds already are not fetched.
    pub delta: bool,
    /// Run the engine's own integrity check before the file is shown.
    pub check: bool,
    /// How it runs; its `cancel` stops it, its `progress` shows it.
    pub options: RestoreOptions,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The file.
    pub path: PathBuf,
    /// Pages in it.
    pub pages: u64,
    /// Pages of them that were there already.
    pub pages_reused: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Bytes fetched from the repository.
    pub bytes_fetched: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The engine's own check was run and found nothing.
    pub checked: bool,
}

/// Restores a backup to a file: beside the target first, then synced, checked if wanted, and renamed.
/// Where it fails, the target is as it was.
///
/// # Errors
/// What keeps the restore from being made.
pub async fn restore(job: RestoreJob) -> Result<Restored, Error> {
    let started = Instant::now();
    let meta = &job.backup.meta;
    let damaged =
        |what: String| RepoError::Damaged { object: format!("backup {}", job.backup.id), what };
    let page_size =
        PageSize::new(meta.page_size.into()).map_err(|error| damaged(error.to_string()))?;
    let geometry = Geometry { page_size, page_count: meta.page_count, byte_len: meta.byte_len };
    let session = pin(&job.repo).await;
    let manifest = job.repo.manifest(&job.backup).await?;
    refuse_open_target(&job)?;
    let mut target = RestoreFile::create(&job.target, geometry, job.replace)?;
    if job.delta {
        target.begin_with_target()?;
    }
    let shared = Arc::new(target);
    let mut options = RestoreOptions { rewrites: true, ..job.options.clone() };
    if shared.is_reused() {
        let reading = Arc::clone(&shared);
        let read = move |range, buf: &mut [u8]| reading.read_pages(range, buf);
        options.have = job.repo.matching(&manifest, &job.options, Arc::new(read)).await?;
    }
    let writing = Arc::clone(&shared);
    let give = move |pages: Pages| match pages {
        Pages::Pages(run) => writing.write_run(&run).map_err(Into::into),
        Pages::Zeros(range) => writing.write_zeros(range).map_err(Into::into),
    };
    let summary = job.repo.restore(&manifest, &options, Arc::new(give)).await;
    if let Some(session) = session {
        session.end().await;
    }
    let summary = summary?;
    let engine = meta.engine.clone();
    let check = job.check;
    let finished = tokio::task::spawn_blocking(move || -> Result<(), Error> {
        if check {
            check_file(&engine, shared.temporary())?;
        }
        let target = unshare(shared)?;
        Ok(Box::new(target).finish()?)
    });
    finished.await.map_err(|error| {
        SnapshotError::engine("end the restore to", job.target.display(), error)
    })??;
    Ok(Restored {
        pages: summary.pages,
        pages_reused: options.have.len(),
        bytes: meta.byte_len,
        bytes_fetched: summary.bytes_fetched,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        checked: check,
        path: job.target,
    })
}

/// Announces the restore, so that collectors leave the backup whole for as long as it takes. A repository that
/// cannot be written is restored from all the same.
async fn pin(repo: &Repository) -> Option<Session> {
    let entropy = clock::entropy().ok()?;
    match Session::begin(repo, Purpose::Restore, entropy, &clock::owner(), clock::now()).await {
        Ok(session) => Some(session),
        Err(error) => {
            tracing::info!(%error, "the restore cannot be announced in the repository");
            None
        }
    }
}

/// Waits until the last decoding thread has let go of the file.
pub(super) fn unshare(mut shared: Arc<RestoreFile>) -> Result<RestoreFile, Error> {
    for _ in 0..1_000_000 {
        match Arc::try_unwrap(shared) {
            Ok(target) => return Ok(target),
            Err(still) => shared = still,
        }
        std::thread::yield_now();
    }
    Err(SnapshotError::engine(
        "end the restore to",
        shared.temporary().display(),
        "a thread still writes",
    )
    .into())
}

#[cfg(feature = "sqlite")]
fn refuse_open_target(job: &RestoreJob) -> Result<(), Error> {
    if job.replace && job.target.is_file() {
        mantis_engine::sqlite::refuse_if_in_use(&job.target)?;
    }
    Ok(())
}

#[cfg(not(feature = "sqlite"))]
#[expect(clippy::unnecessary_wraps, reason = "the same shape as with the feature")]
fn refuse_open_target(_: &RestoreJob) -> Result<(), Error> {
    Ok(())
}

/// The engine's own check of a file that nobody writes.
pub(crate) fn check_file(engine: &str, path: &Path) -> Result<(), Error> {
    match engine {
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(mantis_engine::sqlite::check_database(path)?),
        #[cfg(feature = "redb")]
        "redb" => Ok(mantis_engine::redb::check_database(path)?),
        _ => {
            let _ = path;
            Err(Error::usage(
                format!("this build has no integrity check for {engine:?}"),
                "restore without --check; every page is proved by its hash in any case",
            ))
        }
    }
}
