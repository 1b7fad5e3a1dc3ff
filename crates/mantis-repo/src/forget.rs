//! Forgetting backups, and bringing forgotten ones back.
//!
//! `forget/<s>` says that the backup that session `s` committed is no longer wanted: from then on it is in no
//! list. Nothing is freed by that; a collector does that later, after a time of grace. Until then the backup can
//! be brought back: a session of its own commits the next generation of its manifest, under the same rules as any
//! other session, so that it refers to nothing that a collector has listed, or that is not there.

use std::collections::HashSet;

use mantis_sink::Span;
use mantis_stream::Compression;
use serde::{Deserialize, Serialize};

use crate::catalogue::the_only;
use crate::envelope::{self, Kind};
use crate::session::put_own;
use crate::{
    BackupId, BackupInfo, Catalogue, Place, Purpose, RepoError, Repository, Session, SessionId,
    UnixMillis,
};

/// The largest such object that is read, in bytes.
const MAX_LEN: u64 = 16 << 10;

/// What `forget/<s>` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    /// When, by its writer's clock.
    at: UnixMillis,
    /// Whether it was forgotten because a later generation of it stands: then there is nothing to bring back.
    #[serde(default)]
    superseded: bool,
}

/// When a backup was forgotten, and whether a later generation of it took its place.
pub(crate) async fn read_forget(
    repo: &Repository,
    session: SessionId,
) -> Result<(UnixMillis, bool), RepoError> {
    let place = Place::Forget(session);
    let key = place.key().map_err(|error| RepoError::damaged("a forgotten backup", error))?;
    let bytes = repo.sink().get(&key, Span::Whole { limit: MAX_LEN }).await?;
    let json = envelope::open(key.as_str(), &bytes, Kind::Forget, repo.vault())?;
    let stored: Stored =
        serde_json::from_slice(&json).map_err(|error| RepoError::damaged(key, error))?;
    Ok((stored.at, stored.superseded))
}

impl Repository {
    /// Marks the backup of a session as forgotten, unless it is so already; whether it was not.
    pub(crate) async fn mark_forgotten(
        &self,
        session: SessionId,
        salt: [u8; 32],
        (at, superseded): (UnixMillis, bool),
    ) -> Result<bool, RepoError> {
        let json = serde_json::to_vec(&Stored { at, superseded })
            .map_err(|error| RepoError::damaged("a forgotten backup", error))?;
        let envelope = self.vault().envelope(Kind::Forget, salt)?;
        let sealed = envelope::seal(&envelope, &json.into(), Compression::None)?;
        match put_own(self.sink(), Place::Forget(session), sealed).await {
            Err(RepoError::Sink { source }) if source.is_already_exists() => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Forgets backups of the catalogue, with all their generations; damaged ones, too, of which nothing can be read.
    ///
    /// # Errors
    /// What the store reports; those before it are forgotten then.
    pub async fn forget(
        &self,
        catalogue: &Catalogue,
        ids: &[BackupId],
        entropy: [u8; 32],
        now: UnixMillis,
    ) -> Result<(), RepoError> {
        let ids: HashSet<&BackupId> = ids.iter().collect();
        let all = catalogue.superseded.iter().chain(&catalogue.backups);
        // Older generations first: a crash in between must not bring one of them to light.
        let sessions = all.filter(|backup| ids.contains(&backup.id)).map(|backup| backup.session);
        let unreadable = catalogue
            .unreadable
            .iter()
            .filter(|backup| backup.error.is_damage() && ids.contains(&backup.id()));
        for session in sessions.chain(unreadable.map(|backup| backup.session)) {
            self.check_identity().await?;
            let input = [&entropy[..], &session.unique].concat();
            let salt = blake3::derive_key("mantis-backup 2026 forget salt", &input);
            self.mark_forgotten(session, salt, (now, false)).await?;
        }
        Ok(())
    }

    /// The forgotten backups that can still be brought back, oldest first.
    ///
    /// # Errors
    /// What keeps the list from being read.
    pub async fn forgotten(&self) -> Result<Vec<(BackupInfo, UnixMillis)>, RepoError> {
        self.check_identity().await?;
        let live: Vec<BackupId> =
            self.catalogue().await?.backups.iter().map(|backup| backup.id).collect();
        let mut found: Vec<(BackupInfo, UnixMillis)> = Vec::new();
        // What is kept on this machine may be there longer than the backup.
        let stored = self.without_cache();
        for session in self.sessions_in(Place::FORGOTTEN).await? {
            match stored.read_committed(session).await {
                Ok(Some((manifest, _))) if !live.contains(&manifest.info.id) => {
                    let (at, _) = read_forget(self, session).await?;
                    // Of several generations the newest.
                    found.retain(|(other, _)| other.id != manifest.info.id);
                    found.push((manifest.info, at));
                }
                // Its manifest was freed, or it never had one.
                Err(error) if !error.is_damage() => return Err(error),
                _ => {}
            }
        }
        found.sort_by_key(|(backup, _)| (backup.meta.created_at, backup.session));
        Ok(found)
    }

    /// Brings a forgotten backup back.
    ///
    /// # Errors
    /// [`RepoError::NoSuchBackup`] where none of that id was forgotten, or a collector was there already.
    pub async fn bring_back(
        &self,
        prefix: &str,
        entropy: [u8; 32],
        owner: &str,
        now: UnixMillis,
    ) -> Result<BackupInfo, RepoError> {
        let mut session = Session::begin(self, Purpose::Undo, entropy, owner, now).await?;
        let manifest = match self.find_forgotten(prefix).await {
            Ok(manifest) => manifest,
            Err(error) => {
                session.abandon().await;
                return Err(error);
            }
        };
        let info = BackupInfo {
            generation: manifest.info.generation + 1,
            session: session.id(),
            ..manifest.info.clone()
        };
        let next = crate::Manifest { info: info.clone(), ..manifest };
        match session.store_manifest(&next).await {
            Ok(hash) => session.commit(hash).await.map(|()| info),
            Err(error) => {
                session.abandon().await;
                Err(error)
            }
        }
    }

    /// The manifest of a forgotten backup of which everything is there and nothing is condemned. The session
    /// that is going to use it must have been announced.
    async fn find_forgotten(&self, prefix: &str) -> Result<crate::Manifest, RepoError> {
        let condemned = self.condemned().await?;
        let wanted = || format!("that starts with {prefix} was forgotten and is still there");
        let forgotten = self.forgotten().await?;
        let found: Vec<&BackupInfo> = forgotten
            .iter()
            .map(|(backup, _)| backup)
            .filter(|backup| !prefix.is_empty() && backup.id.to_string().starts_with(prefix))
            .collect();
        let info = the_only(found, prefix, wanted)?;
        let manifest = self.manifest(info).await?;
        let gone = manifest.keys()?.iter().any(|key| condemned.contains(key))
            || self.missing_segment(&manifest).await?.is_some();
        if gone { Err(RepoError::NoSuchBackup { wanted: wanted() }) } else { Ok(manifest) }
    }
}
