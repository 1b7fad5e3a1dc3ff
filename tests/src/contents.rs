//! Backups read into memory.

use std::sync::{Arc, Mutex};

use mantis_backup::repo::{BackupInfo, RepoError, Repository, RestoreOptions, Restored};

/// The bytes that a backup restores to.
///
/// # Errors
/// What the repository reports.
///
/// # Panics
/// Where pages are given that the backup does not have.
pub async fn contents(repo: &Repository, info: &BackupInfo) -> Result<Vec<u8>, RepoError> {
    let manifest = repo.manifest(info).await?;
    let image = Arc::new(Mutex::new(vec![0xEE; info.meta.byte_len as usize]));
    let target = Arc::clone(&image);
    let page = info.meta.page_size as usize;
    let give = move |restored: Restored| {
        let mut image = target.lock().unwrap();
        let (range, bytes) = match &restored {
            Restored::Pages(run) => (run.range(), run.bytes().to_vec()),
            Restored::Zeros(range) => (*range, vec![0; range.len() as usize * page]),
        };
        let start = range.first().index() as usize * page;
        // A last page may be longer than what is left of the file.
        let end = image.len().min(start + bytes.len());
        image[start..end].copy_from_slice(&bytes[..end - start]);
        Ok(())
    };
    let options = RestoreOptions { jobs: 1, ..RestoreOptions::default() };
    repo.restore(&manifest, &options, Arc::new(give)).await?;
    let image = image.lock().unwrap().clone();
    Ok(image)
}
