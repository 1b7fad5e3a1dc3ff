//! A repository in which small backups end while another one sends its segment.

use std::collections::BTreeMap;

use mantis_page::PageRun;
use mantis_sink::{FaultSink, MemorySink, Sink};

use super::*;
use crate::{
    BackupInfo, BackupMeta, BackupWriter, NewKey, PruneOptions, Purpose, Repository,
    RestoreOptions, Restored, UnixMillis, VerifyOptions, WriteOptions,
};

pub(super) const SIZE: PageSize = PageSize::MIN;
pub(super) const LATE: UnixMillis = UnixMillis(1 << 40);

pub(super) struct World {
    pub(super) store: MemorySink,
    pub(super) sink: FaultSink,
    pub(super) repo: Repository,
    pub(super) sessions: u8,
}

pub(super) type Storing = tokio::task::JoinHandle<(BackupWriter, Result<(), RepoError>)>;

/// A backup that there is to be, and what it must hold.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

pub(super) fn source(number: u8, pages: u8) -> Source {
    let page = |page: u8| [number.wrapping_mul(31).wrapping_add(page) | 1; SIZE.bytes()];
    Source { name: format!("source-{number}"), bytes: (0..pages).flat_map(page).collect() }
}

/// Sources of different lengths.
pub(super) fn sources(count: u8) -> Vec<Source> {
    (0..count).map(|number| source(number, 1 + number % 5)).collect()
}

pub(super) fn touch(source: &mut Source, page: usize, with: u8) {
    source.bytes[page * SIZE.bytes()..][..SIZE.bytes()].fill(with);
}

pub(super) async fn new_world() -> World {
    world_with(None).await
}

pub(super) async fn world_with(key: Option<NewKey>) -> World {
    let store = MemorySink::new();
    let sink = FaultSink::new(Arc::new(store.clone()));
    let init = Repository::init(Arc::new(sink.clone()), [1; 32], UnixMillis(1), key);
    World { store, sink, repo: init.await.unwrap(), sessions: 1 }
}

impl World {
    /// A writer that was given all pages and is to store them.
    pub(super) async fn writer(&mut self, source: &Source) -> BackupWriter {
        self.sessions += 1;
        let (entropy, at) = ([self.sessions; 32], UnixMillis(self.sessions.into()));
        let session = Session::begin(&self.repo, Purpose::Backup, entropy, "test", at);
        let session = session.await.unwrap();
        let parent = session.parent(&source.name).await.unwrap();
        let meta = BackupMeta {
            source: source.name.clone(),
            engine: "test".into(),
            object: "/some/where".into(),
            lsn: 7,
            timeline: String::new(),
            way: "closed".into(),
            created_at: at,
            tags: BTreeMap::new(),
            page_size: SIZE.get(),
            page_count: SIZE.pages_for(source.bytes.len() as u64),
            byte_len: source.bytes.len() as u64,
        };
        let mut writer = BackupWriter::new(session, meta, parent, WriteOptions::default()).unwrap();
        let run = PageRun::new(PageNo::FIRST, SIZE, source.bytes.clone().into()).unwrap();
        writer.push(run).await.unwrap();
        writer
    }

    /// Has all of them store their pages while nothing is taken: from the second on they wait for the first one's segment, in their order.
    pub(super) async fn start(&mut self, sources: &[Source]) -> Vec<Storing> {
        let mut writers = Vec::new();
        for source in sources {
            writers.push(self.writer(source).await);
        }
        self.sink.stall();
        let mut running = Vec::new();
        for (mut writer, before) in writers.into_iter().zip(0usize..) {
            running.push(tokio::spawn(async move {
                let flushed = writer.flush().await;
                (writer, flushed)
            }));
            let shared = &self.repo.together().segments;
            while shared.sending.try_lock().is_ok() || shared.queue().waiting.len() != before {
                tokio::task::yield_now().await;
            }
        }
        running
    }

    /// Has them store their pages.
    pub(super) async fn flush(
        &mut self,
        sources: &[Source],
    ) -> Vec<(BackupWriter, Result<(), RepoError>)> {
        let running = self.start(sources).await;
        self.sink.go_on();
        let mut flushed = Vec::new();
        for one in running {
            flushed.push(one.await.unwrap());
        }
        flushed
    }

    /// Backs up all of them, at once.
    pub(super) async fn backup(&mut self, sources: &[Source]) -> Vec<BackupInfo> {
        let mut made = Vec::new();
        for (writer, flushed) in self.flush(sources).await {
            flushed.unwrap();
            made.push(writer.commit(1, None).await.unwrap());
        }
        made
    }

    pub(super) async fn segments(&self) -> usize {
        self.store.list(Place::SEGMENTS).await.unwrap().len()
    }

    pub(super) async fn check(&self, sources: &[Source], made: &[BackupInfo]) {
        assert_eq!(sources.len(), made.len());
        for (source, info) in sources.iter().zip(made) {
            assert_eq!(restored(&self.repo, info).await, source.bytes, "{}", source.name);
            let reader = self.repo.page_reader(info, 1 << 20).await.unwrap();
            for (page, bytes) in (1..).zip(source.bytes.chunks(SIZE.bytes())) {
                assert_eq!(reader.page(PageNo::new(page).unwrap()).await.unwrap(), bytes);
            }
        }
        let verified = self.repo.verify(&[], &VerifyOptions::default()).await.unwrap();
        assert!(verified.damaged.is_empty(), "{:?}", verified.damaged);
    }

    pub(super) async fn forget(&mut self, gone: &[&BackupInfo]) {
        let catalogue = self.repo.catalogue().await.unwrap();
        let ids: Vec<_> = gone.iter().map(|info| info.id).collect();
        self.sessions += 1;
        let entropy = [self.sessions; 32];
        self.repo.forget(&catalogue, &ids, entropy, UnixMillis(1)).await.unwrap();
    }

    pub(super) async fn prune(&mut self) {
        self.prune_with(0).await;
    }

    pub(super) async fn prune_with(&mut self, grace_ms: u64) {
        for _ in 0..3 {
            self.sessions += 1;
            let options = PruneOptions { grace_ms, dry_run: false, exclusive: false };
            self.repo.prune(options, [self.sessions; 32], LATE).await.unwrap();
        }
    }
}

pub(super) async fn restored(repo: &Repository, info: &BackupInfo) -> Vec<u8> {
    let manifest = repo.manifest(info).await.unwrap();
    let image = Arc::new(Mutex::new(vec![0xEE; info.meta.byte_len as usize]));
    let target = Arc::clone(&image);
    let give = move |restored: Restored| {
        let (range, bytes) = match &restored {
            Restored::Pages(run) => (run.range(), run.bytes().to_vec()),
            Restored::Zeros(range) => (*range, vec![0; range.len() as usize * SIZE.bytes()]),
        };
        let start = range.first().index() as usize * SIZE.bytes();
        target.lock().unwrap()[start..start + bytes.len()].copy_from_slice(&bytes);
        Ok(())
    };
    repo.restore(&manifest, &RestoreOptions::default(), Arc::new(give)).await.unwrap();
    image.lock().unwrap().clone()
}
