//! The newest backup of a source.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::sync::{Mutex, MutexGuard};

use crate::catalogue::READS;
use crate::session_records::read_outcome;
use crate::{Manifest, ObjectHash, Place, RepoError, Repository, SessionId};

/// Locks of those who read what sessions committed; each is of many sessions.
const LOCKS: usize = 256;

/// Turns to read what a session committed.
#[derive(Debug)]
pub(crate) struct Reading(Box<[Mutex<()>]>);

impl Default for Reading {
    fn default() -> Self {
        Self((0..LOCKS).map(|_| Mutex::default()).collect())
    }
}

impl Reading {
    /// A turn, until it is dropped. Who has one waits for no other.
    async fn turn(&self, session: SessionId) -> Option<MutexGuard<'_, ()>> {
        // Ids are random.
        let lock = self.0.get(usize::from(session.unique[0]) % LOCKS)?;
        Some(lock.lock().await)
    }
}

/// None in place of damage: what is damaged is not built on.
fn undamaged<T>(read: Result<Option<T>, RepoError>) -> Result<Option<T>, RepoError> {
    match read {
        Err(error) if error.is_damage() => Ok(None),
        read => read,
    }
}

impl Repository {
    /// As [`Self::live_sessions`], of a look that began no longer ago, or took long; a new one where there is none.
    pub(crate) async fn live_sessions_within(
        &self,
        ago: Duration,
    ) -> Result<Arc<[SessionId]>, RepoError> {
        if ago.is_zero() {
            return Ok(self.live_sessions().await?.into());
        }
        if let Some(live) = self.memory().look(ago) {
            return Ok(live);
        }
        let (began, live) = (Instant::now(), Arc::from(self.live_sessions().await?));
        self.memory().looked(began, began.elapsed(), Arc::clone(&live));
        Ok(live)
    }

    /// The newest backup of a source, with all its segments, and the hash of its manifest. Reads from the
    /// newest session back, and no further than to the newest that made a backup of the source.
    ///
    /// Which sessions there are may be known from a look that began so long ago.
    pub(crate) async fn newest_of(
        &self,
        source: &str,
        looked_within: Duration,
    ) -> Result<Option<(Manifest, ObjectHash)>, RepoError> {
        let sessions = self.live_sessions_within(looked_within).await?;
        let sessions: Vec<SessionId> = sessions.iter().rev().copied().collect();
        let reads = sessions.into_iter().map(|session| self.read_if_of(session, source));
        let mut reads = futures::stream::iter(reads).buffered(READS);
        let mut newest: Option<Manifest> = None;
        while let Some(read) = reads.next().await {
            let manifest = match read {
                Ok(Some((manifest, _))) => manifest,
                Ok(None) => continue,
                // One that cannot be read is not built on; the backup itself goes on.
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error),
            };
            if manifest.info.meta.source != source {
                continue;
            }
            // A later generation of an older backup has a later session too.
            let first_generation = manifest.info.generation == 0;
            let order = |manifest: &Manifest| {
                (manifest.info.meta.created_at, manifest.info.generation, manifest.info.session)
            };
            if newest.as_ref().is_none_or(|newest| order(newest) < order(&manifest)) {
                newest = Some(manifest);
            }
            if first_generation {
                break;
            }
        }
        drop(reads);
        let Some(newest) = newest else {
            if !looked_within.is_zero() {
                // That there is none is believed of a repository that is there.
                self.check_identity().await?;
            }
            return Ok(None);
        };
        let standing = self.read_standing_whole(newest.info.session).await?;
        if standing.is_none() && !looked_within.is_zero() {
            return Box::pin(self.newest_of(source, Duration::ZERO)).await;
        }
        Ok(standing)
    }

    /// What a session committed; none as well where it is known to be of another source. Of what is known of none, many that ask at once wait for
    /// one that reads it: of thousands of first backups each else reads all that others made meanwhile.
    async fn read_if_of(
        &self,
        session: SessionId,
        source: &str,
    ) -> Result<Option<(Manifest, ObjectHash)>, RepoError> {
        let is_of_another = || {
            let known = self.memory().committed(session);
            known.map(|known| known.meta.source != source)
        };
        let _turn = match is_of_another() {
            None => Some(self.together().reading.turn(session).await),
            Some(_) => None,
        };
        match is_of_another() {
            Some(true) => Ok(None),
            _ => self.read_committed(session).await,
        }
    }

    /// The newest backup of a source that this process made, with all its segments, and the hash of its manifest: found without a look at
    /// others, where it still stands. None where anything about it is doubtful.
    pub(crate) async fn own_newest_of(
        &self,
        source: &str,
    ) -> Result<Option<(Manifest, ObjectHash)>, RepoError> {
        let Some((session, hash)) = self.memory().own(source) else { return Ok(None) };
        let found = self.read_standing_whole(session).await?.filter(|found| found.1 == hash);
        if found.is_none() {
            // The whole repository may not be there, and be back later.
            self.check_identity().await?;
            self.memory().forget_own(source);
        }
        Ok(found)
    }

    /// What a session committed, if its backup stands by what the store says now; its long layers have no segments yet. Neither an
    /// earlier look nor what is kept on this machine tells that: both may be there longer than the backup. None as well where it is damaged.
    pub(crate) async fn read_standing(
        &self,
        session: SessionId,
    ) -> Result<Option<(Manifest, ObjectHash)>, RepoError> {
        // In this order: the record that it was forgotten is removed only after its outcome.
        if self.is_forgotten(session).await? {
            return Ok(None);
        }
        let outcome = read_outcome(&self.without_cache(), session).await;
        undamaged(self.committed_by(session, outcome).await)
    }

    /// The same, with all its segments.
    async fn read_standing_whole(
        &self,
        session: SessionId,
    ) -> Result<Option<(Manifest, ObjectHash)>, RepoError> {
        let Some((mut manifest, hash)) = self.read_standing(session).await? else {
            return Ok(None);
        };
        undamaged(self.fill_layers(&mut manifest).await.map(|()| Some((manifest, hash))))
    }

    async fn is_forgotten(&self, session: SessionId) -> Result<bool, RepoError> {
        let place = Place::Forget(session);
        let key = place.key().map_err(|error| RepoError::damaged("a forgotten backup", error))?;
        match self.sink().stat(&key).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
