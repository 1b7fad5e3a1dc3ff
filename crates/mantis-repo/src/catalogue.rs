//! The list of backups.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use mantis_sink::Span;

use crate::before_commit::before_commit;
use crate::manifest::MAX_MANIFEST_LEN;
use crate::session_records::{SessionOutcome, read_outcome};
use crate::{
    BackupId, BackupInfo, Manifest, ObjectHash, Place, RepoError, Repository, SessionId, UnixMillis,
};

/// Reads under way at once.
pub(crate) const READS: usize = 16;

/// A backup that was committed but cannot be read.
#[derive(Debug)]
pub struct UnreadableBackup {
    /// The session that committed it.
    pub session: SessionId,
    /// What is wrong.
    pub error: RepoError,
}

impl UnreadableBackup {
    /// What it is called: the id that its first generation had.
    #[must_use]
    pub const fn id(&self) -> BackupId {
        BackupId(self.session.unique)
    }
}

/// The backups of a repository at one time.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// The backups, oldest first, each in its newest generation.
    pub backups: Vec<BackupInfo>,
    /// Older generations of theirs that were not forgotten yet.
    pub superseded: Vec<BackupInfo>,
    /// Backups that cannot be read.
    pub unreadable: Vec<UnreadableBackup>,
}

/// Which backups are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// The start of the id, or `latest`; any, without.
    pub id: Option<String>,
    /// The source's name.
    pub source: Option<String>,
    /// Tags it must have.
    pub tags: Vec<(String, String)>,
    /// Taken at or before this moment.
    pub at: Option<UnixMillis>,
    /// For [`Catalogue::find`]: the newest that is known to be without this commit.
    pub before_commit: Option<u64>,
}

impl Selector {
    fn fits(&self, backup: &BackupInfo) -> bool {
        let tag = |tag: &(String, String)| backup.meta.tags.get(&tag.0) == Some(&tag.1);
        self.source.as_ref().is_none_or(|source| *source == backup.meta.source)
            && self.tags.iter().all(tag)
            && match self.id.as_deref() {
                None | Some("latest") => true,
                Some(prefix) => backup.id.to_string().starts_with(prefix),
            }
            && self.at.is_none_or(|at| backup.meta.created_at <= at)
    }

    fn describe(&self) -> String {
        let mut text = match self.id.as_deref() {
            None | Some("latest") => "at all".to_owned(),
            Some(id) => format!("has an id that starts with {id}"),
        };
        if let Some(source) = &self.source {
            text.push_str(&format!(" of source {source:?}"));
        }
        if !self.tags.is_empty() {
            text.push_str(" with those tags");
        }
        if self.at.is_some() {
            text.push_str(" that is that old");
        }
        if let Some(lsn) = self.before_commit {
            text.push_str(&format!(" from before commit {lsn}"));
        }
        text
    }
}

/// The one that was taken last.
pub(crate) fn newest<'a>(backups: &[&'a BackupInfo]) -> Option<&'a BackupInfo> {
    backups.iter().copied().max_by_key(|backup| (backup.meta.created_at, backup.session))
}

/// The one of which the start of an id tells.
pub(crate) fn the_only<T>(
    mut found: Vec<T>,
    prefix: &str,
    wanted: impl FnOnce() -> String,
) -> Result<T, RepoError> {
    match (found.pop(), found.len()) {
        (None, _) => Err(RepoError::NoSuchBackup { wanted: wanted() }),
        (Some(only), 0) => Ok(only),
        (Some(_), others) => {
            Err(RepoError::Ambiguous { prefix: prefix.to_owned(), count: others + 1 })
        }
    }
}

impl Catalogue {
    /// The backups that a selector means, oldest first.
    pub fn select<'a, 's>(
        &'a self,
        selector: &'s Selector,
    ) -> impl Iterator<Item = &'a BackupInfo> + use<'a, 's> {
        self.backups.iter().filter(move |backup| selector.fits(backup))
    }

    /// The damaged backup whose id starts so; not one that only a newer version can read.
    ///
    /// # Errors
    /// [`RepoError::NoSuchBackup`], [`RepoError::Ambiguous`].
    pub fn find_unreadable(&self, prefix: &str) -> Result<&UnreadableBackup, RepoError> {
        let fits = |backup: &&UnreadableBackup| {
            !prefix.is_empty()
                && backup.error.is_damage()
                && backup.id().to_string().starts_with(prefix)
        };
        let wanted = || format!("has an id that starts with {prefix}");
        the_only(self.unreadable.iter().filter(fits).collect(), prefix, wanted)
    }

    /// The one backup that a selector means: the newest for `latest` or without an id, else the one
    /// whose id starts so.
    ///
    /// # Errors
    /// [`RepoError::NoSuchBackup`], [`RepoError::Ambiguous`]; where a commit is named, [`RepoError::ManySources`] if not whose it is, and
    /// [`RepoError::UnknownCommit`].
    pub fn find(&self, selector: &Selector) -> Result<&BackupInfo, RepoError> {
        let mut found = self.select(selector).collect::<Vec<&BackupInfo>>();
        if let Some(lsn) = selector.before_commit {
            found = before_commit(&found, lsn)?.into_iter().collect();
        }
        let none = || RepoError::NoSuchBackup { wanted: selector.describe() };
        match selector.id.as_deref() {
            None | Some("latest") => newest(&found).ok_or_else(none),
            Some("") => Err(none()),
            Some(prefix) => the_only(found, prefix, || selector.describe()),
        }
    }
}

impl Repository {
    pub(crate) async fn read_manifest(
        &self,
        session: SessionId,
        hash: ObjectHash,
    ) -> Result<Manifest, RepoError> {
        let place = Place::Manifest(session, hash);
        let key = place.key().map_err(|error| RepoError::damaged("a manifest", error))?;
        self.read_proved(&key, Span::Whole { limit: MAX_MANIFEST_LEN }, |bytes| {
            if ObjectHash::of([&bytes[..]]) != hash {
                return Err(RepoError::damaged(&key, "its bytes do not match its name"));
            }
            let manifest = Manifest::open(key.as_str(), bytes, self.vault())?;
            if manifest.info.session != session {
                return Err(RepoError::damaged(&key, "it is another session's"));
            }
            Ok(manifest)
        })
        .await
    }

    /// What a session committed, and the hash of its manifest; its long layers have no segments yet. None where its backup is long
    /// gone, and its outcome went since it was listed.
    pub(crate) async fn read_committed(
        &self,
        session: SessionId,
    ) -> Result<Option<(Manifest, ObjectHash)>, RepoError> {
        self.committed_by(session, read_outcome(self, session).await).await
    }

    /// The same, of a session of which the outcome was read.
    pub(crate) async fn committed_by(
        &self,
        session: SessionId,
        outcome: Result<SessionOutcome, RepoError>,
    ) -> Result<Option<(Manifest, ObjectHash)>, RepoError> {
        match outcome {
            Ok(SessionOutcome::Commit { manifest: hash }) => {
                let manifest = self.read_manifest(session, hash).await?;
                self.memory().read(&manifest.info);
                Ok(Some((manifest, hash)))
            }
            Ok(SessionOutcome::Fenced | SessionOutcome::Done) => Ok(None),
            Err(RepoError::Sink { source })
                if source.is_not_found() && self.is_swept(session).await? =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the lists of those layers whose segments are not in the manifest itself.
    pub(crate) async fn fill_layers(&self, manifest: &mut Manifest) -> Result<(), RepoError> {
        for layer in &mut manifest.layers {
            if let Some(list) = layer.list {
                *layer = crate::Layer { list: Some(list), ..self.read_list(list).await? };
            }
        }
        Ok(())
    }

    /// The manifest of a backup from the catalogue, with all its segments.
    ///
    /// # Errors
    /// What keeps it from being read.
    pub async fn manifest(&self, backup: &BackupInfo) -> Result<Manifest, RepoError> {
        let wanted = || RepoError::NoSuchBackup { wanted: format!("is {} any more", backup.id) };
        let (mut manifest, _) = self.read_committed(backup.session).await?.ok_or_else(wanted)?;
        self.fill_layers(&mut manifest).await?;
        Ok(manifest)
    }

    /// The sessions with an object in a folder, ascending.
    pub(crate) async fn sessions_in(&self, folder: &str) -> Result<Vec<SessionId>, RepoError> {
        let objects = self.sink().list(folder).await?;
        let mut sessions: Vec<SessionId> =
            objects.iter().filter_map(|object| Place::session_of(&object.key)).collect();
        sessions.sort_unstable();
        Ok(sessions)
    }

    /// The sessions whose outcome stands and was not forgotten, ascending. An empty list is believed only
    /// after the repository's identity was proved.
    pub(crate) async fn live_sessions(&self) -> Result<Vec<SessionId>, RepoError> {
        self.check_identity().await?;
        let mut outcomes = self.sessions_in(Place::OUTCOMES).await?;
        let forgotten = self.sessions_in(Place::FORGOTTEN).await?;
        outcomes.retain(|session| forgotten.binary_search(session).is_err());
        if let Some(newest) = outcomes.last() {
            self.memory().saw(newest.sequence, false);
        }
        Ok(outcomes)
    }

    /// Reads the list of backups. One that cannot be read does not hide the others.
    ///
    /// # Errors
    /// What keeps the list itself from being read.
    pub async fn catalogue(&self) -> Result<Catalogue, RepoError> {
        self.catalogue_by(|_| None).await
    }

    /// The list of backups, for one who asks again and again: which there are is asked of the store, but what one says of itself is read once
    /// an hour only, so that one whose manifest was damaged since may be in it as if it were whole.
    ///
    /// # Errors
    /// As [`Self::catalogue`].
    pub async fn catalogue_again(&self) -> Result<Catalogue, RepoError> {
        self.catalogue_by(|session| self.memory().committed_lately(session)).await
    }

    async fn catalogue_by(
        &self,
        known: impl Fn(SessionId) -> Option<Arc<BackupInfo>>,
    ) -> Result<Catalogue, RepoError> {
        let sessions = self.live_sessions().await?;
        let known = &known;
        let reads = sessions.into_iter().map(|session| async move {
            if let Some(known) = known(session) {
                return Ok((session, Ok(Some(BackupInfo::clone(&known)))));
            }
            let read = self.read_committed(session).await;
            match read {
                // Only the store's own failure keeps the list from being read.
                Err(error) if !error.is_damage() && !matches!(error, RepoError::TooNew { .. }) => {
                    Err(error)
                }
                read => Ok((session, read.map(|read| read.map(|(manifest, _)| manifest.info)))),
            }
        });
        let mut reads = futures::stream::iter(reads).buffered(READS);
        let mut catalogue = Catalogue::default();
        while let Some((session, read)) = reads.try_next().await? {
            match read {
                Ok(None) => {}
                Ok(Some(info)) => catalogue.backups.push(info),
                Err(error) => catalogue.unreadable.push(UnreadableBackup { session, error }),
            }
        }
        drop(reads);
        catalogue.superseded = split_off_old_generations(&mut catalogue.backups);
        catalogue.backups.sort_by_key(|backup| (backup.meta.created_at, backup.session));
        Ok(catalogue)
    }
}

fn split_off_old_generations(backups: &mut Vec<BackupInfo>) -> Vec<BackupInfo> {
    let mut newest: std::collections::HashMap<BackupId, (u32, SessionId)> =
        std::collections::HashMap::new();
    for backup in &*backups {
        let this = (backup.generation, backup.session);
        let entry = newest.entry(backup.id).or_insert(this);
        *entry = this.max(*entry);
    }
    let is_newest =
        |backup: &BackupInfo| newest.get(&backup.id) == Some(&(backup.generation, backup.session));
    let (kept, old) = std::mem::take(backups).into_iter().partition(is_newest);
    *backups = kept;
    old
}
