//! Backups whose outcome was lost.
//!
//! Whoever stores a manifest has announced its session before and creates an outcome after, which stays for as long as the manifest is
//! there, as the announcement does until then. So a manifest of a session that has neither tells of an object that the store lost, or that was left out when the
//! repository was copied by hand. No list shows such a backup; but it is no garbage: nothing is freed until [`Repository::repair`] has
//! settled what it is.

use mantis_sink::ObjectKey;

use crate::session_records::{SessionOutcome, create_outcome};
use crate::{
    Manifest, ObjectHash, Place, Purpose, RepairOptions, RepoError, Repository, Session, SessionId,
    UnixMillis,
};

/// What verify and prune say of one.
pub(crate) const WHAT: &str =
    "the record that its backup exists is gone; `mantis repair` settles what it is";

impl Repository {
    /// The manifests of sessions of which nobody knows how they ended, and which nobody forgot.
    pub(crate) async fn lost_outcomes(
        &self,
    ) -> Result<Vec<(ObjectKey, SessionId, ObjectHash)>, RepoError> {
        // In this order: a session that ends between two of the steps is seen under way, or by its outcome.
        let manifests = self.sink().list(Place::MANIFESTS).await?;
        let under_way = self.sessions_in(Place::SESSIONS).await?;
        let ended = self.sessions_in(Place::OUTCOMES).await?;
        let forgotten = self.sessions_in(Place::FORGOTTEN).await?;
        let known = [under_way, ended, forgotten];
        let unknown = manifests.into_iter().filter_map(|object| {
            let (session, hash) = Place::written_by(&object.key)?;
            let unknown = known.iter().all(|sessions| sessions.binary_search(&session).is_err());
            unknown.then_some((object.key, session, hash))
        });
        let mut lost = Vec::new();
        for (key, session, hash) in unknown {
            // The records of a backup that is long gone go after its manifest: one that is there still lost them.
            match self.sink().stat(&key).await {
                Ok(_) => lost.push((key, session, hash)),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(lost)
    }

    /// Gives each of them an outcome: it is a backup again, unless a collector has been told to free something of it. Where part
    /// of it is missing, or damaged, verify tells so from then on, and it can be salvaged, and forgotten.
    pub(crate) async fn repair_outcomes(
        &self,
        options: &RepairOptions,
        entropy: [u8; 32],
        now: UnixMillis,
    ) -> Result<Vec<ObjectKey>, RepoError> {
        let mut settled = Vec::new();
        for ((_, lost, hash), number) in self.lost_outcomes().await?.into_iter().zip(0u64..) {
            let key = Place::Outcome(lost).key();
            settled.push(key.map_err(|error| RepoError::damaged("an outcome", error))?);
            if options.dry_run {
                continue;
            }
            let input = [&entropy[..], b"outcome", &number.to_le_bytes()].concat();
            let seed = blake3::derive_key("mantis-backup 2026 repair", &input);
            // Announced before the lists are read: what is on none of them stays until this session has ended.
            let session = Session::begin(self, Purpose::Compact, seed, &options.owner, now).await?;
            let outcome = self.outcome_of(lost, hash).await;
            let salt = blake3::derive_key("mantis-backup 2026 repaired outcome", &seed);
            let created = match outcome {
                Ok(outcome) => create_outcome(self, lost, &outcome, salt).await.map(drop),
                Err(error) => Err(error),
            };
            session.end().await;
            created?;
        }
        Ok(settled)
    }

    async fn outcome_of(
        &self,
        session: SessionId,
        manifest: ObjectHash,
    ) -> Result<SessionOutcome, RepoError> {
        let commit = SessionOutcome::Commit { manifest };
        let condemned = self.condemned().await?;
        let read = match self.read_manifest(session, manifest).await {
            Ok(mut read) => self.fill_layers(&mut read).await.map(|()| read),
            Err(error) => Err(error),
        };
        match read.and_then(|read: Manifest| read.keys()) {
            Ok(keys) if keys.iter().any(|key| condemned.contains(key)) => {
                Ok(SessionOutcome::Fenced)
            }
            Err(error) if !error.is_damage() => Err(error),
            _ => Ok(commit),
        }
    }
}
