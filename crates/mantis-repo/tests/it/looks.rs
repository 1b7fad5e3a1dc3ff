//! What one of many backups asks the store: no list of all backups each.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mantis_repo::{
    BackupInfo, BackupWriter, IndexCache, PruneOptions, Purpose, Repository, Session, UnixMillis,
};
use mantis_sink::{
    Call, Capabilities, LocalSink, MemorySink, ObjectInfo, ObjectKey, Payload, RecordingSink, Sink,
    SinkError, Span,
};
use mantis_stream::Compression;

use crate::world::{backup, content, meta, plain, restore, write};

const LONG: Duration = Duration::from_secs(3600);

fn lists(calls: &[Call], of: &str) -> usize {
    calls.iter().filter(|call| matches!(call, Call::List(folder) if folder == of)).count()
}

fn reads(calls: &[Call], of: &str) -> usize {
    let is_one = |call: &&Call| matches!(call, Call::Get(key) if key.as_str().starts_with(of));
    calls.iter().filter(is_one).count()
}

async fn begin(repo: &Repository, entropy: u8, owner: &str, looks: Duration) -> Session {
    let session = Session::begin(repo, Purpose::Backup, [entropy; 32], owner, UnixMillis(0));
    session.await.unwrap().with_looks_good_for(looks)
}

/// As a watch backs up a source.
async fn watched(repo: &Repository, entropy: u8, source: &str, looks: Duration) -> BackupInfo {
    let mut session = begin(repo, entropy, "here", looks).await;
    let parent = session.parent(source).await.unwrap();
    let after = parent.as_ref().map(|parent| parent.info().session);
    assert!(session.leftovers(after, |_| false).await.unwrap().is_empty());
    if parent.is_none() {
        session.others(source, 1).await.unwrap();
    }
    let bytes = content(u64::from(entropy), 40);
    let meta = meta(source, i64::from(entropy), &bytes);
    let mut writer = BackupWriter::new(session, meta, parent, plain(Compression::Zstd(1))).unwrap();
    write(&mut writer, &bytes, 300).await.unwrap();
    writer.commit(1, None).await.unwrap()
}

async fn two() -> (RecordingSink, Repository, Repository) {
    let store: Arc<dyn Sink> = Arc::new(MemorySink::new());
    Repository::init(Arc::clone(&store), [1; 32], UnixMillis(1), None).await.unwrap();
    let sink = RecordingSink::new(Arc::clone(&store));
    let one = Repository::open(Arc::new(sink.clone()), None).await.unwrap();
    (sink, one, Repository::open(store, None).await.unwrap())
}

#[tokio::test]
async fn first_backups_in_a_row_list_all_backups_once() {
    let (sink, here, _) = two().await;
    // Some are under way all the time.
    let _first = begin(&here, 1, "here", LONG).await;
    for (number, source) in (10..).zip(["a", "b", "c", "d", "e"]) {
        let made = watched(&here, number, source, LONG).await;
        assert!(made.parent.is_none());
    }
    let calls = sink.take();
    // The first session of all counts on from the largest.
    assert_eq!(lists(&calls, "out"), 1 + 1, "{calls:?}");
    assert_eq!(reads(&calls, "sess/"), 0, "its own are known to be under way");
    // Of the others that they are compared with.
    assert_eq!(lists(&calls, "gc"), 5, "{calls:?}");
    for (number, source) in (20..).zip(["a", "b", "c", "d", "e"]) {
        let made = watched(&here, number, source, LONG).await;
        assert!(made.parent.is_some());
    }
    let calls = sink.take();
    assert_eq!(lists(&calls, "out") + lists(&calls, "sess"), 0, "what was made here is known");
    watched(&here, 30, "f", Duration::ZERO).await;
    assert!(lists(&sink.take(), "out") > 0);
}

#[tokio::test]
async fn of_others_that_are_under_way_only_these_are_asked() {
    let (sink, here, there) = two().await;
    let others = [begin(&there, 1, "there", LONG).await, begin(&there, 2, "there", LONG).await];
    watched(&here, 10, "a", LONG).await;
    let _ = sink.take();
    watched(&here, 11, "b", LONG).await;
    let calls = sink.take();
    assert_eq!(lists(&calls, "out"), 0, "{calls:?}");
    assert_eq!(reads(&calls, "sess/"), others.len());
    for other in others {
        other.abandon().await;
    }
}

/// A store where others go on while one waits for its answer.
#[derive(Debug)]
struct Slow(RecordingSink);

#[async_trait]
impl Sink for Slow {
    fn location(&self) -> String {
        self.0.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn put_new(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError> {
        tokio::task::yield_now().await;
        self.0.put_new(key, payload).await
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        tokio::task::yield_now().await;
        let got = self.0.get(key, span).await;
        tokio::task::yield_now().await;
        got
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        tokio::task::yield_now().await;
        self.0.stat(key).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        tokio::task::yield_now().await;
        self.0.list(folder).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        tokio::task::yield_now().await;
        self.0.delete(key).await
    }
}

#[tokio::test]
async fn of_many_that_look_at_once_each_reads_only_what_no_other_one_reads() {
    let (sink, _, there) = two().await;
    for (number, source) in (50..).zip(["a", "b", "c", "d", "e", "f", "g", "h"]) {
        watched(&there, number, source, LONG).await;
    }
    let here = Repository::open(Arc::new(Slow(sink.clone())), None).await.unwrap();
    let _ = sink.take();
    let looks = (10..20).map(|number| {
        let here = here.clone();
        tokio::spawn(async move {
            let session = begin(&here, number, "here", LONG).await;
            assert!(session.parent(&format!("new-{number}")).await.unwrap().is_none());
            session.abandon().await;
        })
    });
    for look in looks.collect::<Vec<_>>() {
        look.await.unwrap();
    }
    assert_eq!(reads(&sink.take(), "man/"), 8, "each backup's manifest");
}

#[tokio::test]
async fn what_was_forgotten_since_the_look_is_not_built_on() {
    let (_, here, there) = two().await;
    let (old, new) = (content(1, 40), content(2, 40));
    let options = || plain(Compression::None);
    let kept = backup(&there, 2, meta("a", 1, &old), &old, options()).await.unwrap();
    let lost = backup(&there, 3, meta("a", 2, &new), &new, options()).await.unwrap();
    let session = begin(&here, 10, "here", LONG).await;
    let parent = session.parent("a").await.unwrap().unwrap();
    assert_eq!(parent.info().id, lost.id);
    assert_eq!(session.others("b", 1).await.unwrap()[0].info.id, lost.id);
    let catalogue = there.catalogue().await.unwrap();
    there.forget(&catalogue, &[lost.id], [9; 32], UnixMillis(5)).await.unwrap();
    let parent = session.parent("a").await.unwrap().unwrap();
    assert_eq!(parent.info().id, kept.id);
    assert!(session.others("b", 1).await.unwrap().is_empty(), "it is done without");
    session.abandon().await;
}

#[tokio::test]
async fn what_somebody_made_since_the_look_is_seen_when_that_is_too_old() {
    let (_, here, there) = two().await;
    let session = begin(&here, 10, "here", LONG).await;
    assert!(session.parent("a").await.unwrap().is_none());
    let bytes = content(1, 40);
    let made = backup(&there, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
    let made = made.await.unwrap();
    assert!(session.parent("a").await.unwrap().is_none());
    let session = session.with_looks_good_for(Duration::from_nanos(1));
    assert_eq!(session.parent("a").await.unwrap().unwrap().info().id, made.id);
    session.abandon().await;
}

/// What a process on the same machine keeps on disk of a backup is there longer than the backup.
#[tokio::test]
async fn what_was_freed_is_not_built_on_whatever_the_cache_says() {
    let folder = tempfile::tempdir().unwrap();
    let cache = || IndexCache::new(folder.path(), 1 << 20);
    let (_, here, there) = two().await;
    let (here, beside) = (here.with_cache(cache()), there.clone().with_cache(cache()));
    let lost = watched(&here, 10, "a", Duration::ZERO).await;
    // The newest outcome of all stays.
    watched(&here, 11, "b", Duration::ZERO).await;
    let catalogue = beside.catalogue().await.unwrap();
    there.forget(&catalogue, &[lost.id], [90; 32], UnixMillis(5)).await.unwrap();
    for entropy in 91..95 {
        let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
        there.prune(options, [entropy; 32], UnixMillis(1 << 40)).await.unwrap();
    }
    let session = begin(&here, 12, "here", Duration::ZERO).await;
    assert!(session.parent("a").await.unwrap().is_none());
    session.abandon().await;
    let made = watched(&here, 13, "a", Duration::ZERO).await;
    assert_eq!(restore(&there, &made).await.unwrap(), content(13, 40));
}

/// A store whose disk is away has none of the objects that are asked for: that is no reason to store every page anew.
#[tokio::test]
async fn a_repository_that_is_away_is_not_taken_for_one_without_backups() {
    let folder = tempfile::tempdir().unwrap();
    let (place, away) = (folder.path().join("repo"), folder.path().join("away"));
    let store: Arc<dyn Sink> = Arc::new(LocalSink::new(&place));
    let here = Repository::init(store, [1; 32], UnixMillis(1), None).await.unwrap();
    let made = watched(&here, 10, "a", LONG).await;
    let session = begin(&here, 11, "here", LONG).await;
    assert!(session.parent("b").await.unwrap().is_none());
    std::fs::rename(&place, &away).unwrap();
    for source in ["a", "b"] {
        assert!(session.parent(source).await.is_err(), "{source}");
    }
    std::fs::rename(&away, &place).unwrap();
    assert_eq!(session.parent("a").await.unwrap().unwrap().info().id, made.id);
    session.abandon().await;
}
