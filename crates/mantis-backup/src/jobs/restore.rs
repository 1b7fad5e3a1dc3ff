//! One restore.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use mantis_engine::RestoreFile;
use mantis_page::PageSize;
use mantis_repo::{BackupInfo, RepoError, Repository, RestoreOptions, Restored as Pages};
use mantis_snapshot::{Geometry, PageTarget, SnapshotError};

use crate::Error;

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
    /// Its length in bytes.
    pub bytes: u64,
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
    let manifest = job.repo.manifest(&job.backup).await?;
    refuse_open_target(&job)?;
    let target = RestoreFile::create(&job.target, geometry, job.replace)?;
    let shared = Arc::new(target);
    let writing = Arc::clone(&shared);
    let give = move |pages: Pages| match pages {
        Pages::Pages(run) => writing.write_run(&run).map_err(Into::into),
        // The file is new: what is not written reads as zeros.
        Pages::Zeros(_) => Ok(()),
    };
    let summary = job.repo.restore(&manifest, &job.options, Arc::new(give)).await?;
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
        bytes: meta.byte_len,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        checked: check,
        path: job.target,
    })
}

/// Waits until the last decoding thread has let go of the file.
fn unshare(mut shared: Arc<RestoreFile>) -> Result<RestoreFile, Error> {
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
