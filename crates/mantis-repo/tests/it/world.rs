//! What the tests share: made-up pages, and backups of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mantis_page::{PageNo, PageRange, PageRun, PageSet, PageSize};
use mantis_repo::{
    BackupInfo, BackupMeta, BackupWriter, Give, Parent, Purpose, RepoError, Repository,
    RestoreOptions, Restored, Session, UnixMillis, WriteOptions,
};
use mantis_sink::{MemorySink, Sink};
use mantis_stream::Compression;
use tokio::runtime::Runtime;

pub(crate) const SIZE: PageSize = PageSize::MIN;

/// Pages of which some are zeros, some compress and some do not.
pub(crate) fn content(seed: u64, pages: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::new();
    for page in 0..pages {
        let kind = (page / 3 + seed) % 4;
        for _ in 0..SIZE.bytes() / 8 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let word = match kind {
                0 => 0,
                1 => page,
                _ => state,
            };
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    bytes
}

pub(crate) fn meta(source: &str, created_at: i64, bytes: &[u8]) -> BackupMeta {
    BackupMeta {
        source: source.into(),
        engine: "test".into(),
        object: "/some/where".into(),
        lsn: 7,
        timeline: String::new(),
        way: "closed".into(),
        created_at: UnixMillis(created_at),
        tags: BTreeMap::from([("type".into(), "test".into())]),
        page_size: SIZE.get(),
        page_count: SIZE.pages_for(bytes.len() as u64),
        byte_len: bytes.len() as u64,
    }
}

pub(crate) async fn write(
    writer: &mut BackupWriter,
    bytes: &[u8],
    batch: u64,
) -> Result<(), RepoError> {
    for run in runs(bytes, batch) {
        writer.push(run).await?;
    }
    writer.flush().await
}

/// All pages, so many at a time.
pub(crate) fn runs(bytes: &[u8], batch: u64) -> impl Iterator<Item = PageRun> {
    let all = PageRange::new(PageNo::FIRST, SIZE.pages_for(bytes.len() as u64));
    let ranges = all.into_iter().flat_map(move |all| all.split(batch));
    ranges.map(|range| {
        let start = range.first().index() as usize * SIZE.bytes();
        let piece = &bytes[start..start + range.len() as usize * SIZE.bytes()];
        PageRun::new(range.first(), SIZE, Bytes::copy_from_slice(piece)).unwrap()
    })
}

pub(crate) async fn backup(
    repo: &Repository,
    entropy: u8,
    meta: BackupMeta,
    bytes: &[u8],
    options: WriteOptions,
) -> Result<BackupInfo, RepoError> {
    backup_by(repo, [entropy; 32], meta, bytes, options).await
}

/// As [`backup`], of a session that more than 256 can tell apart.
pub(crate) async fn backup_by(
    repo: &Repository,
    entropy: [u8; 32],
    meta: BackupMeta,
    bytes: &[u8],
    options: WriteOptions,
) -> Result<BackupInfo, RepoError> {
    let session = Session::begin(repo, Purpose::Backup, entropy, "test", UnixMillis(0)).await?;
    let mut writer = BackupWriter::new(session, meta, None, options).map_err(|failed| failed.1)?;
    let written = write(&mut writer, bytes, 300).await;
    end(writer, written, Some(b"token")).await
}

/// Commits what was written as a whole; what was not is given up.
pub(crate) async fn end(
    writer: BackupWriter,
    written: Result<(), RepoError>,
    token: Option<&[u8]>,
) -> Result<BackupInfo, RepoError> {
    match written {
        Ok(()) => writer.commit(5, token).await,
        Err(error) => {
            writer.abandon().await;
            Err(error)
        }
    }
}

/// What no page was given for, in an image.
pub(crate) const NOTHING: u8 = 0xEE;

/// An image of a backup's database, and what puts pages into it.
pub(crate) fn image_of(info: &BackupInfo) -> (Arc<Mutex<Vec<u8>>>, Arc<Give>) {
    let image = Arc::new(Mutex::new(vec![NOTHING; info.meta.byte_len as usize]));
    let target = Arc::clone(&image);
    let give = move |restored: Restored| {
        let mut image = target.lock().unwrap();
        let (range, bytes) = match &restored {
            Restored::Pages(run) => (run.range(), run.bytes().to_vec()),
            Restored::Zeros(range) => (*range, vec![0; range.len() as usize * SIZE.bytes()]),
        };
        let start = range.first().index() as usize * SIZE.bytes();
        image[start..start + bytes.len()].copy_from_slice(&bytes);
        Ok(())
    };
    (image, Arc::new(give))
}

pub(crate) async fn restore(repo: &Repository, info: &BackupInfo) -> Result<Vec<u8>, RepoError> {
    let manifest = repo.manifest(info).await?;
    let (image, give) = image_of(info);
    let options = RestoreOptions { rewrites: true, ..RestoreOptions::default() };
    repo.restore(&manifest, &options, give).await?;
    let image = image.lock().unwrap().clone();
    Ok(image)
}

pub(crate) fn plain(compression: Compression) -> WriteOptions {
    WriteOptions { compression, ..WriteOptions::default() }
}

pub(crate) fn in_memory() -> (Runtime, MemorySink, Repository) {
    let runtime = Runtime::new().unwrap();
    let sink = MemorySink::new();
    let init = Repository::init(Arc::new(sink.clone()), [1; 32], UnixMillis(1), None);
    let repo = runtime.block_on(init).unwrap();
    (runtime, sink, repo)
}

/// What opens the encrypted repositories that are made here.
#[cfg(feature = "encryption")]
pub(crate) fn secret() -> mantis_repo::Password {
    mantis_repo::Password::new("secret".into())
}

/// A new repository, encrypted or not.
#[cfg(feature = "encryption")]
pub(crate) async fn make(encrypted: bool) -> (MemorySink, Repository) {
    let sink = MemorySink::new();
    let lock = mantis_repo::KeyLock::Password(secret());
    let key = encrypted.then(|| mantis_repo::NewKey { lock, label: String::new() });
    let init = Repository::init(Arc::new(sink.clone()), [1; 32], UnixMillis(1), key);
    let repo = init.await.unwrap();
    (sink, repo)
}

/// How many objects are in a folder.
pub(crate) async fn count(sink: &MemorySink, folder: &str) -> usize {
    sink.list(folder).await.unwrap().len()
}

/// A backup built on the newest one of its source; with `changed`, only those pages are given.
pub(crate) async fn incremental(
    repo: &Repository,
    entropy: u8,
    meta: BackupMeta,
    bytes: &[u8],
    changed: Option<&PageSet>,
) -> Result<BackupInfo, RepoError> {
    incremental_by(repo, [entropy; 32], meta, bytes, changed).await
}

/// As [`incremental`], of a session that more than 256 can tell apart.
pub(crate) async fn incremental_by(
    repo: &Repository,
    entropy: [u8; 32],
    meta: BackupMeta,
    bytes: &[u8],
    changed: Option<&PageSet>,
) -> Result<BackupInfo, RepoError> {
    let at = meta.created_at;
    let session = Session::begin(repo, Purpose::Backup, entropy, "test", at).await?;
    let parent = session.parent(&meta.source).await?;
    let mut sparse = changed.cloned().filter(|_| parent.is_some());
    let parent = match &mut sparse {
        Some(changed) => parent.map(|parent| parent.sparse(changed)),
        None => parent,
    };
    let count = meta.page_count;
    let sparse: Option<PageSet> =
        sparse.map(|changed| changed.pages().filter(|page| page.get() <= count).collect());
    let mut writer = new_writer(session, meta, parent)?;
    let written = match &sparse {
        None => write(&mut writer, bytes, 300).await,
        Some(changed) => write_changed(&mut writer, bytes, changed).await,
    };
    end(writer, written, None).await
}

fn new_writer(
    session: Session,
    meta: BackupMeta,
    parent: Option<Parent>,
) -> Result<BackupWriter, RepoError> {
    BackupWriter::new(session, meta, parent, plain(Compression::Zstd(1))).map_err(|failed| failed.1)
}

async fn write_changed(
    writer: &mut BackupWriter,
    bytes: &[u8],
    changed: &PageSet,
) -> Result<(), RepoError> {
    for range in changed.ranges() {
        let start = range.first().index() as usize * SIZE.bytes();
        let piece = &bytes[start..start + range.len() as usize * SIZE.bytes()];
        let run = PageRun::new(range.first(), SIZE, Bytes::copy_from_slice(piece)).unwrap();
        writer.push(run).await?;
    }
    writer.flush().await
}

/// Changes a page.
pub(crate) fn touch(bytes: &mut [u8], page: u64, with: u8) {
    let at = page as usize * SIZE.bytes();
    bytes[at..at + SIZE.bytes()].fill(with);
}
