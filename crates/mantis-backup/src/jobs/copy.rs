//! Backups from one repository to another place.

use std::path::PathBuf;
use std::sync::Arc;

use mantis_repo::{
    BackupId, BackupInfo, Copier, CopyOptions, CopyReport, Credential, IndexCache, RepoError,
    Repository, WriteOptions,
};
use mantis_sink::open_url;
use mantis_stream::{CancellationToken, ProgressTracker};

use super::transfer::convey;
use crate::system::open_in;
use crate::{Error, clock};

/// Copies backups to another place.
#[derive(Debug)]
pub struct CopyJob {
    /// Where from.
    pub from: Repository,
    /// Where to, by its address: a place with nothing in it or with a replica of the repository, to which backups go as
    /// they are; or another repository, in which they are stored anew.
    pub to: String,
    /// What opens another repository.
    pub credentials: Vec<Credential>,
    /// How they are stored in another repository.
    pub write: WriteOptions,
    /// Where pages wait on their way to another repository; the system's temporary folder without it.
    pub temp_folder: Option<PathBuf>,
    /// Where indexes of a replica are kept, if they are.
    pub cache: Option<IndexCache>,
    /// Stops it.
    pub cancel: CancellationToken,
    /// Shows how far it is.
    pub progress: Arc<ProgressTracker>,
}

/// What became of the backups.
#[derive(Debug, Default)]
pub struct Copied {
    /// Those that were copied, by their ids here.
    pub copied: Vec<BackupId>,
    /// Those that were there.
    pub there: Vec<BackupId>,
    /// Those that could not be copied, as they are damaged here.
    pub failed: Vec<(BackupId, Error)>,
    /// What was sent, where nothing was decoded.
    pub sent: Option<CopyReport>,
}

/// Copies backups, oldest first. One that is damaged does not keep the others from being copied.
///
/// # Errors
/// What a store reports, or a cancellation: what was copied until then is there.
pub async fn copy(job: CopyJob, backups: &[BackupInfo]) -> Result<Copied, Error> {
    let options = CopyOptions {
        owner: clock::owner(),
        now: clock::now(),
        cache: job.cache.clone(),
        cancel: job.cancel.clone(),
        progress: Arc::clone(&job.progress),
    };
    let sink = open_url(&job.to)?;
    match Copier::begin(&job.from, sink, options, clock::entropy()?, clock::is_dead).await {
        Ok(copier) => to_replica(copier, backups).await,
        Err(RepoError::OtherRepository { .. }) => to_other(&job, backups).await,
        Err(error) => Err(error.into()),
    }
}

async fn to_replica(mut copier: Copier, backups: &[BackupInfo]) -> Result<Copied, Error> {
    let mut result = Copied::default();
    let mut stopped = None;
    for backup in backups {
        match copier.copy(backup).await {
            Ok(true) => result.copied.push(backup.id),
            Ok(false) => result.there.push(backup.id),
            Err(error) if error.is_damage() => result.failed.push((backup.id, error.into())),
            Err(error) => {
                stopped = Some(error);
                break;
            }
        }
    }
    result.sent = Some(copier.end().await);
    stopped.map_or(Ok(result), |error| Err(error.into()))
}

/// Whether a repository has a backup of that moment of that source.
fn is_there(known: &[BackupInfo], backup: &BackupInfo) -> bool {
    known.iter().any(|other| other.meta == backup.meta)
}

async fn to_other(job: &CopyJob, backups: &[BackupInfo]) -> Result<Copied, Error> {
    let sink = open_url(&job.to)?;
    let encrypted = Repository::is_encrypted_at(&*sink).await?;
    let credentials = if encrypted { &job.credentials[..] } else { &[] };
    let to = open_in(sink, credentials).await?;
    let known = to.catalogue().await?.backups;
    let mut result = Copied::default();
    for backup in backups {
        if job.cancel.is_cancelled() {
            return Err(RepoError::Cancelled.into());
        }
        if is_there(&known, backup) {
            result.there.push(backup.id);
            continue;
        }
        match convey(&job.from, backup, &to, job.temp_folder.as_deref(), job.write.clone()).await {
            Ok(_) => result.copied.push(backup.id),
            Err(Error::Repo(error)) if error.is_damage() => {
                result.failed.push((backup.id, error.into()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(result)
}
