//! One backup.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mantis_page::{PageNo, PageRange, PageSet};
use mantis_repo::{
    BackupInfo, BackupMeta, BackupWriter, Leftovers, Parent, Purpose, Repository, Session,
    UnixMillis, WriteOptions,
};
use mantis_snapshot::{
    CancelFlag, Coordinator, Engine, Outcome, Snapshot, SnapshotError, SnapshotToken,
};

use super::clean_up::clean_up;
use super::figures;
use crate::capture::capture;
use crate::{Error, clock};

/// How old a look at what the repository holds may be for one of many backups: thousands of databases are not to list all backups each. No lease of
/// a fleet is as short, so that who takes over from another sees what that one did.
pub(crate) const LOOKS_GOOD_FOR: Duration = Duration::from_secs(2);

/// Bytes of a database from which on an interrupted backup of it is gone on with.
const WORTH_GOING_ON: u64 = 4 << 20;

/// Bytes of a database for each of the others that its first backup is compared with.
const PER_OTHER: u64 = 64 << 10;

/// What to back up, and how.
pub struct BackupJob {
    /// Where to.
    pub repo: Repository,
    /// Takes the snapshot.
    pub coordinator: Coordinator,
    /// What.
    pub engine: Arc<dyn Engine>,
    /// The source's name.
    pub name: String,
    /// The user's own words on it.
    pub tags: BTreeMap<String, String>,
    /// How it is written; its `cancel` stops the job, its `progress` shows it.
    pub write: WriteOptions,
    /// How long it may take; then it is given up.
    pub timeout: Option<Duration>,
    /// Store every page, whatever earlier backups hold.
    pub full: bool,
    /// How old a look at what the repository holds may be: see [`Session::with_looks_good_for`].
    pub looks_good_for: Duration,
}

impl std::fmt::Debug for BackupJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupJob")
            .field("name", &self.name)
            .field("write", &self.write)
            .finish_non_exhaustive()
    }
}

/// Runs a backup. Where it fails, is cancelled or takes too long, everything that it wrote is removed
/// and the source is released; this returns only after that.
///
/// Runs in a task of its own: when the returned future is dropped, the backup is cancelled and still
/// cleans up after itself.
///
/// # Errors
/// What keeps the backup from being made.
pub async fn backup(job: BackupJob) -> Result<BackupInfo, Error> {
    Ok(backup_as_of(job, None).await?.0)
}

/// As [`backup`], of a moment that was taken before, where one is given; and by what the engine knows it.
pub(super) async fn backup_as_of(
    job: BackupJob,
    taken_at: Option<UnixMillis>,
) -> Result<(BackupInfo, Option<SnapshotToken>), Error> {
    let cancel = job.write.cancel.child_token();
    let (timeout, name) = (job.timeout, job.name.clone());
    let on_drop = cancel.clone().drop_guard();
    let inner = cancel.clone();
    let mut task = tokio::spawn(async move {
        let job = BackupJob { write: WriteOptions { cancel: inner, ..job.write }, ..job };
        run(job, taken_at).await
    });
    let timer = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let (ended, late) = tokio::select! {
        ended = &mut task => (ended, None),
        () = timer => {
            cancel.cancel();
            (task.await, timeout)
        }
    };
    on_drop.disarm();
    let result = ended.unwrap_or_else(|error| {
        Err(Error::Other { doing: format!("back up {name}"), source: error.into(), help: None })
    });
    match (result, late) {
        (Err(error), Some(after)) if error.is_cancelled() => {
            Err(Error::TimedOut { what: format!("the backup of {name}"), after })
        }
        (result, _) => result,
    }
}

/// What interrupted backups left, for one that may rely on it. Where it cannot be had, all is sent again; so is a small database, as looking for
/// what is left of it costs as much.
async fn leftovers(
    job: &BackupJob,
    snapshot: &Snapshot,
    session: &mut Session,
    parent: Option<&Parent>,
) -> Leftovers {
    if job.full || snapshot.geometry().byte_len < WORTH_GOING_ON {
        return Leftovers::default();
    }
    session
        .leftovers(parent.map(|parent| parent.info().session), clock::is_dead)
        .await
        .unwrap_or_else(|error| {
            tracing::info!(%error, "nothing is taken over from interrupted backups");
            Leftovers::default()
        })
}

/// How many backups of other sources are worth a first one's comparing with them: what is asked of the store for each is not to cost more than what
/// may be saved. Of a small database in thousands it would be most of all that is asked.
fn worthwhile(snapshot: &Snapshot) -> usize {
    usize::try_from(snapshot.geometry().byte_len / PER_OTHER).unwrap_or(usize::MAX)
}

async fn run(
    job: BackupJob,
    taken_at: Option<UnixMillis>,
) -> Result<(BackupInfo, Option<SnapshotToken>), Error> {
    // The intent stands in the repository before the moment is taken: a collector that sees neither
    // the intent nor the outcome cannot have condemned anything this backup relies on.
    let mut session = Session::begin(
        &job.repo,
        Purpose::Backup,
        clock::entropy()?,
        &clock::owner(),
        clock::now(),
    )
    .await?
    .with_looks_good_for(job.looks_good_for);
    let started = Instant::now();
    let (snapshot, parent) = match take_snapshot(&job, &session).await {
        Ok(taken) => taken,
        Err(error) => {
            clean_up(session.abandon()).await;
            return Err(error);
        }
    };
    let meta = describe(&job, &snapshot, taken_at);
    let leftovers = leftovers(&job, &snapshot, &mut session, parent.as_ref()).await;
    let since = changed_since(parent, &snapshot);
    let others = match &since {
        Ok((None, _)) if !job.full => {
            session.others(&job.name, worthwhile(&snapshot)).await.map_err(Error::from)
        }
        _ => Ok(Vec::new()),
    };
    let ((parent, changed), others) = match since.and_then(|since| Ok((since, others?))) {
        Ok(known) => known,
        Err(error) => {
            clean_up(session.abandon()).await;
            return Err(error);
        }
    };
    let mut writer = match BackupWriter::new(session, meta, parent, job.write.clone()) {
        Ok(writer) => writer,
        Err(failed) => {
            let (session, error) = *failed;
            clean_up(session.abandon()).await;
            return Err(error.into());
        }
    };
    if let Err(error) = writer.resume(&leftovers).await {
        tracing::info!(%error, "not all is taken over from interrupted backups");
    }
    // A first backup may have pages in common with other sources; `--full` is to rely on nothing.
    for other in others {
        if let Err(error) = writer.learn(&other).await {
            tracing::info!(%error, "a backup of another source is not compared with");
        }
    }
    let snapshot = Arc::new(snapshot);
    let written = write(&snapshot, changed, &mut writer, &job).await;
    figures::report(&job.name, &snapshot);
    // The pages are right only if the snapshot says so at its end: before anything is committed. It ends
    // with the last page read, not with the last one stored: the source is held no longer than need be.
    let finished = match written {
        Ok(()) => finish(snapshot).await,
        Err(error) => {
            drop(snapshot);
            Err(error)
        }
    };
    let finished = match finished {
        Ok(token) => {
            let until_stored = Unstored { engine: Some(job.engine), token };
            writer.flush().await.map(|()| until_stored).map_err(Error::from)
        }
        Err(error) => Err(error),
    };
    match finished {
        Ok(until_stored) => {
            let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let token = until_stored.token.as_ref().map(|token| &token.0[..]);
            let info = writer.commit(elapsed, token).await?;
            Ok((info, until_stored.stored()))
        }
        Err(error) => {
            clean_up(writer.abandon()).await;
            Err(error)
        }
    }
}

/// Chooses the backup to build on, and takes the moment.
async fn take_snapshot(
    job: &BackupJob,
    session: &Session,
) -> Result<(Snapshot, Option<Parent>), Error> {
    let parent = if job.full { None } else { session.parent(&job.name).await? };
    let baseline = parent.as_ref().and_then(Parent::token).map(SnapshotToken);
    let flag = CancelFlag::new();
    let (coordinator, engine, name) =
        (job.coordinator.clone(), Arc::clone(&job.engine), job.name.clone());
    let asked = flag.clone();
    let mut taking =
        tokio::task::spawn_blocking(move || coordinator.begin(&name, &*engine, baseline, &asked));
    let taken = tokio::select! {
        taken = &mut taking => taken,
        () = job.write.cancel.cancelled() => {
            flag.cancel();
            taking.await
        }
    };
    let failed = |error| SnapshotError::engine("take a snapshot of", &job.name, error);
    let snapshot = taken.map_err(failed)??;
    tracing::info!(source = %job.name, lsn = %snapshot.point().lsn, way = %snapshot.point().way,
        writers_held = ?snapshot.point().writers_held, "snapshot taken");
    Ok((snapshot, parent))
}

/// The parent, where its pages are of the same size, and the pages to be read: none where that is all.
fn changed_since(
    parent: Option<Parent>,
    snapshot: &Snapshot,
) -> Result<(Option<Parent>, Option<PageSet>), Error> {
    let geometry = snapshot.geometry();
    let same = |parent: &Parent| parent.info().meta.page_size == geometry.page_size.get();
    let Some(parent) = parent.filter(same) else { return Ok((None, None)) };
    let Some(mut changed) = snapshot.changed()? else { return Ok((Some(parent), None)) };
    // What is past the parent's end counts as changed, whether the engine says so or not.
    insert_past(&mut changed, parent.info().meta.page_count, geometry.page_count);
    tracing::info!(pages = changed.len(), "the engine knows what changed");
    let parent = parent.sparse(&mut changed);
    Ok((Some(parent), Some(changed)))
}

/// Adds the pages past an end, up to the last one there is.
pub(super) fn insert_past(pages: &mut PageSet, end: u64, page_count: u64) {
    let past = PageNo::from_index(end)
        .and_then(|first| PageRange::new(first, page_count.saturating_sub(end)));
    if let Some(past) = past {
        pages.insert_range(past);
    }
}

fn describe(job: &BackupJob, snapshot: &Snapshot, taken_at: Option<UnixMillis>) -> BackupMeta {
    let (point, geometry) = (snapshot.point(), snapshot.geometry());
    let info = job.engine.info().ok();
    let (engine, object) = info.map_or_else(Default::default, |info| (info.engine, info.object));
    BackupMeta {
        source: job.name.clone(),
        engine,
        object,
        lsn: point.lsn.get(),
        timeline: point.timeline.iter().map(|byte| format!("{byte:02x}")).collect(),
        way: point.way.name().to_owned(),
        created_at: taken_at.unwrap_or_else(clock::now),
        tags: job.tags.clone(),
        page_size: geometry.page_size.get(),
        page_count: geometry.page_count,
        byte_len: geometry.byte_len,
    }
}

async fn write(
    snapshot: &Arc<Snapshot>,
    changed: Option<PageSet>,
    writer: &mut BackupWriter,
    job: &BackupJob,
) -> Result<(), Error> {
    let geometry = snapshot.geometry();
    let pages = changed.as_ref().map_or(geometry.page_count, PageSet::len);
    job.write.progress.expect(pages, pages * u64::from(geometry.page_size.get()));
    let held = || job.write.progress.writers_held(snapshot.writers_held());
    held();
    let mut runs = capture(Arc::clone(snapshot), changed);
    loop {
        let next = tokio::select! {
            biased;
            () = job.write.cancel.cancelled() => return Err(SnapshotError::Cancelled.into()),
            next = runs.recv() => next,
        };
        let Some(next) = next else { return Ok(()) };
        for run in next? {
            writer.push(run).await?;
        }
        held();
    }
}

/// Ends the snapshot, on a thread that may block.
async fn finish(snapshot: Arc<Snapshot>) -> Result<Option<SnapshotToken>, Error> {
    let finished = tokio::task::spawn_blocking(move || {
        // The reading thread has sent its last batch and drops its handle next.
        let mut snapshot = snapshot;
        let snapshot = loop {
            match Arc::try_unwrap(snapshot) {
                Ok(snapshot) => break snapshot,
                Err(shared) => snapshot = shared,
            }
            std::thread::yield_now();
        };
        snapshot.finish(Outcome::Committed)
    });
    let token = finished
        .await
        .map_err(|error| SnapshotError::engine("end the snapshot of", "the source", error))??;
    Ok(token)
}

/// An engine takes what a snapshot held for backed up from the snapshot's end on, which comes before the backup's: unless there is a
/// backup in the end, it is told.
struct Unstored {
    /// None once there is one.
    engine: Option<Arc<dyn Engine>>,
    token: Option<SnapshotToken>,
}

impl Unstored {
    fn stored(mut self) -> Option<SnapshotToken> {
        self.engine = None;
        self.token.take()
    }
}

impl Drop for Unstored {
    fn drop(&mut self) {
        if let Some(engine) = &self.engine {
            engine.unstored(self.token.as_ref());
        }
    }
}
