//! A small repository in memory: two sources, full and incremental backups, one forgotten, and what each of them holds.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use mantis_page::{PageNo, PageRange, PageRun, PageSize};
use mantis_repo::{
    BackupInfo, BackupMeta, BackupWriter, Purpose, RepoError, Repository, RestoreOptions, Restored,
    Session, UnixMillis, WriteOptions,
};
use mantis_sink::{MemorySink, ObjectKey, Sink, Span};
use mantis_stream::Compression;
use tokio::runtime::Runtime;

pub(crate) const SIZE: PageSize = PageSize::MIN;
/// More than any object of the template has.
pub(crate) const MAX_OBJECT: u64 = 1 << 24;

/// What asynchronous work of targets runs on.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
});

/// The objects of the repository, and the contents of its backups by id.
pub(crate) struct Template {
    pub(crate) objects: BTreeMap<ObjectKey, Bytes>,
    pub(crate) held: BTreeMap<String, Vec<u8>>,
}

pub(crate) static TEMPLATE: LazyLock<Template> = LazyLock::new(|| {
    // It may be wanted first by somebody who is in the runtime already.
    let made = std::thread::spawn(|| RUNTIME.block_on(make()));
    made.join().unwrap().unwrap()
});

fn meta(source: &str, at: i64, bytes: &[u8]) -> BackupMeta {
    BackupMeta {
        source: source.into(),
        engine: "test".into(),
        object: "/some/where".into(),
        lsn: 7,
        timeline: String::new(),
        way: "closed".into(),
        created_at: UnixMillis(at),
        tags: BTreeMap::new(),
        page_size: SIZE.get(),
        page_count: SIZE.pages_for(bytes.len() as u64),
        byte_len: bytes.len() as u64,
    }
}

/// A backup of these bytes, built on the newest one of its source.
pub(crate) async fn back_up(
    repo: &Repository,
    entropy: [u8; 32],
    (source, at): (&str, i64),
    bytes: &[u8],
) -> Result<BackupInfo, RepoError> {
    let session = Session::begin(repo, Purpose::Backup, entropy, "fuzz", UnixMillis(at)).await?;
    let parent = session.parent(source).await?;
    let options = WriteOptions { compression: Compression::Zstd(1), ..WriteOptions::default() };
    let writer = BackupWriter::new(session, meta(source, at, bytes), parent, options);
    let mut writer = match writer {
        Ok(writer) => writer,
        Err(refused) => {
            let (session, error) = *refused;
            session.abandon().await;
            return Err(error);
        }
    };
    let written = async {
        let pages = SIZE.pages_for(bytes.len() as u64);
        let Some(all) = PageRange::new(PageNo::FIRST, pages) else { return writer.flush().await };
        let run = PageRun::new(all.first(), SIZE, Bytes::copy_from_slice(bytes)).unwrap();
        writer.push(run).await?;
        writer.flush().await
    };
    match written.await {
        Ok(()) => writer.commit(5, None).await,
        Err(error) => {
            writer.abandon().await;
            Err(error)
        }
    }
}

/// The bytes that a backup restores to; as far as they are below `limit`.
pub(crate) async fn contents(
    repo: &Repository,
    info: &BackupInfo,
    limit: usize,
) -> Result<Vec<u8>, RepoError> {
    let manifest = repo.manifest(info).await?;
    let len = usize::try_from(info.meta.byte_len).unwrap_or(limit).min(limit);
    let image = Arc::new(Mutex::new(vec![0xEE; len]));
    let target = Arc::clone(&image);
    let page = info.meta.page_size as usize;
    let give = move |restored: Restored| {
        let mut image = target.lock().unwrap();
        let range = match &restored {
            Restored::Pages(run) => run.range(),
            Restored::Zeros(range) => *range,
        };
        let start = range.first().index().saturating_mul(page as u64);
        let Ok(start) = usize::try_from(start) else { return Ok(()) };
        if start >= image.len() {
            return Ok(());
        }
        let whole = usize::try_from(range.len()).unwrap_or(limit).saturating_mul(page);
        let end = image.len().min(start.saturating_add(whole));
        match &restored {
            Restored::Pages(run) => image[start..end].copy_from_slice(&run.bytes()[..end - start]),
            Restored::Zeros(_) => image[start..end].fill(0),
        }
        Ok(())
    };
    let options = RestoreOptions { jobs: 1, ..RestoreOptions::default() };
    repo.restore(&manifest, &options, Arc::new(give)).await?;
    let image = image.lock().unwrap().clone();
    Ok(image)
}

/// Pages some of which are zeros, some compress and some do not.
pub(crate) fn pages(seed: u8, count: usize) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::new();
    for page in 0..count {
        for word in 0..SIZE.bytes() / 8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(word as u64);
            let word = match (page + usize::from(seed)) % 3 {
                0 => 0,
                1 => page as u64,
                _ => state,
            };
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    bytes
}

/// The template's repository, in a store of its own.
pub(crate) async fn open_template() -> Result<Repository, RepoError> {
    let sink = MemorySink::new();
    TEMPLATE.objects.iter().for_each(|(key, bytes)| sink.replace(key, bytes.clone()));
    Repository::open(Arc::new(sink), None).await
}

/// Everything in a store.
pub(crate) async fn objects(sink: &MemorySink) -> BTreeMap<ObjectKey, Bytes> {
    let mut objects = BTreeMap::new();
    for info in sink.list("").await.unwrap() {
        let bytes = sink.get(&info.key, Span::Whole { limit: MAX_OBJECT }).await.unwrap();
        objects.insert(info.key, bytes);
    }
    objects
}

async fn make() -> Result<Template, RepoError> {
    let sink = MemorySink::new();
    let repo = Repository::init(Arc::new(sink.clone()), [1; 32], UnixMillis(1), None).await?;
    let mut held = BTreeMap::new();
    let mut bytes = pages(1, 40);
    for (number, source) in [(2u8, "a"), (3, "a"), (4, "b"), (5, "a")] {
        let page = SIZE.bytes() * usize::from(number);
        bytes[page..page + SIZE.bytes()].fill(number);
        let info = back_up(&repo, [number; 32], (source, number.into()), &bytes).await?;
        held.insert(info.id.to_string(), bytes.clone());
        if number == 3 {
            bytes.truncate(SIZE.bytes() * 30);
        }
    }
    let catalogue = repo.catalogue().await?;
    let first = catalogue.backups.first().unwrap();
    repo.forget(&catalogue, &[first.id], [6; 32], UnixMillis(6)).await?;
    held.remove(&first.id.to_string());
    Ok(Template { objects: objects(&sink).await, held })
}
