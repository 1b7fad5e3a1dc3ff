//! The records of backups that are long gone.
//!
//! Of a backup that was forgotten and freed two records are left: `out/<s>`, that its session committed, and `forget/<s>`. Whoever asks
//! which backups there are lists them all, so they are removed, in two collections:
//!
//! 1. One that finds both, and neither a manifest nor an announcement of the session, removes `out/<s>`.
//! 2. A later one that finds `forget/<s>` and no `out/<s>` removes that.
//!
//! A crash after 1 leaves what 2 removes. Power cuts undo no earlier step: that the manifest is gone is made durable before 1, that
//! the outcome is before 2. Outcomes that say anything but `commit` stay, as they keep a session that slept from committing; so does the
//! newest, as sessions count on from it.
//!
//! What others see meanwhile: whoever finds an outcome listed and then gone takes the session for one without a backup, but only where
//! no manifest of it is left ([`Repository::is_swept`]). `docs/protocol.md` has the argument, `tests/records_model.rs` the model.

use futures::{StreamExt, TryStreamExt};
use mantis_sink::{ObjectKey, SinkError};

use crate::collector::{DELETED_AT_ONCE, LOOKS};
use crate::session_records::{SessionOutcome, read_outcome};
use crate::{Place, RepoError, Repository, SessionId, UnixMillis};

/// Records of backups of which nothing else is left, as they were listed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct OldRecords {
    /// Sessions whose outcome can go.
    outcomes: Vec<SessionId>,
    /// Sessions of which only the record of forgetting is left.
    forgotten: Vec<SessionId>,
}

impl OldRecords {
    pub(crate) const fn len(&self) -> usize {
        self.outcomes.len() + self.forgotten.len()
    }
}

fn key_of(place: Place) -> Result<ObjectKey, RepoError> {
    place.key().map_err(|error| RepoError::damaged("a record", error))
}

fn is_gone<T>(asked: Result<T, SinkError>) -> Result<bool, RepoError> {
    match asked {
        Ok(_) => Ok(false),
        Err(error) if error.is_not_found() => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The keys that looks came to, several under way at once.
async fn answers<L>(looks: impl Iterator<Item = L>) -> Result<Vec<ObjectKey>, RepoError>
where
    L: Future<Output = Result<Option<ObjectKey>, RepoError>>,
{
    let mut looks = futures::stream::iter(looks).buffer_unordered(LOOKS);
    let mut found = Vec::new();
    while let Some(key) = looks.try_next().await? {
        found.extend(key);
    }
    Ok(found)
}

impl Repository {
    /// What can go, by the store's lists.
    pub(crate) async fn old_records(&self) -> Result<OldRecords, RepoError> {
        // In this order. A backup is forgotten after its outcome was created: one that was forgotten then and has no outcome now lost it
        // to an earlier collection. And it is committed after its manifest was stored: where there is none now, it was freed.
        let forgotten = self.sessions_in(Place::FORGOTTEN).await?;
        let outcomes = self.sessions_in(Place::OUTCOMES).await?;
        let under_way = self.sessions_in(Place::SESSIONS).await?;
        let manifests = self.sink().list(Place::MANIFESTS).await?;
        let mut with_manifest: Vec<SessionId> = manifests
            .iter()
            .filter_map(|object| Place::written_by(&object.key).map(|(session, _)| session))
            .collect();
        with_manifest.sort_unstable();
        let mut old = OldRecords::default();
        for session in forgotten {
            let has = |sessions: &[SessionId]| sessions.binary_search(&session).is_ok();
            if has(&under_way) || has(&with_manifest) {
                continue;
            }
            if !has(&outcomes) {
                old.forgotten.push(session);
            } else if outcomes.last() != Some(&session) {
                old.outcomes.push(session);
            }
        }
        Ok(old)
    }

    /// Removes them, but for those that a store has locked, or of which it does not say the same when it is asked for each; how many
    /// are gone.
    pub(crate) async fn sweep_records(
        &self,
        old: OldRecords,
        now: UnixMillis,
    ) -> Result<u64, RepoError> {
        let looks = old.forgotten.into_iter().map(|session| async move {
            let outcome = key_of(Place::Outcome(session))?;
            let gone = is_gone(self.sink().stat(&outcome).await)?;
            self.if_not_locked(gone.then_some(Place::Forget(session)), now).await
        });
        let forgotten = answers(looks).await?;
        self.sink().settle(Place::OUTCOMES).await?;
        self.delete_all(&forgotten).await?;
        let looks = old.outcomes.into_iter().map(|session| async move {
            let gone = self.manifest_is_gone(session).await?;
            self.if_not_locked(gone.then_some(Place::Outcome(session)), now).await
        });
        let outcomes = answers(looks).await?;
        self.delete_all(&outcomes).await?;
        Ok((forgotten.len() + outcomes.len()) as u64)
    }

    /// Whether the backup that a session committed has no manifest any more, durably.
    async fn manifest_is_gone(&self, session: SessionId) -> Result<bool, RepoError> {
        let manifest = match read_outcome(self, session).await {
            Ok(SessionOutcome::Commit { manifest }) => Place::Manifest(session, manifest),
            // It cannot be read, or was never to be forgotten: it stays.
            Ok(SessionOutcome::Fenced | SessionOutcome::Done) => return Ok(false),
            Err(error) if error.is_damage() => return Ok(false),
            Err(error) => return Err(error),
        };
        if !is_gone(self.sink().stat(&key_of(manifest)?).await)? {
            return Ok(false);
        }
        // Whoever freed it may have been killed before that was durable.
        self.sink().settle(&format!("{}/{session}", Place::MANIFESTS)).await?;
        Ok(true)
    }

    async fn if_not_locked(
        &self,
        place: Option<Place>,
        now: UnixMillis,
    ) -> Result<Option<ObjectKey>, RepoError> {
        let Some(place) = place else { return Ok(None) };
        let key = key_of(place)?;
        let is_locked = self.sink().locks() && self.locked_past(&key, now).await?.is_some();
        Ok((!is_locked).then_some(key))
    }

    async fn delete_all(&self, keys: &[ObjectKey]) -> Result<(), RepoError> {
        for keys in keys.chunks(DELETED_AT_ONCE) {
            self.sink().delete_many(keys).await?;
        }
        Ok(())
    }

    /// Whether nothing says any more that a session committed a backup, and nothing is left of one: its records were removed since they
    /// were listed. Where a manifest is left, the store lost the outcome.
    pub(crate) async fn is_swept(&self, session: SessionId) -> Result<bool, RepoError> {
        let outcome = key_of(Place::Outcome(session))?;
        if !is_gone(self.sink().stat(&outcome).await)? {
            return Ok(false);
        }
        let left = self.sink().list(&format!("{}/{session}", Place::MANIFESTS)).await?;
        Ok(left.is_empty())
    }
}
