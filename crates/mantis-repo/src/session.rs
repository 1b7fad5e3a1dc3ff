//! One run of something that writes to a repository, from its intent to its outcome.
//!
//! The order of the steps and what a crash right after each leaves:
//!
//! 1. `sess/<s>`: everyone sees that a session is under way. Left behind: a session that a collector
//!    gives up later; nothing of any backup is touched.
//! 2. `seg/<s>/…`: the pages. Left behind: segments that no manifest names, freed by a collector.
//! 3. `lay/<s>/…`, `man/<s>/…`, read back: long lists of segments, the manifest. Left behind: the same, and a manifest that nobody
//!    committed, which is no backup.
//! 4. `out/<s>`, created if absent: **the commit**. Before it there is no backup, after it there is.
//! 5. `sess/<s>` is deleted, as a courtesy; the outcome alone counts.
//!
//! A session that is given up creates its outcome too, before it removes anything that it wrote.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::StreamExt;
use mantis_sink::{Payload, Sink, Span};
use mantis_stream::Compression;
use serde::{Deserialize, Serialize};

use crate::envelope::{self, Envelope, Kind};
use crate::manifest::{Borrow, Layer, LayerList, seal_list};
use crate::session_records::{Intent, SessionOutcome, create_outcome, json, read_outcome};
use crate::{
    Manifest, ObjectHash, Place, RepoError, Repository, SegmentRef, SessionId, UnixMillis,
};

/// How long a commit's answer may take before it is looked at twice.
const LONG_AGO: Duration = Duration::from_secs(600);

/// Segments listed in a manifest itself.
const INLINE_SEGMENTS: usize = 4;
/// Runs of borrowed pages listed in a manifest itself.
pub(crate) const INLINE_BORROWS: usize = 16;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Purpose {
    /// It writes a backup.
    Backup,
    /// It reads backups: collectors leave them whole until it ends, or give it up.
    Restore,
    /// It brings back a forgotten backup.
    Undo,
    /// It puts layers of backups together.
    Compact,
}

/// A session under way.
#[derive(Debug)]
pub struct Session {
    pub(crate) repo: Repository,
    id: SessionId,
    entropy: [u8; 32],
    salts: u64,
    /// Whether a manifest may be in the store, whatever the store said.
    manifest_sent: bool,
    /// How old a look which backups there are may be that it relies on.
    pub(crate) looks_good_for: Duration,
    /// Backups of other sessions may name segments of this one already.
    pub(crate) shares_its_segments: bool,
}

impl Session {
    /// Announces a session. `entropy` must be fresh random bytes; `owner` tells people who it is. The first one of an open repository looks
    /// which there are; later ones go on from there, as [`Self::begin_after`].
    ///
    /// # Errors
    /// What the store reports.
    pub async fn begin(
        repo: &Repository,
        what: Purpose,
        entropy: [u8; 32],
        owner: &str,
        began_at: UnixMillis,
    ) -> Result<Self, RepoError> {
        let newest = match repo.memory().newest() {
            Some(newest) => newest,
            None => {
                let mut newest = 0;
                for folder in [Place::OUTCOMES, Place::SESSIONS] {
                    for object in repo.sink().list(folder).await? {
                        let session = Place::session_of(&object.key);
                        newest = newest.max(session.map_or(0, |session| session.sequence));
                    }
                }
                repo.memory().saw(newest, true);
                newest
            }
        };
        Self::begin_after(repo, newest, what, entropy, owner, began_at).await
    }

    /// As [`Self::begin`], for whoever knows the largest sequence of any session before: saves two listings. A
    /// sequence too small only sorts the session among older ones.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn begin_after(
        repo: &Repository,
        newest: u64,
        what: Purpose,
        entropy: [u8; 32],
        owner: &str,
        began_at: UnixMillis,
    ) -> Result<Self, RepoError> {
        let seed = blake3::derive_key("mantis-backup 2026 session id", &entropy);
        let mut unique = [0; 16];
        unique.copy_from_slice(&seed[..16]);
        let id = SessionId { sequence: newest.saturating_add(1), unique };
        let mut session = Self {
            repo: repo.clone(),
            id,
            entropy,
            salts: 0,
            manifest_sent: false,
            looks_good_for: Duration::ZERO,
            shares_its_segments: false,
        };
        let intent = Intent { owner: owner.to_owned(), began_at, what };
        let sealed = session.seal(Kind::Session, json("the session", &intent)?)?;
        repo.memory().began(id, owner);
        session.put(Place::Session(id), sealed).await?;
        repo.memory().saw(id.sequence, false);
        Ok(session)
    }

    /// The same session, which need not ask the store which backups there are where this open repository did within so long, or, where asking takes
    /// long, within twenty times as long as that took.
    ///
    /// Thousands of first backups in a row list all backups once then, not once each. What is found is asked whether it still stands. Where
    /// somebody else made a backup of the same source meanwhile, this one stores more than it need; nothing else can come of it.
    #[must_use]
    pub fn with_looks_good_for(mut self, ago: Duration) -> Self {
        self.looks_good_for = ago;
        self
    }

    /// The session's id.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// A salt that no other object has.
    pub(crate) fn salt(&mut self) -> [u8; 32] {
        self.salts += 1;
        let input = [&self.entropy[..], &self.salts.to_le_bytes()].concat();
        blake3::derive_key("mantis-backup 2026 object salt", &input)
    }

    /// The envelope of a new object.
    pub(crate) fn envelope(&mut self, kind: Kind) -> Result<Envelope, RepoError> {
        let salt = self.salt();
        self.repo.vault().envelope(kind, salt)
    }

    pub(crate) fn seal(&mut self, kind: Kind, chunk: Bytes) -> Result<Payload, RepoError> {
        envelope::seal(&self.envelope(kind)?, &chunk, Compression::None)
    }

    pub(crate) async fn put(&self, place: Place, payload: Payload) -> Result<(), RepoError> {
        put_own(self.repo.sink(), place, payload).await
    }

    /// Makes a layer of segments; the list of many is stored as an object of its own, which the manifests of
    /// later backups name too: so a manifest is as short as what changed, however large the database.
    pub(crate) async fn store_layer(
        &mut self,
        segments: Vec<SegmentRef>,
        borrows: Vec<Borrow>,
    ) -> Result<Layer, RepoError> {
        let layer = Layer { list: None, segments, borrows, shared: false };
        if layer.segments.len() <= INLINE_SEGMENTS && layer.borrows.len() <= INLINE_BORROWS {
            return Ok(layer);
        }
        let sealed = seal_list(&layer, &self.envelope(Kind::Layer)?)?.to_bytes();
        let list = LayerList { session: self.id, hash: ObjectHash::of([&sealed[..]]) };
        self.put(Place::Layer(list.session, list.hash), sealed.into()).await?;
        Ok(Layer { list: Some(list), ..layer })
    }

    /// Stores a manifest and reads it back; its hash.
    pub(crate) async fn store_manifest(
        &mut self,
        manifest: &Manifest,
    ) -> Result<ObjectHash, RepoError> {
        let sealed = manifest.seal(&self.envelope(Kind::Manifest)?)?.to_bytes();
        let hash = ObjectHash::of([&sealed[..]]);
        let place = Place::Manifest(self.id, hash);
        self.manifest_sent = true;
        self.put(place, sealed.clone().into()).await?;
        let key = place.key().map_err(|error| RepoError::damaged("the manifest", error))?;
        let span = Span::Whole { limit: sealed.len() as u64 };
        if self.repo.sink().get(&key, span).await? == sealed {
            return Ok(hash);
        }
        Err(RepoError::damaged(key, "it does not read back as it was written"))
    }

    /// Commits: from here on the backup of this manifest exists.
    ///
    /// Of this and a collector that gives the session up, exactly one can create the outcome. Where
    /// the answer is lost, reading back tells who it was. Where the store itself failed, an outcome that is seen need not
    /// be durable (a folder whose sync failed shows it, and a power cut takes it): that is no success.
    pub(crate) async fn commit(mut self, manifest: ObjectHash) -> Result<(), RepoError> {
        let ours = SessionOutcome::Commit { manifest };
        let salt = self.salt();
        let asked = SystemTime::now();
        let created = create_outcome(&self.repo, self.id, &ours, salt).await;
        if matches!(created, Ok(true)) {
            if asked.elapsed().is_ok_and(|took| took > LONG_AGO) {
                self.withdraw_if_freed(manifest).await?;
            }
        } else {
            match read_outcome(&self.repo, self.id).await {
                Ok(found) if found == ours => match created {
                    Err(error) if !error.is_retryable() => return Err(error),
                    _ => {}
                },
                Ok(_) => return Err(RepoError::Fenced),
                Err(error) => return Err(created.err().unwrap_or(error)),
            }
        }
        self.forget_intent().await;
        Ok(())
    }

    /// The outcome was created, after so long that it may have been created before, its answer lost, and the backup forgotten and freed
    /// since, its records too: then it says that there is a backup of which nothing is there, and goes again.
    async fn withdraw_if_freed(&self, manifest: ObjectHash) -> Result<(), RepoError> {
        let damaged = |error| RepoError::damaged("an object", error);
        let manifest = Place::Manifest(self.id, manifest).key().map_err(damaged)?;
        match self.repo.sink().stat(&manifest).await {
            Err(error) if error.is_not_found() => {
                let outcome = Place::Outcome(self.id).key().map_err(damaged)?;
                self.repo.sink().delete(&outcome).await?;
                Err(RepoError::Fenced)
            }
            Err(error) => {
                tracing::warn!(key = %manifest, %error, "whether it is still there is not known");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    async fn forget_intent(&self) {
        if let Ok(key) = Place::Session(self.id).key()
            && let Err(error) = self.repo.sink().delete(&key).await
        {
            tracing::debug!(%key, %error, "a session's intent stays behind; its outcome counts");
        }
    }

    /// Ends a session that only read. Where that fails, a collector gives it up later.
    pub async fn end(self) {
        self.forget_intent().await;
    }

    /// Gives the session up before its commit and removes what it wrote, as far as that can be done;
    /// the rest is a collector's.
    ///
    /// Whoever creates the outcome decides what becomes of the segments. Where another session or a collector gave
    /// this one up first, they are left: the other session may have taken them over. So are segments that others share, and the outcome with
    /// them. A crash after the outcome is created leaves a session that has ended, whose objects a collector frees.
    pub async fn abandon(mut self) {
        self.repo.memory().doubt();
        let salt = self.salt();
        let created = create_outcome(&self.repo, self.id, &SessionOutcome::Done, salt).await;
        if !matches!(created, Ok(true)) {
            tracing::debug!(session = %self.id, ?created, "what it wrote is left to a collector");
            if created.is_ok() {
                self.forget_intent().await;
            }
            return;
        }
        let sink = self.repo.sink();
        let kept = self.shares_its_segments.then_some(Place::SEGMENTS);
        let folders = [Place::MANIFESTS, Place::LAYERS, Place::SEGMENTS];
        for folder in folders.into_iter().filter(|folder| Some(*folder) != kept) {
            let folder = format!("{folder}/{}", self.id);
            match sink.list(&folder).await {
                Ok(objects) => {
                    let deletes = objects.into_iter().map(|object| async move {
                        if let Err(error) = sink.delete(&object.key).await {
                            tracing::warn!(key = %object.key, %error, "left behind; prune will free it");
                        }
                    });
                    futures::stream::iter(deletes).buffer_unordered(8).collect::<Vec<()>>().await;
                }
                Err(error) => tracing::warn!(%folder, %error, "left behind; prune will free it"),
            }
        }
        self.forget_intent().await;
        // Nothing of the session is left that it could say anything about. A manifest may be: one that could not be deleted, or
        // that arrives late; without an outcome it would be taken for a backup that lost it.
        if !self.manifest_sent
            && !self.shares_its_segments
            && let Ok(key) = Place::Outcome(self.id).key()
            && let Err(error) = self.repo.sink().delete(&key).await
        {
            tracing::debug!(%key, %error, "an outcome stays behind");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.repo.memory().ended(self.id);
    }
}

/// Creates an object whose bytes nobody else can write. Where the store says that it is there
/// already, or lost its answer, the object is read back: if it is ours, all is well.
pub(crate) async fn put_own(
    sink: &dyn Sink,
    place: Place,
    payload: Payload,
) -> Result<(), RepoError> {
    let key = place.key().map_err(|error| RepoError::damaged("an object", error))?;
    let Err(error) = sink.put_new(&key, payload.clone()).await else { return Ok(()) };
    if error.is_already_exists() || error.is_retryable() {
        let stored = sink.get(&key, Span::Whole { limit: payload.len() }).await;
        if stored.is_ok_and(|stored| stored == payload.to_bytes()) {
            return Ok(());
        }
    }
    Err(error.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mantis_sink::MemorySink;

    use super::*;

    #[tokio::test]
    async fn a_commit_that_comes_after_its_backup_was_freed_is_taken_back() {
        let now = UnixMillis(1);
        let repo = Repository::init(Arc::new(MemorySink::new()), [1; 32], now, None).await.unwrap();
        let session = Session::begin(&repo, Purpose::Backup, [2; 32], "test", now).await.unwrap();
        let manifest = ObjectHash::of([&b"manifest"[..]]);
        let place = Place::Manifest(session.id(), manifest);
        let outcome = Place::Outcome(session.id()).key().unwrap();
        let commit = SessionOutcome::Commit { manifest };
        assert!(create_outcome(&repo, session.id(), &commit, [3; 32]).await.unwrap());
        session.put(place, Bytes::from_static(b"manifest").into()).await.unwrap();
        session.withdraw_if_freed(manifest).await.unwrap();
        repo.sink().stat(&outcome).await.unwrap();
        repo.sink().delete(&place.key().unwrap()).await.unwrap();
        let withdrawn = session.withdraw_if_freed(manifest).await;
        assert!(matches!(withdrawn, Err(RepoError::Fenced)));
        assert!(repo.sink().stat(&outcome).await.unwrap_err().is_not_found());
    }
}
