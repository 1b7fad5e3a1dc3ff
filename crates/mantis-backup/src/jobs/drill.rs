//! One drill: a backup restored for nobody, and its engine's own check run on it.

use std::path::PathBuf;

use mantis_repo::{BackupInfo, Repository, RestoreOptions};

use super::{RestoreJob, Restored, restore};
use crate::Error;

/// What to try out, and where.
#[derive(Debug)]
pub struct DrillJob {
    /// Where from.
    pub repo: Repository,
    /// What.
    pub backup: BackupInfo,
    /// Where the restored file stands meanwhile; the system's temporary folder without it.
    pub temp_folder: Option<PathBuf>,
    /// How it runs; its `cancel` stops it, its `progress` shows it.
    pub options: RestoreOptions,
}

/// Restores a backup to a temporary folder, runs its engine's own check on it, and removes it again.
///
/// # Errors
/// What keeps it from being restored, or what the check found.
pub async fn drill(job: DrillJob) -> Result<Restored, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("mantis-drill-");
    let folder = match &job.temp_folder {
        Some(folder) => builder.tempdir_in(folder),
        None => builder.tempdir(),
    };
    let folder = folder.map_err(|error| Error::Other {
        doing: "make a temporary folder".into(),
        source: error.into(),
        help: Some(
            "name another one with --temp-folder, or `temp_folder` in the configuration".into(),
        ),
    })?;
    // A raw file has no engine that could check it: there its pages' hashes are the proof.
    let check = job.backup.meta.engine != "file";
    let target = folder.path().join("restored");
    restore(RestoreJob {
        repo: job.repo,
        backup: job.backup,
        target,
        replace: false,
        delta: false,
        check,
        options: job.options,
    })
    .await
}
