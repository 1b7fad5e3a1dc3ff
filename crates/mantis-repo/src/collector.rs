//! Frees what nothing refers to, while others back up, restore and forget, and beside other collectors.
//!
//! The order of the steps is what makes it safe; no clock and no lock does. (`docs/protocol.md` has the argument,
//! and `tests/collector_model.rs` the model that was checked, with the changes to it that break it.)
//!
//! 1. List what sessions wrote, then which sessions are under way, then what backups refer to. What is left,
//!    of sessions that have ended, are the candidates.
//! 2. Write the list of the candidates.
//! 3. *Then* look who is under way. Each one ends by itself, or is fenced: its outcome is created before it
//!    can create it.
//! 4. Read again what backups refer to: that is spared. Delete the rest.
//!    What a store has locked counts as spared until its time.
//! 5. If nothing was spared, delete the list. Else it stands: another collector may be about to delete what
//!    this one spared, so nobody may refer to it anew.
//!
//! Before that, the records of backups that earlier runs freed go (`old_records`). In the end, what killed writers left and that never was an object goes ([`mantis_sink::Sink::sweep`]).
//!
//! A crash after 1 leaves nothing; after 2 to 4 a list that stands, and the next collector goes on at 3. Clocks
//! decide when somebody is fenced, never whether that is safe.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use futures::{StreamExt, TryStreamExt};
use mantis_sink::{ObjectKey, race_creators};

use crate::lost_outcomes;
use crate::references::{References, Referred};
use crate::session_records::{SessionOutcome, create_outcome, read_intent};
use crate::{CollectionId, Place, RepoError, Repository, SessionId, UnixMillis};

/// Objects that a store is asked to delete at once; the most that S3 takes.
pub(crate) const DELETED_AT_ONCE: usize = 1000;
/// Questions about objects under way at once.
pub(crate) const LOOKS: usize = 16;

/// How a collection runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneOptions {
    /// How long a forgotten backup can be brought back, and how long a session may be under way before it is
    /// given up, in milliseconds. 0 only where nobody else uses the repository.
    pub grace_ms: u64,
    /// Say what would be freed, and free nothing.
    pub dry_run: bool,
    /// Nobody else uses the repository meanwhile: needed where a store lets two create one object.
    pub exclusive: bool,
}

/// What a collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Bytes freed; with a dry run, to be freed.
    pub freed_bytes: u64,
    /// Objects freed.
    pub freed_objects: u64,
    /// Bytes that wait for sessions under way.
    pub waiting_bytes: u64,
    /// Sessions under way that might refer to what is to be freed. The next collection after they have ended,
    /// or after the time of grace, frees it.
    pub waiting_for: Vec<SessionId>,
    /// Sessions that were given up.
    pub fenced: Vec<SessionId>,
    /// Bytes that are kept because a forgotten backup can still be brought back.
    pub graced_bytes: u64,
    /// Bytes that backups need.
    pub kept_bytes: u64,
    /// Bytes that nothing needs and that are locked: they are freed by the first run after their time.
    pub locked_bytes: u64,
    /// When the last of them can be freed.
    pub locked_until: Option<UnixMillis>,
    /// Records of backups that are long gone, removed; with a dry run, to be removed.
    pub swept_records: u64,
}

/// One run.
struct Collector<'a> {
    repo: &'a Repository,
    options: PruneOptions,
    entropy: [u8; 32],
    salts: u64,
    now: UnixMillis,
    references: References,
    objects: BTreeMap<ObjectKey, u64>,
    report: PruneReport,
}

impl Repository {
    /// Until when the store has an object locked, if it is so still; one that is gone is not.
    pub(crate) async fn locked_past(
        &self,
        key: &ObjectKey,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, RepoError> {
        match self.sink().locked_until(key).await {
            Ok(until) => Ok(until.map(UnixMillis::of).filter(|until| *until > now)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Frees what nothing refers to. Interrupted at any point, it can be run again.
    ///
    /// # Errors
    /// [`RepoError::Unsafe`] where anything is doubtful: nothing is freed then. Or what the store reports.
    pub async fn prune(
        &self,
        options: PruneOptions,
        entropy: [u8; 32],
        now: UnixMillis,
    ) -> Result<PruneReport, RepoError> {
        let mut collector = Collector {
            repo: self,
            options,
            entropy,
            salts: 0,
            now,
            references: References::default(),
            objects: BTreeMap::new(),
            report: PruneReport::default(),
        };
        collector.run().await?;
        if !options.dry_run {
            collector.sweep().await;
        }
        Ok(collector.report)
    }
}

impl Collector<'_> {
    fn salt(&mut self) -> [u8; 32] {
        self.salts += 1;
        let input = [&self.entropy[..], &self.salts.to_le_bytes()].concat();
        blake3::derive_key("mantis-backup 2026 collector salt", &input)
    }

    /// The bytes of objects, as far as they were there when they were listed.
    fn bytes_of<'k>(&self, keys: impl IntoIterator<Item = &'k ObjectKey>) -> u64 {
        keys.into_iter().filter_map(|key| self.objects.get(key)).sum()
    }

    fn cutoff(&self) -> UnixMillis {
        let grace = i64::try_from(self.options.grace_ms).unwrap_or(i64::MAX);
        UnixMillis(self.now.0.saturating_sub(grace))
    }

    /// What a collector may free is decided by who creates an outcome first: the store must tell. One that is far away
    /// is put to the test, as what speaks a protocol need not keep its promises.
    async fn check_store(&self) -> Result<(), RepoError> {
        if self.options.exclusive {
            return Ok(());
        }
        let sink = self.repo.sink();
        let found = if !sink.capabilities().exclusive_create {
            Err("it does not promise it".to_owned())
        } else if self.repo.is_remote() {
            let seed = blake3::derive_key("mantis-backup 2026 collector probe", &self.entropy);
            let [a, b, c, d, e, f, g, h, ..] = seed;
            let raced = race_creators(sink, u64::from_le_bytes([a, b, c, d, e, f, g, h])).await;
            raced.map_err(|fault| fault.what)
        } else {
            Ok(String::new())
        };
        let location = self.repo.location();
        found.map(drop).map_err(|what| RepoError::NotExclusive { location, what })
    }

    async fn run(&mut self) -> Result<(), RepoError> {
        self.repo.check_identity().await?;
        let unfinished = self.repo.collections().await?;
        self.objects = self.repo.written_objects().await?;
        if !self.options.dry_run {
            self.check_store().await?;
            for collection in unfinished {
                self.finish(collection).await?;
            }
        }
        // Before anything else is freed: the records of what goes now are there until the next run.
        let old = self.repo.old_records().await?;
        self.report.swept_records = match self.options.dry_run {
            true => old.len() as u64,
            false => Box::pin(self.repo.sweep_records(old, self.now)).await?,
        };
        let (candidates, referred) = self.candidates().await?;
        let needed = self.references.read(self.repo, UnixMillis(i64::MAX)).await?;
        self.report.kept_bytes = self.bytes_of(&needed.keys);
        self.report.graced_bytes =
            self.bytes_of(&referred.keys).saturating_sub(self.report.kept_bytes);
        if self.options.dry_run {
            self.report.freed_bytes = self.bytes_of(&candidates);
            self.report.freed_objects = candidates.len() as u64;
            return Ok(());
        }
        self.tidy_sessions(&referred).await?;
        if candidates.is_empty() {
            return Ok(());
        }
        let mut id = [0; 16];
        id.copy_from_slice(&self.salt()[..16]);
        let (id, salt) = (CollectionId(id), self.salt());
        self.repo.condemn(id, salt, &candidates).await?;
        self.finish(id).await
    }

    /// What nothing refers to, of sessions that have ended; and what is referred to.
    async fn candidates(&mut self) -> Result<(Vec<ObjectKey>, Referred), RepoError> {
        // In this order: a session that ends between two of the steps is seen under way, or by its outcome.
        self.objects = self.repo.written_objects().await?;
        let open = self.repo.sessions_in(Place::SESSIONS).await?;
        let referred = self.references.read(self.repo, self.cutoff()).await?;
        let under_way = |session: &SessionId| {
            open.binary_search(session).is_ok() && !referred.ended.contains(session)
        };
        let owner = |key: &ObjectKey| Place::written_by(key).map(|(session, _)| session);
        let closed = |key: &ObjectKey| owner(key).is_some_and(|session| !under_way(&session));
        let stray_manifest = |key: &ObjectKey| {
            key.as_str().starts_with(Place::MANIFESTS)
                && owner(key).is_some_and(|session| !referred.ended.contains(&session))
        };
        // What is on a list already is that list's matter.
        let listed = self.repo.condemned().await?;
        let candidates: Vec<ObjectKey> = self
            .objects
            .keys()
            .filter(|key| !referred.keys.contains(*key) && !listed.contains(*key) && closed(key))
            .cloned()
            .collect();
        // A store that lost an outcome, or that lists none where there are some, would have us free what backups need.
        if candidates.iter().any(stray_manifest)
            && let Some((manifest, ..)) = self.repo.lost_outcomes().await?.first()
        {
            let what = format!("{manifest}: {}", lost_outcomes::WHAT);
            return Err(RepoError::Unsafe { what });
        }
        Ok((candidates, referred))
    }

    /// Deletes the intents of sessions that have ended.
    async fn tidy_sessions(&self, referred: &Referred) -> Result<(), RepoError> {
        for session in self.repo.sessions_in(Place::SESSIONS).await? {
            if referred.ended.contains(&session) {
                self.delete(Place::Session(session)).await?;
            }
        }
        Ok(())
    }

    /// What was to be freed is: temporary files that cannot be removed are no reason to call that a failure.
    async fn sweep(&self) {
        let since_1970 = Duration::from_millis(self.cutoff().0.max(0).unsigned_abs());
        match self.repo.sink().sweep(UNIX_EPOCH + since_1970).await {
            Ok(swept) => tracing::debug!(swept, "temporary files that killed writers left"),
            Err(error) => tracing::warn!(%error, "temporary files that killed writers left stay"),
        }
    }

    async fn delete(&self, place: Place) -> Result<(), RepoError> {
        let key = place.key().map_err(|error| RepoError::damaged("an object", error))?;
        Ok(self.repo.sink().delete(&key).await?)
    }

    /// Steps 3 to 5 of a collection whose list stands, whoever wrote it.
    async fn finish(&mut self, collection: CollectionId) -> Result<(), RepoError> {
        let Some(condemned) = self.repo.condemned_by(collection).await? else { return Ok(()) };
        let waiting = self.resolve_sessions().await?;
        if !waiting.is_empty() {
            self.report.waiting_bytes += self.bytes_of(&condemned);
            self.report.waiting_for.extend(waiting);
            self.report.waiting_for.sort_unstable();
            self.report.waiting_for.dedup();
            return Ok(());
        }
        let referred = self.references.read(self.repo, self.cutoff()).await?;
        // Who forgot a backup may have been killed before that was durable: a power cut must not bring back a backup whose
        // segments are gone.
        for folder in [Place::FORGOTTEN, Place::OUTCOMES] {
            self.repo.sink().settle(folder).await?;
        }
        let count = condemned.len();
        let doomed: Vec<ObjectKey> =
            condemned.into_iter().filter(|key| !referred.keys.contains(key)).collect();
        let sink = self.repo.sink();
        let mut spared = count - doomed.len();
        let doomed = if sink.locks() {
            let free = self.without_locked(doomed).await?;
            spared = count - free.len();
            free
        } else {
            doomed
        };
        for keys in doomed.chunks(DELETED_AT_ONCE) {
            sink.delete_many(keys).await?;
            // What the next list of the same run shall not name again.
            for len in keys.iter().filter_map(|key| self.objects.get(key)) {
                self.report.freed_bytes += len;
                self.report.freed_objects += 1;
            }
        }
        if spared > 0 {
            tracing::info!(%collection, spared, "the list stands, for what was spared");
            return Ok(());
        }
        self.delete(Place::Condemned(collection)).await
    }

    /// Leaves out what is locked: it is freed by the first run after its time, for which the list stands.
    async fn without_locked(
        &mut self,
        doomed: Vec<ObjectKey>,
    ) -> Result<Vec<ObjectKey>, RepoError> {
        let (repo, now) = (self.repo, self.now);
        let looks = doomed.into_iter().map(|key| async move {
            let until = repo.locked_past(&key, now).await?;
            Ok::<_, RepoError>((key, until))
        });
        let mut looks = futures::stream::iter(looks).buffer_unordered(LOOKS);
        let mut free = Vec::new();
        while let Some((key, until)) = looks.try_next().await? {
            let Some(until) = until else {
                free.push(key);
                continue;
            };
            self.report.locked_bytes += self.objects.get(&key).copied().unwrap_or(0);
            self.report.locked_until = self.report.locked_until.max(Some(until));
        }
        Ok(free)
    }

    /// Sees to it that every session under way has an outcome, if it has been under way for long enough; those
    /// that have not are returned.
    async fn resolve_sessions(&mut self) -> Result<Vec<SessionId>, RepoError> {
        let open = self.repo.sessions_in(Place::SESSIONS).await?;
        let ended = self.repo.sessions_in(Place::OUTCOMES).await?;
        let mut waiting = Vec::new();
        for session in open {
            if ended.binary_search(&session).is_ok() {
                continue;
            }
            let began_at = match read_intent(self.repo, session).await {
                Ok(intent) => intent.began_at,
                // It ended a moment ago, or nobody can read what it is: it is given up.
                Err(error) if error.is_damage() => UnixMillis(i64::MIN),
                Err(error) => return Err(error),
            };
            if began_at > self.cutoff() {
                waiting.push(session);
                continue;
            }
            let salt = self.salt();
            // Else it made it, or another collector was first: it has an outcome.
            if create_outcome(self.repo, session, &SessionOutcome::Fenced, salt).await? {
                self.report.fenced.push(session);
            }
        }
        Ok(waiting)
    }
}
