//! A small repository that has lived: with everything in it that a repository can hold, and all that is done to one.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use mantis_page::{PageNo, PageRun, PageSet};
use mantis_repo::{
    BackupInfo, BackupWriter, CompactOptions, Copier, CopyOptions, PruneOptions, Purpose, Reach,
    RepairOptions, RepoError, Repository, RestoreOptions, Session, UnixMillis, VerifyOptions,
    WriteOptions,
};
use mantis_sink::{MemorySink, ObjectKey, Sink, Span};
use mantis_stream::{CancellationToken, Compression};

use crate::world::{
    SIZE, content, end, image_of, incremental_by, meta, plain, restore, touch, write,
};

/// Two hours after the epoch: all of it was done long ago, and a grace of an hour is over.
const LATE: UnixMillis = UnixMillis(7_200_000);

/// The repository, and what its backups hold.
pub(crate) struct LivedIn {
    /// Its objects, never changed.
    pub(crate) objects: MemorySink,
    /// The backups, and their databases.
    pub(crate) made: Vec<(BackupInfo, Vec<u8>)>,
    /// Two of which nothing but records are left.
    long_gone: Vec<BackupInfo>,
    /// One that was forgotten and can be brought back.
    pub(crate) forgotten: (BackupInfo, Vec<u8>),
}

fn small(compression: Compression) -> WriteOptions {
    WriteOptions { segment_len: 8 << 10, ..plain(compression) }
}

fn seed(number: u64, salt: u8) -> [u8; 32] {
    let mut seed = [salt; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed
}

/// A full backup in many segments, so that its layer has a list of its own.
async fn full(
    repo: &Repository,
    entropy: [u8; 32],
    source: &str,
    at: i64,
    bytes: &[u8],
) -> Result<BackupInfo, RepoError> {
    let session = Session::begin(repo, Purpose::Backup, entropy, "test", UnixMillis(at)).await?;
    let others = session.others(source, 16).await?;
    let meta = meta(source, at, bytes);
    let writer = BackupWriter::new(session, meta, None, small(Compression::Lz4));
    let mut writer = writer.map_err(|failed| failed.1)?;
    let filled = async {
        for other in &others {
            writer.learn(other).await?;
        }
        write(&mut writer, bytes, 16).await
    };
    let filled = filled.await;
    end(writer, filled, Some(b"token")).await
}

/// Two backups that are long gone: of one both records are left, of the other that it was forgotten.
async fn long_gone(repo: &Repository) -> Vec<BackupInfo> {
    let mut long_gone = Vec::new();
    for number in 30..32 {
        let old = full(repo, seed(number, 1), "z", 0, &content(number, 20)).await.unwrap();
        let catalogue = repo.catalogue().await.unwrap();
        repo.forget(&catalogue, &[old.id], seed(number, 2), UnixMillis(0)).await.unwrap();
        let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
        repo.prune(options, seed(number, 3), LATE).await.unwrap();
        long_gone.push(old);
    }
    long_gone
}

impl LivedIn {
    /// Lives a life in an empty repository.
    pub(crate) async fn new(memory: &MemorySink, repo: &Repository) -> Self {
        let long_gone = Box::pin(long_gone(repo)).await;
        let mut made = Vec::new();
        let mut bytes = content(1, 100);
        made.push((full(repo, seed(1, 1), "a", 1, &bytes).await.unwrap(), bytes.clone()));
        for number in 2..7u8 {
            for page in 0..4 {
                touch(&mut bytes, u64::from(number) * 9 + page * 5, number);
            }
            bytes.resize((96 + usize::from(number)) * SIZE.bytes(), number);
            let next = meta("a", number.into(), &bytes);
            let next = incremental_by(repo, seed(number.into(), 1), next, &bytes, None).await;
            made.push((next.unwrap(), bytes.clone()));
        }
        // A database that shares pages, here and there, with the first one.
        let mut other = content(7, 60);
        for page in (0..60).step_by(2) {
            let at = page * SIZE.bytes();
            let from = (page + 7) * SIZE.bytes();
            other[at..at + SIZE.bytes()].copy_from_slice(&bytes[from..from + SIZE.bytes()]);
        }
        made.push((full(repo, seed(10, 1), "b", 10, &other).await.unwrap(), other));
        // Two were forgotten between others, and one is the last of its source, and can be brought back.
        let last = content(9, 30);
        let last = (full(repo, seed(11, 1), "c", 11, &last).await.unwrap(), last);
        let gone = [made.remove(4).0.id, made.remove(2).0.id, last.0.id];
        let catalogue = repo.catalogue().await.unwrap();
        repo.forget(&catalogue, &gone, seed(12, 1), LATE).await.unwrap();
        // A killed backup, of which something arrived.
        let session = Session::begin(repo, Purpose::Backup, seed(13, 1), "dead", UnixMillis(13));
        let dead = content(4, 80);
        let session = session.await.unwrap();
        let writer =
            BackupWriter::new(session, meta("d", 13, &dead), None, small(Compression::None));
        let mut writer = writer.unwrap();
        for (at, piece) in (0..).zip(dead.chunks(16 * SIZE.bytes()).take(3)) {
            let first = PageNo::from_index(16 * at).unwrap();
            let run = PageRun::new(first, SIZE, Bytes::copy_from_slice(piece));
            writer.push(run.unwrap()).await.unwrap();
        }
        drop(writer);
        Self { objects: memory.copy(), made, long_gone, forgotten: last }
    }

    /// A backup more, of another database.
    pub(crate) async fn goes_on(repo: &Repository) {
        full(repo, seed(20, 5), "e", 20, &content(5, 90)).await.unwrap();
    }

    /// The store as it was.
    pub(crate) async fn put_back(&self, memory: &MemorySink) {
        for object in memory.list("").await.unwrap() {
            memory.delete(&object.key).await.unwrap();
        }
        for object in self.objects.list("").await.unwrap() {
            let bytes = self.objects.get(&object.key, Span::Whole { limit: 1 << 20 }).await;
            memory.replace(&object.key, bytes.unwrap());
        }
    }

    /// Whether an object is the outcome of a backup of which nothing is left but records.
    pub(crate) fn is_old_outcome(&self, key: &ObjectKey) -> bool {
        self.long_gone.iter().any(|old| key.as_str() == format!("out/{}", old.session))
    }

    fn content_of(&self, info: &BackupInfo) -> Option<&[u8]> {
        let all = self.made.iter().chain([&self.forgotten]);
        all.into_iter().find(|(made, _)| made.id == info.id).map(|(_, bytes)| &bytes[..])
    }

    /// Every backup is there and restores, but for the newest one of all, where that was to be forgotten.
    pub(crate) async fn is_whole(&self, repo: &Repository, but_newest: bool, story: &str) {
        let catalogue = repo.catalogue().await.unwrap();
        assert!(catalogue.unreadable.is_empty(), "{story}: {:?}", catalogue.unreadable);
        let wanted = self.made.len() - usize::from(but_newest);
        for (info, bytes) in &self.made[..wanted] {
            let there = catalogue.backups.iter().find(|backup| backup.id == info.id);
            let there = there.unwrap_or_else(|| panic!("{story}: {} is lost", info.id));
            let restored = restore(repo, there).await;
            assert!(restored.unwrap_or_else(|e| panic!("{story}: {e:?}")) == *bytes, "{story}");
        }
    }
}

/// What something is done with.
#[derive(Clone)]
pub(crate) struct With<'a> {
    pub(crate) lived: &'a LivedIn,
    pub(crate) repo: &'a Repository,
    /// Where it is.
    pub(crate) sink: Arc<dyn Sink>,
    /// What it is a replica of; has made a backup since.
    pub(crate) origin: &'a Repository,
    /// Another one in each run.
    pub(crate) run: u64,
    pub(crate) cancel: CancellationToken,
}

type Doing = for<'a> fn(&'a With<'a>) -> LocalBoxFuture<'a, Result<(), RepoError>>;

/// All that is done to a repository, by name.
pub(crate) const OPERATIONS: [(&str, Doing); 16] = [
    ("list", |with| Box::pin(list(with))),
    ("restore", |with| Box::pin(restore_all(with))),
    ("verify", |with| Box::pin(verify(with, Reach::Everything))),
    ("look", |with| Box::pin(verify(with, Reach::Metadata))),
    ("salvage", |with| Box::pin(salvage(with))),
    ("repair", |with| Box::pin(repair(with))),
    ("compact", |with| Box::pin(compact(with))),
    ("diff", |with| Box::pin(diff(with))),
    ("export", |with| Box::pin(export(with))),
    ("copy from it", |with| Box::pin(copy_from(with))),
    ("copy to it", |with| Box::pin(copy_to(with))),
    ("back up a little", |with| Box::pin(back_up(with))),
    ("back up what was begun", |with| Box::pin(go_on(with))),
    ("bring back", |with| Box::pin(bring_back(with))),
    ("forget", |with| Box::pin(forget(with))),
    ("prune", |with| Box::pin(prune(with))),
];

async fn list(with: &With<'_>) -> Result<(), RepoError> {
    for backup in with.repo.catalogue().await?.backups {
        with.repo.manifest(&backup).await?;
    }
    with.repo.forgotten().await.map(drop)
}

async fn restore_all(with: &With<'_>) -> Result<(), RepoError> {
    let mut failed = None;
    let backups = with.repo.catalogue().await?.backups;
    for (backup, rewrites) in backups.iter().flat_map(|one| [(one, false), (one, true)]) {
        let restored = async {
            let manifest = with.repo.manifest(backup).await?;
            let (image, give) = image_of(backup);
            let options = RestoreOptions {
                jobs: 2,
                rewrites,
                cancel: with.cancel.clone(),
                ..RestoreOptions::default()
            };
            with.repo.restore(&manifest, &options, give).await?;
            let image = image.lock().unwrap();
            if let Some(wanted) = with.lived.content_of(backup) {
                assert!(image[..] == *wanted, "wrong bytes restored of {}", backup.id);
            }
            Ok(())
        };
        failed = failed.or(restored.await.err());
    }
    failed.map_or(Ok(()), Err)
}

async fn verify(with: &With<'_>, reach: Reach) -> Result<(), RepoError> {
    let cancel = with.cancel.clone();
    let options = VerifyOptions { jobs: 2, reach, cancel, ..VerifyOptions::default() };
    with.repo.verify(&[], &options).await.map(drop)
}

async fn salvage(with: &With<'_>) -> Result<(), RepoError> {
    for backup in with.repo.catalogue().await?.backups {
        let Ok(manifest) = with.repo.manifest(&backup).await else { continue };
        let (image, give) = image_of(&backup);
        let salvaged = with.repo.salvage(&manifest, give).await?;
        let image = image.lock().unwrap();
        let Some(wanted) = with.lived.content_of(&backup) else { continue };
        for (at, (got, wanted)) in (0u64..).zip(image.chunks(512).zip(wanted.chunks(512))) {
            let lost = salvaged.lost.contains(PageNo::from_index(at).unwrap());
            assert!(lost || got == wanted, "a wrong page {at} salvaged of {}", backup.id);
        }
    }
    Ok(())
}

async fn repair(with: &With<'_>) -> Result<(), RepoError> {
    let (owner, cancel) = ("test".into(), with.cancel.clone());
    let options = RepairOptions { dry_run: false, owner, cancel };
    with.repo.repair(&options, seed(with.run, 2), LATE).await.map(drop)
}

async fn compact(with: &With<'_>) -> Result<(), RepoError> {
    let (owner, cancel) = ("test".into(), with.cancel.clone());
    let options = CompactOptions { max_unused: 0.0, dry_run: false, owner, cancel };
    with.repo.compact(&options, seed(with.run, 3), LATE).await.map(drop)
}

async fn diff(with: &With<'_>) -> Result<(), RepoError> {
    let backups = with.repo.catalogue().await?.backups;
    for pair in backups.windows(2) {
        let differs = with.repo.diff(&pair[0], &pair[1]).await;
        if pair[0].meta.source == pair[1].meta.source {
            differs?;
        }
    }
    Ok(())
}

async fn export(with: &With<'_>) -> Result<(), RepoError> {
    for backup in with.repo.catalogue().await?.backups {
        with.repo.export(&backup, Box::new(std::io::sink())).await?;
    }
    Ok(())
}

fn copying(with: &With<'_>) -> CopyOptions {
    let cancel = with.cancel.clone();
    CopyOptions { owner: "copier".into(), now: LATE, cancel, ..CopyOptions::default() }
}

async fn copy_all(
    with: &With<'_>,
    from: &Repository,
    to: Arc<dyn Sink>,
) -> Result<Repository, RepoError> {
    let entropy = seed(with.run, 4);
    let mut copier =
        Copier::begin(from, to, copying(with), entropy, |owner| owner == "copier").await?;
    let replica = copier.replica().clone();
    let mut done = Ok(());
    match from.catalogue().await {
        Ok(catalogue) => {
            for backup in &catalogue.backups {
                done = copier.copy(backup).await.map(drop);
                if done.is_err() {
                    break;
                }
            }
        }
        Err(error) => done = Err(error),
    }
    copier.end().await;
    done.map(|()| replica)
}

async fn copy_from(with: &With<'_>) -> Result<(), RepoError> {
    let to = MemorySink::new();
    let replica = copy_all(with, with.repo, Arc::new(to)).await?;
    // What arrived is right, however much of it there was.
    let with = With { repo: &replica, ..with.clone() };
    restore_all(&with).await
}

/// A copy of its origin, which has made a backup since.
async fn copy_to(with: &With<'_>) -> Result<(), RepoError> {
    copy_all(with, with.origin, Arc::clone(&with.sink)).await.map(drop)
}

async fn back_up(with: &With<'_>) -> Result<(), RepoError> {
    let mut bytes = content(1, 110);
    touch(&mut bytes, 8, 99);
    let mut changed = PageSet::default();
    changed.insert(PageNo::from_index(8).unwrap());
    full(with.repo, seed(with.run, 6), "f", 30, &bytes).await?;
    let next = meta("a", 31, &bytes);
    incremental_by(with.repo, seed(with.run, 7), next, &bytes, None).await?;
    let next = meta("a", 32, &bytes);
    let made = incremental_by(with.repo, seed(with.run, 8), next, &bytes, Some(&changed)).await?;
    if let Ok(restored) = restore(with.repo, &made).await {
        assert!(restored == bytes, "wrong bytes backed up");
    }
    Ok(())
}

/// Goes on with what a killed backup left.
async fn go_on(with: &With<'_>) -> Result<(), RepoError> {
    let bytes = content(4, 80);
    let entropy = seed(with.run, 9);
    let mut session = Session::begin(with.repo, Purpose::Backup, entropy, "alive", LATE).await?;
    let leftovers = match session.leftovers(None, |owner| owner == "dead").await {
        Ok(leftovers) => leftovers,
        Err(error) => {
            session.abandon().await;
            return Err(error);
        }
    };
    let writer = BackupWriter::new(session, meta("d", 33, &bytes), None, small(Compression::None));
    let mut writer = writer.map_err(|failed| failed.1)?;
    let filled = async {
        writer.resume(&leftovers).await?;
        write(&mut writer, &bytes, 16).await
    };
    let filled = filled.await;
    let made = end(writer, filled, None).await?;
    if let Ok(restored) = restore(with.repo, &made).await {
        assert!(restored == bytes, "wrong bytes backed up");
    }
    Ok(())
}

async fn bring_back(with: &With<'_>) -> Result<(), RepoError> {
    let (info, bytes) = &with.lived.forgotten;
    let id = info.id.to_string();
    let back = with.repo.bring_back(&id, seed(with.run, 10), "test", LATE).await?;
    if let Ok(restored) = restore(with.repo, &back).await {
        assert!(restored == *bytes, "wrong bytes brought back");
    }
    Ok(())
}

async fn forget(with: &With<'_>) -> Result<(), RepoError> {
    let catalogue = with.repo.catalogue().await?;
    let Some((newest, _)) = with.lived.made.last() else { return Ok(()) };
    with.repo.forget(&catalogue, &[newest.id], seed(with.run, 11), LATE).await
}

async fn prune(with: &With<'_>) -> Result<(), RepoError> {
    let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
    with.repo.prune(options, seed(with.run, 12), LATE).await.map(drop)
}
