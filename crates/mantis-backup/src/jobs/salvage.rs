//! What can still be read of a damaged backup, to a file.

use std::path::Path;
use std::sync::Arc;

use mantis_engine::RestoreFile;
use mantis_page::{PageNo, PageRange, PageSize};
use mantis_repo::{BackupInfo, RepoError, Repository, Restored as Pages, Salvaged};
use mantis_snapshot::{Geometry, PageTarget};

use crate::Error;

/// Writes every page that can be read, each proved, to a new file; what is lost is zeros there.
///
/// # Errors
/// What keeps the backup's manifest from being read, or the file from being written.
pub async fn salvage(
    repo: &Repository,
    backup: &BackupInfo,
    target: &Path,
) -> Result<Salvaged, Error> {
    let manifest = repo.manifest(backup).await?;
    let meta = &backup.meta;
    let page_size = PageSize::new(meta.page_size.into())
        .map_err(|error| RepoError::WrongPages { what: error.to_string() })?;
    let geometry = Geometry { page_size, page_count: meta.page_count, byte_len: meta.byte_len };
    let file = Arc::new(RestoreFile::create(target, geometry, false)?);
    // What a killed restore left there must not pass for what was salvaged.
    let all = PageRange::new(PageNo::FIRST, meta.page_count);
    all.map_or(Ok(()), |all| file.write_zeros(all))?;
    let writing = Arc::clone(&file);
    let give = move |pages: Pages| match pages {
        Pages::Pages(run) => writing.write_run(&run).map_err(Into::into),
        Pages::Zeros(_) => Ok(()),
    };
    let salvaged = repo.salvage(&manifest, Arc::new(give)).await?;
    Box::new(super::restore::unshare(file)?).finish()?;
    Ok(salvaged)
}
