//! The real code under many schedules: actors that take turns at every call to the store.
//!
//! A schedule lets one actor run until it ends, then the next, but for a few **preemptions**: at the n-th call,
//! another one goes on. All schedules with one preemption are run, and of those with two a sample; with
//! `MANTIS_SCHEDULES=all` in the environment, all of them. Whatever the schedule, every backup that there is in the
//! end restores, and every success that was told is a backup.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use mantis_repo::{
    BackupInfo, BackupWriter, CompactOptions, Copier, CopyOptions, PruneOptions, Purpose,
    RepairOptions, RepoError, Repository, Session, UnixMillis, VerifyOptions,
};
use mantis_sink::{
    Capabilities, MemorySink, ObjectInfo, ObjectKey, Payload, Sink, SinkError, Span,
};
use mantis_stream::{CancellationToken, Compression};
use tokio::sync::{Notify, oneshot};

use crate::world::{SIZE, backup, content, end, incremental, meta, plain, restore, runs, touch};

/// Calls of one actor that wait for their turn.
#[derive(Debug, Default)]
struct Gate {
    waiting: Mutex<VecDeque<oneshot::Sender<()>>>,
    arrived: Notify,
}

/// A store whose calls wait for their turn.
#[derive(Debug, Clone)]
struct TurnSink {
    inner: MemorySink,
    gate: Arc<Gate>,
}

impl TurnSink {
    async fn turn(&self) {
        let (go, turn) = oneshot::channel();
        self.gate.waiting.lock().unwrap().push_back(go);
        self.gate.arrived.notify_one();
        let _ = turn.await;
    }
}

#[async_trait]
impl Sink for TurnSink {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put_new(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError> {
        self.turn().await;
        self.inner.put_new(key, payload).await
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        self.turn().await;
        self.inner.get(key, span).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        self.turn().await;
        self.inner.stat(key).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        self.turn().await;
        self.inner.list(folder).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        self.turn().await;
        self.inner.delete(key).await
    }
}

/// A backup that was told to be a success, and what it must hold.
type Told = Arc<Mutex<Vec<(BackupInfo, Vec<u8>)>>>;
/// Does something with a repository of its own handle.
type Actor = fn(Repository, World, Told) -> BoxFuture<'static, Result<(), RepoError>>;

/// What there is before the actors begin: three backups of one source, each built on the one before.
#[derive(Clone)]
struct World {
    backups: Vec<(BackupInfo, Vec<u8>)>,
    /// A replica with two more backups, built on those.
    replica: Repository,
    more: Vec<(BackupInfo, Vec<u8>)>,
    /// The store as an actor sees it.
    sink: Arc<dyn Sink>,
}

/// How many backups shared a segment.
static SHARED: AtomicUsize = AtomicUsize::new(0);

const LATE: UnixMillis = UnixMillis(1 << 40);

fn writer(repo: Repository, world: World, told: Told) -> BoxFuture<'static, Result<(), RepoError>> {
    Box::pin(async move {
        let mut bytes = world.backups.last().unwrap().1.clone();
        touch(&mut bytes, 9, 99);
        let info = incremental(&repo, 60, meta("a", 60, &bytes), &bytes, None).await?;
        told.lock().unwrap().push((info, bytes));
        Ok(())
    })
}

/// A small backup by one of the handle's sessions, but for its pages, which are still to be stored.
async fn begin(
    repo: &Repository,
    (entropy, source): (u8, &str),
    bytes: &[u8],
) -> Result<BackupWriter, RepoError> {
    let at = UnixMillis(entropy.into());
    let session = Session::begin(repo, Purpose::Backup, [entropy; 32], "test", at).await?;
    let parent = session.parent(source).await?;
    let meta = meta(source, entropy.into(), bytes);
    let writer = BackupWriter::new(session, meta, parent, plain(Compression::None));
    let mut writer = writer.map_err(|failed| failed.1)?;
    for run in runs(bytes, 300) {
        writer.push(run).await?;
    }
    Ok(writer)
}

/// Small backups at once by one handle, which share a segment where they meet.
fn several(
    repo: Repository,
    world: World,
    told: Told,
) -> BoxFuture<'static, Result<(), RepoError>> {
    Box::pin(async move {
        let mut bytes = world.backups.last().unwrap().1.clone();
        touch(&mut bytes, 9, 99);
        let small = |with: u8| [with, with + 1, with].map(|page| [page; SIZE.bytes()]).concat();
        let mut writers = Vec::new();
        for (who, bytes) in [
            ((72, "b"), small(10)),
            ((73, "c"), small(20)),
            ((74, "d"), small(30)),
            ((75, "a"), bytes),
        ] {
            writers.push((begin(&repo, who, &bytes).await?, bytes));
        }
        let store = writers.into_iter().map(|(mut writer, bytes)| async move {
            let stored = writer.flush().await;
            (writer, stored, bytes)
        });
        let mut ended = Ok(());
        for (writer, stored, bytes) in futures::future::join_all(store).await {
            let made = end(writer, stored, None).await;
            ended = ended.and(made.map(|info| told.lock().unwrap().push((info, bytes))));
        }
        ended
    })
}

fn forgetter(repo: Repository, world: World, _: Told) -> BoxFuture<'static, Result<(), RepoError>> {
    Box::pin(async move {
        let catalogue = repo.catalogue().await?;
        let ids = world.backups.iter().map(|(info, _)| info.id).collect::<Vec<_>>();
        repo.forget(&catalogue, &ids, [61; 32], UnixMillis(1)).await
    })
}

fn undoer(repo: Repository, world: World, told: Told) -> BoxFuture<'static, Result<(), RepoError>> {
    Box::pin(async move {
        let (first, bytes) = &world.backups[1];
        let id = first.id.to_string();
        let info = repo.bring_back(&id, [62; 32], "test", UnixMillis(1)).await?;
        told.lock().unwrap().push((info, bytes.clone()));
        Ok(())
    })
}

fn copier(_: Repository, world: World, told: Told) -> BoxFuture<'static, Result<(), RepoError>> {
    Box::pin(async move {
        let options =
            CopyOptions { owner: "test".into(), now: UnixMillis(1), ..CopyOptions::default() };
        let begun = Copier::begin(&world.replica, world.sink, options, [67; 32], |_| false);
        let mut copier = begun.await?;
        for (info, bytes) in world.more {
            copier.copy(&info).await?;
            told.lock().unwrap().push((info, bytes));
        }
        copier.end().await;
        Ok(())
    })
}

async fn prune(repo: &Repository, entropy: u8) -> Result<(), RepoError> {
    let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
    repo.prune(options, [entropy; 32], LATE).await.map(|_| ())
}

fn collector(repo: Repository, _: World, _: Told) -> BoxFuture<'static, Result<(), RepoError>> {
    Box::pin(async move { prune(&repo, 63).await })
}

fn other_collector(
    repo: Repository,
    _: World,
    _: Told,
) -> BoxFuture<'static, Result<(), RepoError>> {
    Box::pin(async move { prune(&repo, 64).await })
}

fn compactor(repo: Repository, world: World, _: Told) -> BoxFuture<'static, Result<(), RepoError>> {
    Box::pin(async move {
        let catalogue = repo.catalogue().await?;
        let older = [world.backups[0].0.id, world.backups[1].0.id];
        repo.forget(&catalogue, &older, [65; 32], UnixMillis(1)).await?;
        let options = CompactOptions {
            max_unused: 0.0,
            dry_run: false,
            owner: "test".into(),
            cancel: CancellationToken::new(),
        };
        repo.compact(&options, [66; 32], UnixMillis(1)).await.map(|_| ())
    })
}

/// Runs actors by a schedule: at each preemption's call, its actor goes on. Gives how many calls there were.
async fn run(actors: &[Actor], preemptions: &[(usize, usize)]) -> usize {
    let memory = MemorySink::new();
    let world = make_world(&memory).await;
    let told = Told::default();
    let mut gates = Vec::new();
    let mut running = Vec::new();
    for actor in actors {
        // Opened before anyone takes turns.
        let gate = Arc::new(Gate::default());
        let sink = TurnSink { inner: memory.clone(), gate: Arc::clone(&gate) };
        let sink: Arc<dyn Sink> = Arc::new(sink);
        let opening = tokio::spawn(Repository::open(Arc::clone(&sink), None));
        let (actor, told) = (*actor, Arc::clone(&told));
        let world = World { sink, ..world.clone() };
        running.push(tokio::spawn(async move {
            let repo = opening.await.unwrap().unwrap();
            actor(repo, world, told).await
        }));
        gates.push(gate);
    }
    let (mut calls, mut current) = (0, 0);
    let mut ended = vec![false; actors.len()];
    while !ended.iter().all(|ended| *ended) {
        if let Some((_, next)) = preemptions.iter().find(|(at, _)| *at == calls) {
            current = *next;
        }
        if ended[current] {
            current = ended.iter().position(|ended| !ended).unwrap();
        }
        // Its next call, or its end.
        let go = loop {
            if let Some(go) = gates[current].waiting.lock().unwrap().pop_front() {
                break Some(go);
            }
            tokio::select! {
                () = gates[current].arrived.notified() => {}
                _ = &mut running[current] => break None,
            }
        };
        match go {
            Some(go) => {
                calls += 1;
                let _ = go.send(());
            }
            None => ended[current] = true,
        }
    }
    check(&memory, &told, &format!("{preemptions:?}")).await;
    calls
}

async fn make_world(memory: &MemorySink) -> World {
    let repo = Repository::init(Arc::new(memory.clone()), [1; 32], UnixMillis(1), None);
    let repo = repo.await.unwrap();
    let mut bytes = content(1, 40);
    let mut backups = Vec::new();
    let full = backup(&repo, 2, meta("a", 2, &bytes), &bytes, plain(Compression::None));
    backups.push((full.await.unwrap(), bytes.clone()));
    for entropy in 3..5 {
        touch(&mut bytes, entropy.into(), entropy);
        let meta = meta("a", entropy.into(), &bytes);
        let next = incremental(&repo, entropy, meta, &bytes, None).await.unwrap();
        backups.push((next, bytes.clone()));
    }
    let (elsewhere, mut more) = (MemorySink::new(), Vec::new());
    for object in memory.list("").await.unwrap() {
        let stored = memory.get(&object.key, Span::Whole { limit: object.len }).await.unwrap();
        elsewhere.put_new(&object.key, stored.into()).await.unwrap();
    }
    let replica = Repository::open(Arc::new(elsewhere), None).await.unwrap();
    for entropy in 5..7 {
        touch(&mut bytes, entropy.into(), entropy);
        let meta = meta("a", entropy.into(), &bytes);
        let next = incremental(&replica, entropy, meta, &bytes, None).await.unwrap();
        more.push((next, bytes.clone()));
    }
    World { backups, replica, more, sink: Arc::new(memory.clone()) }
}

async fn check(memory: &MemorySink, told: &Told, story: &str) {
    let repo = Repository::open(Arc::new(memory.clone()), None).await.unwrap();
    let told = told.lock().unwrap().clone();
    for round in 0..2u8 {
        let catalogue = repo.catalogue().await.unwrap();
        assert!(catalogue.unreadable.is_empty(), "{story}");
        for backup in &catalogue.backups {
            assert!(restore(&repo, backup).await.is_ok(), "{story}: {backup:?}");
            let manifest = repo.manifest(backup).await.unwrap();
            let shares = manifest.layers.iter().any(|layer| layer.shared);
            SHARED.fetch_add(usize::from(shares), Ordering::Relaxed);
        }
        for (info, bytes) in &told {
            let found = catalogue.backups.iter().find(|backup| backup.id == info.id);
            // What was told and then forgotten may be gone; what is there must be right.
            if let Some(found) = found {
                assert!(restore(&repo, found).await.unwrap() == *bytes, "{story}");
            }
        }
        let report = repo.verify(&[], &VerifyOptions::default()).await.unwrap();
        assert_eq!(report.damaged, vec![], "{story}");
        prune(&repo, 70 + round).await.unwrap();
    }
}

/// All schedules with one preemption, and those with two of which a sample is taken, or all.
fn explore(actors: &[Actor]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let all = std::env::var("MANTIS_SCHEDULES").is_ok_and(|which| which == "all");
    let calls = runtime.block_on(run(actors, &[]));
    let mut count = 1;
    let mut number = 0u64;
    for first in 0..calls {
        for one in 0..actors.len() {
            runtime.block_on(run(actors, &[(first, one)]));
            count += 1;
            for second in first + 1..calls + 4 {
                for two in (0..actors.len()).filter(|two| *two != one) {
                    number += 1;
                    // A number that has nothing to do with the schedule.
                    let chosen = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
                    if all || chosen.is_multiple_of(31) {
                        runtime.block_on(run(actors, &[(first, one), (second, two)]));
                        count += 1;
                    }
                }
            }
        }
    }
    eprintln!("{count} schedules of about {calls} calls");
}

#[test]
fn a_backup_beside_forgetting_and_collecting() {
    explore(&[writer, forgetter, collector]);
}

#[test]
fn backups_that_share_a_segment_beside_forgetting_and_collecting() {
    fn forget_all(
        repo: Repository,
        _: World,
        _: Told,
    ) -> BoxFuture<'static, Result<(), RepoError>> {
        Box::pin(async move {
            let catalogue = repo.catalogue().await?;
            let ids: Vec<_> = catalogue.backups.iter().map(|backup| backup.id).collect();
            repo.forget(&catalogue, &ids, [76; 32], UnixMillis(1)).await?;
            prune(&repo, 77).await
        })
    }
    explore(&[several, forget_all, collector]);
    let shared = SHARED.load(Ordering::Relaxed);
    eprintln!("{shared} backups shared a segment");
    assert!(shared > 0, "none met another one");
}

#[test]
fn bringing_back_beside_two_collectors() {
    fn forget_and_undo(
        repo: Repository,
        world: World,
        told: Told,
    ) -> BoxFuture<'static, Result<(), RepoError>> {
        Box::pin(async move {
            forgetter(repo.clone(), world.clone(), Arc::clone(&told)).await?;
            undoer(repo, world, told).await
        })
    }
    explore(&[forget_and_undo, collector, other_collector]);
}

#[test]
fn what_is_left_goes_beside_those_who_look_for_it() {
    fn forget_and_sweep(
        repo: Repository,
        world: World,
        told: Told,
    ) -> BoxFuture<'static, Result<(), RepoError>> {
        Box::pin(async move {
            forgetter(repo.clone(), world, told).await?;
            for entropy in 80..83 {
                prune(&repo, entropy).await?;
            }
            Ok(())
        })
    }
    fn repairer(repo: Repository, _: World, _: Told) -> BoxFuture<'static, Result<(), RepoError>> {
        Box::pin(async move {
            let options = RepairOptions {
                dry_run: false,
                owner: "test".into(),
                cancel: CancellationToken::new(),
            };
            repo.repair(&options, [68; 32], UnixMillis(1)).await.map(|_| ())
        })
    }
    explore(&[repairer, forget_and_sweep]);
    explore(&[other_collector, forget_and_sweep]);
    explore(&[writer, forget_and_sweep]);
}

#[test]
fn a_copy_beside_forgetting_and_collecting() {
    explore(&[copier, forgetter, collector]);
}

#[test]
fn compaction_beside_a_backup_and_a_collector() {
    explore(&[compactor, writer, collector]);
}
