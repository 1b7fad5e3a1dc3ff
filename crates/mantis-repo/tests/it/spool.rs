//! A store that is slower than the source: what is read waits on the local disk, and the source is let go.

use std::sync::Arc;
use std::time::Duration;

use mantis_repo::{
    BackupInfo, BackupWriter, Purpose, Repository, Session, SpoolOptions, UnixMillis,
    VerifyOptions, WriteOptions,
};
use mantis_sink::{Fault, FaultSink, MemorySink, SinkErrorKind};
use mantis_stream::{CancellationToken, Compression};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::world::{content, count, in_memory, meta, plain, restore, runs, write};

const PAGES: u64 = 24_000;
/// Longer than anything here takes: what is not done then is stuck.
const LONG: Duration = Duration::from_secs(120);

struct Slow {
    runtime: Runtime,
    memory: MemorySink,
    store: FaultSink,
    repo: Repository,
    folder: TempDir,
    bytes: Vec<u8>,
    cancel: CancellationToken,
}

impl Slow {
    fn new() -> Self {
        let (runtime, memory, _) = in_memory();
        let store = FaultSink::new(Arc::new(memory.clone()));
        let repo = runtime.block_on(Repository::open(Arc::new(store.clone()), None)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        Self { runtime, memory, store, repo, folder, bytes: content(1, PAGES), cancel }
    }

    async fn writer(&self, entropy: u8, limit: u64) -> BackupWriter {
        let owner = UnixMillis(0);
        let session = Session::begin(&self.repo, Purpose::Backup, [entropy; 32], "test", owner);
        let spool = SpoolOptions { folder: self.folder.path().to_owned(), limit };
        let options = WriteOptions {
            segment_len: 256 << 10,
            known_pages: 0,
            spool: Some(spool),
            cancel: self.cancel.clone(),
            ..plain(Compression::None)
        };
        let meta = meta("a", entropy.into(), &self.bytes);
        BackupWriter::new(session.await.unwrap(), meta, None, options)
            .map_err(|failed| failed.1)
            .unwrap()
    }

    async fn is_whole(&self, made: &BackupInfo) {
        assert!(restore(&self.repo, made).await.unwrap() == self.bytes);
        let report = self.repo.verify(&[], &VerifyOptions::default()).await.unwrap();
        assert!(report.damaged.is_empty(), "{report:?}");
    }

    /// Gives all pages to a writer; whether it took them within a time, while the store stood still.
    async fn push_all(&self, writer: &mut BackupWriter, within: Duration) -> bool {
        let push = async {
            for run in runs(&self.bytes, 16) {
                writer.push(run).await.unwrap();
            }
        };
        tokio::time::timeout(within, push).await.is_ok()
    }
}

#[test]
fn a_source_is_read_to_its_end_while_the_store_stands_still() {
    let slow = Slow::new();
    slow.runtime.block_on(async {
        let mut writer = slow.writer(2, 1 << 30).await;
        slow.store.stall();
        assert!(slow.push_all(&mut writer, LONG).await, "the source waited for the store");
        assert_eq!(count(&slow.memory, "seg").await, 0);
        assert_eq!(std::fs::read_dir(slow.folder.path()).unwrap().count(), 0, "it has no name");
        slow.store.go_on();
        tokio::time::timeout(LONG, writer.flush()).await.unwrap().unwrap();
        let made = writer.commit(1, None).await.unwrap();
        assert!(count(&slow.memory, "seg").await > 15);
        slow.is_whole(&made).await;
    });
}

#[test]
fn a_spool_that_is_full_or_cannot_be_written_makes_the_source_wait() {
    for (limit, gone) in [(0, false), (1 << 20, false), (1 << 30, true)] {
        let mut slow = Slow::new();
        if gone {
            slow.folder = {
                let folder = tempfile::tempdir().unwrap();
                std::fs::remove_dir(folder.path()).unwrap();
                folder
            };
        }
        slow.runtime.block_on(async {
            let mut writer = slow.writer(2, limit).await;
            slow.store.stall();
            let all = slow.push_all(&mut writer, Duration::from_secs(2)).await;
            assert!(!all, "{limit} held all");
            slow.store.go_on();
            writer.abandon().await;
            // The same again, with a store that stands still now and then.
            let mut writer = slow.writer(3, limit).await;
            let store = slow.store.clone();
            let changing = tokio::spawn(async move {
                loop {
                    store.stall();
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    store.go_on();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
            let written = write(&mut writer, &slow.bytes, 16);
            tokio::time::timeout(LONG, written).await.unwrap().unwrap();
            changing.abort();
            let _ = changing.await;
            slow.store.go_on();
            let made = writer.commit(1, None).await.unwrap();
            slow.is_whole(&made).await;
        });
    }
}

#[test]
fn a_store_that_fails_while_much_waits_leaves_nothing() {
    let slow = Slow::new();
    slow.runtime.block_on(async {
        for (entropy, call) in (2u8..).zip([0, 1, 3, 5, 8, 12]) {
            let mut writer = slow.writer(entropy, 1 << 30).await;
            slow.store.stall();
            let first = slow.store.calls() + call;
            slow.store.fail_once(first, Fault::Before(SinkErrorKind::Other));
            let pushing = write(&mut writer, &slow.bytes, 16);
            let store = slow.store.clone();
            let going_on = async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                store.go_on();
            };
            let (written, ()) =
                tokio::time::timeout(LONG, async { tokio::join!(pushing, going_on) })
                    .await
                    .unwrap();
            assert!(written.is_err(), "call {call}");
            slow.store.heal();
            writer.abandon().await;
            assert_eq!(count(&slow.memory, "seg").await, 0, "call {call}");
        }
    });
}

#[test]
fn one_who_waits_for_the_store_can_be_cancelled() {
    let slow = Slow::new();
    slow.runtime.block_on(async {
        let mut writer = slow.writer(2, 1 << 20).await;
        slow.store.stall();
        let cancel = slow.cancel.clone();
        let cancelling = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            cancel.cancel();
        };
        let pushing = write(&mut writer, &slow.bytes, 16);
        let (written, ()) =
            tokio::time::timeout(LONG, async { tokio::join!(pushing, cancelling) }).await.unwrap();
        assert!(written.unwrap_err().is_cancelled());
        slow.store.go_on();
        writer.abandon().await;
        assert_eq!(count(&slow.memory, "seg").await, 0);
    });
}
