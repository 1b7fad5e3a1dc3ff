//! Indexes kept on the local disk: asked for once, believed never.

use std::path::Path;
use std::sync::Arc;

use mantis_page::PageNo;
use mantis_repo::{IndexCache, Repository, UnixMillis, VerifyOptions};
use mantis_sink::{Call, MemorySink, RecordingSink};
use mantis_stream::Compression;

use crate::world::{SIZE, backup, content, incremental, meta, plain, restore, touch};

struct Far {
    memory: MemorySink,
    calls: RecordingSink,
    folder: tempfile::TempDir,
}

impl Far {
    fn new() -> Self {
        let memory = MemorySink::new();
        let calls = RecordingSink::new(Arc::new(memory.clone()));
        Self { memory, calls, folder: tempfile::tempdir().unwrap() }
    }

    async fn open(&self) -> Repository {
        let repo = Repository::open(Arc::new(self.calls.clone()), None).await.unwrap();
        let _ = self.calls.take();
        repo.with_cache(IndexCache::new(self.folder.path(), IndexCache::USUAL_LIMIT))
    }

    /// The folders of the objects that were read since the last time, but for the parameters.
    fn read(&self) -> Vec<String> {
        let gets = self.calls.take().into_iter().filter_map(|call| match call {
            Call::Get(key) => key.as_str().split_once('/').map(|(folder, _)| folder.to_owned()),
            _ => None,
        });
        gets.collect()
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

async fn filled(far: &Far) -> (Repository, Vec<u8>) {
    let init = Repository::init(Arc::new(far.memory.clone()), [1; 32], UnixMillis(1), None);
    let repo = init.await.unwrap();
    let mut bytes = content(1, 600);
    backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::Lz4)).await.unwrap();
    for entropy in 3..6 {
        touch(&mut bytes, u64::from(entropy), entropy);
        let meta = meta("a", i64::from(entropy), &bytes);
        incremental(&repo, entropy, meta, &bytes, None).await.unwrap();
    }
    (repo, bytes)
}

#[test]
fn what_never_changes_is_read_once() {
    let (runtime, far) = (tokio::runtime::Runtime::new().unwrap(), Far::new());
    runtime.block_on(async {
        let (_, mut bytes) = filled(&far).await;
        let first = far.open().await.catalogue().await.unwrap();
        assert_eq!(far.read().len(), 8, "an outcome and a manifest of each");
        let again = far.open().await;
        let second = again.catalogue().await.unwrap();
        assert_eq!((far.read(), &second.backups), (vec![], &first.backups));
        // A scan for what changed reads no index a second time, and makes what it makes without a cache.
        touch(&mut bytes, 9, 9);
        incremental(&again, 9, meta("a", 9, &bytes), &bytes, None).await.unwrap();
        assert!(far.read().contains(&"seg".to_owned()));
        touch(&mut bytes, 10, 10);
        let last = incremental(&again, 10, meta("a", 10, &bytes), &bytes, None).await.unwrap();
        let read = far.read();
        let indexes = read.iter().filter(|folder| *folder == "seg").count();
        assert_eq!(
            (indexes, last.pages_changed),
            (1, 1),
            "that of the backup in between: {read:?}"
        );
        assert!(restore(&far.open().await, &last).await.unwrap() == bytes);
    });
}

#[test]
fn a_damaged_or_lost_entry_is_read_from_the_store_again() {
    let (runtime, far) = (tokio::runtime::Runtime::new().unwrap(), Far::new());
    runtime.block_on(async {
        let (_, bytes) = filled(&far).await;
        let first = far.open().await.catalogue().await.unwrap();
        let kept = files(far.folder.path());
        assert_eq!(kept.len(), 8);
        for (at, file) in kept.iter().enumerate() {
            let mut spoiled = std::fs::read(file).unwrap();
            match at % 3 {
                0 => spoiled.iter_mut().for_each(|byte| *byte ^= 1),
                1 => spoiled.truncate(10),
                _ => spoiled = std::fs::read(&kept[(at + 1) % kept.len()]).unwrap(),
            }
            std::fs::write(file, spoiled).unwrap();
        }
        let repo = far.open().await;
        let again = repo.catalogue().await.unwrap();
        assert_eq!((far.read().len(), &again.backups), (8, &first.backups));
        assert!(restore(&repo, again.backups.last().unwrap()).await.unwrap() == bytes);
        std::fs::remove_dir_all(far.folder.path()).unwrap();
        assert_eq!(far.open().await.catalogue().await.unwrap().backups, first.backups);
    });
}

#[test]
fn a_page_is_fetched_once_whoever_looks_again() {
    let (runtime, far) = (tokio::runtime::Runtime::new().unwrap(), Far::new());
    runtime.block_on(async {
        let (repo, bytes) = filled(&far).await;
        let newest = repo.catalogue().await.unwrap().backups.last().unwrap().clone();
        let look = async |repo: &Repository| {
            let reader = repo.page_reader(&newest, 1 << 20).await.unwrap();
            for index in [500, 3, 311] {
                let page = reader.page(PageNo::from_index(index).unwrap()).await.unwrap();
                let at = index as usize * SIZE.bytes();
                assert!(page == bytes[at..at + SIZE.bytes()], "page {index}");
            }
            reader.fetched()
        };
        let first = look(&far.open().await).await;
        assert!(first.requests > 0 && first.bytes > 0 && first.pages > 0);
        assert!(far.read().contains(&"seg".to_owned()));
        let again = look(&far.open().await).await;
        assert_eq!((far.read(), again.requests, again.bytes), (vec![], 0, 0));
        assert_eq!(again.pages, first.pages);
        // Beside the indexes, and believed as little.
        let kept = files(&far.folder.path().join("pages"));
        assert!(!kept.is_empty());
        for file in kept {
            let mut spoiled = std::fs::read(&file).unwrap();
            *spoiled.last_mut().unwrap() ^= 1;
            std::fs::write(file, spoiled).unwrap();
        }
        let third = look(&far.open().await).await;
        assert!(third.requests > 0 && far.read().iter().all(|folder| folder == "seg"));
    });
}

#[test]
fn what_is_verified_is_what_the_store_holds() {
    let (runtime, far) = (tokio::runtime::Runtime::new().unwrap(), Far::new());
    runtime.block_on(async {
        let (repo, bytes) = filled(&far).await;
        let cached = far.open().await;
        let backups = cached.catalogue().await.unwrap().backups;
        assert!(cached.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
        let manifest = far.calls.take().into_iter().find_map(|call| match call {
            Call::Get(key) if key.as_str().starts_with("man/") => Some(key),
            _ => None,
        });
        far.memory.replace(&manifest.unwrap(), b"damaged".to_vec().into());
        assert_eq!(cached.catalogue().await.unwrap().backups, backups);
        for repo in [&repo, &cached] {
            let report = repo.verify(&[], &VerifyOptions::default()).await.unwrap();
            assert_eq!(report.damaged.len(), 1);
        }
        // What the store lost, the copy here still restores.
        assert!(restore(&cached, backups.last().unwrap()).await.unwrap() == bytes);
    });
}
