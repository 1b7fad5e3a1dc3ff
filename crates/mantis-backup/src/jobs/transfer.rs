//! A backup out of the repository as one file, and back into one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use mantis_engine::RestoreFile;
use mantis_page::{PageNo, PageRange, PageRun, PageSize};
use mantis_repo::{
    ArchiveSink, BackupInfo, BackupWriter, Credential, Out, Parent, Purpose, RepoError, Repository,
    RestoreOptions, Restored as Pages, Session, WriteOptions,
};
use mantis_sink::Sink;
use mantis_snapshot::{Geometry, PageTarget};

use super::clean_up::clean_up;
use crate::system::open_in;
use crate::{Error, clock};

/// Bytes read from the restored copy at once.
const BATCH_LEN: usize = 1 << 20;

fn io_error(doing: &str, path: &Path, error: io::Error) -> Error {
    let help = match error.kind() {
        io::ErrorKind::AlreadyExists => Some("choose another name; nothing is overwritten"),
        io::ErrorKind::StorageFull => Some("free some space, or write elsewhere"),
        _ => None,
    };
    Error::Other {
        doing: format!("{doing} {}", path.display()),
        source: error.into(),
        help: help.map(str::to_owned),
    }
}

/// Writes a backup to a new file: under a temporary name first, synced, renamed without replacing anything, its
/// folder synced. A crash before the rename leaves the temporary file, after it the whole one.
///
/// # Errors
/// What keeps it from being written; then nothing is left of it.
pub async fn export_to_file(
    repo: &Repository,
    backup: &BackupInfo,
    path: &Path,
) -> Result<u64, Error> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(io_error("write", path, io::ErrorKind::AlreadyExists.into()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new()
        .prefix(".mantis-export-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(|error| io_error("make a file beside", path, error))?;
    let out = temporary.reopen().map_err(|error| io_error("write", path, error))?;
    let (_, len) = repo.export(backup, Box::new(out)).await?;
    let synced = temporary.as_file().sync_all();
    synced.map_err(|error| io_error("sync", path, error))?;
    temporary.persist_noclobber(path).map_err(|error| io_error("write", path, error.error))?;
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| io_error("sync the folder of", path, error))?;
    Ok(len)
}

/// Writes a backup to a stream.
///
/// # Errors
/// What keeps it from being written.
pub async fn export_to(repo: &Repository, backup: &BackupInfo, out: Out) -> Result<u64, Error> {
    Ok(repo.export(backup, out).await?.1)
}

/// An exported backup, to be imported.
#[derive(Debug)]
pub struct ImportJob {
    /// Where to.
    pub repo: Repository,
    /// What people know the file by.
    pub name: String,
    /// The file, readable and at its beginning.
    pub file: File,
    /// What opens the file, where it is encrypted: the first that does.
    pub credentials: Vec<Credential>,
    /// Where the backup is restored to on its way; the system's temporary folder without it.
    pub temp_folder: Option<PathBuf>,
    /// How it is written.
    pub write: WriteOptions,
}

/// Brings an exported backup into a repository, as a backup of its own, of the source and the moment that it was
/// made of. Every page is proved before the first one is stored.
///
/// # Errors
/// What is wrong with the file, or keeps the backup from being stored; nothing of it is left then.
pub async fn import(job: ImportJob) -> Result<BackupInfo, Error> {
    let name = job.name.clone();
    let file = job.file;
    let opened = tokio::task::spawn_blocking(move || ArchiveSink::open(&name, file)).await;
    let sink: Arc<dyn Sink> =
        Arc::new(opened.map_err(|error| Error::io("read the file", io::Error::other(error)))??);
    let encrypted = Repository::is_encrypted_at(&*sink).await?;
    let credentials = if encrypted { &job.credentials[..] } else { &[] };
    let archive = open_in(sink, credentials).await?;
    let catalogue = archive.catalogue().await?;
    let [backup] = &catalogue.backups[..] else {
        let what = format!("it holds {} readable backups, not one", catalogue.backups.len());
        return Err(RepoError::Damaged { object: job.name, what }.into());
    };
    convey(&archive, backup, &job.repo, job.temp_folder.as_deref(), job.write).await
}

/// Brings a backup from one repository into another one, as a backup of its own, of the source and the moment that it
/// was made of: decoded, proved and stored anew.
pub(crate) async fn convey(
    from: &Repository,
    backup: &BackupInfo,
    to: &Repository,
    temp_folder: Option<&Path>,
    write: WriteOptions,
) -> Result<BackupInfo, Error> {
    let started = Instant::now();
    let folder = match temp_folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(|error| Error::io("make a temporary folder", error))?;
    let copy = folder.path().join("pages");
    restore_copy(from, backup, &copy).await?;
    let owner = clock::owner();
    let session =
        Session::begin(to, Purpose::Backup, clock::entropy()?, &owner, clock::now()).await?;
    let parent = match session.parent(&backup.meta.source).await {
        Ok(parent) => parent.filter(|parent| parent.info().meta.page_size == backup.meta.page_size),
        Err(error) => {
            clean_up(session.abandon()).await;
            return Err(error.into());
        }
    };
    store(session, backup, parent, &copy, write, started).await
}

async fn restore_copy(archive: &Repository, backup: &BackupInfo, copy: &Path) -> Result<(), Error> {
    let manifest = archive.manifest(backup).await?;
    let meta = &backup.meta;
    let page_size = PageSize::new(meta.page_size.into())
        .map_err(|error| RepoError::WrongPages { what: error.to_string() })?;
    let geometry = Geometry { page_size, page_count: meta.page_count, byte_len: meta.byte_len };
    let target = Arc::new(RestoreFile::create(copy, geometry, false)?);
    let writing = Arc::clone(&target);
    let give = move |pages: Pages| match pages {
        Pages::Pages(run) => writing.write_run(&run).map_err(Into::into),
        Pages::Zeros(range) => writing.write_zeros(range).map_err(Into::into),
    };
    archive.restore(&manifest, &RestoreOptions::default(), Arc::new(give)).await?;
    let target = super::restore::unshare(target)?;
    Ok(Box::new(target).finish()?)
}

async fn store(
    session: Session,
    backup: &BackupInfo,
    parent: Option<Parent>,
    copy: &Path,
    options: WriteOptions,
    started: Instant,
) -> Result<BackupInfo, Error> {
    let mut writer = match BackupWriter::new(session, backup.meta.clone(), parent, options) {
        Ok(writer) => writer,
        Err(failed) => {
            let (session, error) = *failed;
            clean_up(session.abandon()).await;
            return Err(error.into());
        }
    };
    match push_file(&mut writer, backup, copy).await {
        Ok(()) => {
            let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            Ok(writer.commit(elapsed, None).await?)
        }
        Err(error) => {
            clean_up(writer.abandon()).await;
            Err(error)
        }
    }
}

async fn push_file(
    writer: &mut BackupWriter,
    backup: &BackupInfo,
    copy: &Path,
) -> Result<(), Error> {
    let failed = |error| io_error("read", copy, error);
    let file = Arc::new(File::open(copy).map_err(failed)?);
    let size = PageSize::new(backup.meta.page_size.into())
        .map_err(|error| RepoError::WrongPages { what: error.to_string() })?;
    let per_batch = (BATCH_LEN / size.bytes()).max(1) as u64;
    let all = PageRange::new(PageNo::FIRST, backup.meta.page_count);
    for range in all.into_iter().flat_map(|all| all.split(per_batch)) {
        let file = Arc::clone(&file);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; range.len() as usize * size.bytes()];
            let offset = size.offset_of(range.first()).unwrap_or(u64::MAX);
            mantis_cow::LiveFile::read_at(&*file, offset, &mut bytes).map(|()| bytes)
        });
        let bytes = read.await.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)?;
        let run = PageRun::new(range.first(), size, bytes.into())
            .map_err(|error| RepoError::WrongPages { what: error.to_string() })?;
        writer.push(run).await?;
    }
    Ok(writer.flush().await?)
}
