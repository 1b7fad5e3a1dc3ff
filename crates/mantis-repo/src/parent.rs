//! The backup that the next one is built on.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use mantis_sink::ObjectKey;

use crate::stack_cursor::StackCursor;
use crate::{BackupInfo, Manifest, ObjectHash, Place, RepoError, Repository, Session, SessionId};

/// The most layers of a backup that another one is built on. Past it the next backup is a full one, so
/// that a restore never has to look into more.
pub(crate) const MAX_STACK: usize = 64;
/// Calls to the store under way at once.
const CALLS: usize = 16;

/// A committed backup, whole, that the next one may be built on.
#[derive(Debug, Clone)]
pub struct Parent {
    pub(crate) manifest: Manifest,
    pub(crate) hash: ObjectHash,
    /// Only pages that the engine says changed are going to come.
    pub(crate) sparse: bool,
}

impl Parent {
    /// What it is.
    #[must_use]
    pub const fn info(&self) -> &BackupInfo {
        &self.manifest.info
    }

    /// What its engine needs to tell which pages changed since.
    #[must_use]
    pub fn token(&self) -> Option<Vec<u8>> {
        crate::ids::unhex(self.manifest.token.as_deref()?)
    }

    /// Announces that of the pages that it has too, only those are going to come that may have changed.
    #[must_use]
    pub fn sparse(self) -> Self {
        Self { sparse: true, ..self }
    }

    pub(crate) fn cursor(&self, repo: &Repository) -> Result<StackCursor, RepoError> {
        StackCursor::new(repo, &self.manifest, self.sparse)
    }
}

impl Session {
    /// The newest backup of a source that the next one can be built on; none where there is none, where its
    /// stack is as high as stacks get, or where anything about it is doubtful.
    ///
    /// The order of the steps is part of the collectors' protocol: this session was announced before; what
    /// collectors condemned is read first, then which backups there are, then whether the segments are there.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn parent(&self, source: &str) -> Result<Option<Parent>, RepoError> {
        let repo = &self.repo;
        let condemned = repo.condemned().await?;
        let Some((manifest, hash)) = repo.newest_of(source).await? else { return Ok(None) };
        let id = manifest.info.id;
        if manifest.layers.len() >= MAX_STACK {
            tracing::info!(%id, "the stack is full: the next backup stores every page");
            return Ok(None);
        }
        if manifest.keys()?.iter().any(|key| condemned.contains(key)) {
            tracing::info!(%id, "a collector is about to free what this backup is made of");
            return Ok(None);
        }
        if let Some(missing) = repo.missing_segment(&manifest).await? {
            tracing::warn!(%id, %missing, "the newest backup is damaged: the next one stores every page");
            return Ok(None);
        }
        Ok(Some(Parent { manifest, hash, sparse: false }))
    }
}

impl Manifest {
    /// The names of all objects that this manifest needs, itself left out.
    pub(crate) fn keys(&self) -> Result<Vec<ObjectKey>, RepoError> {
        let lists = self.layers.iter().filter_map(|layer| layer.list);
        let lists = lists.map(|list| Place::Layer(list.session, list.hash));
        let segments = self.segments().map(|segment| Place::Segment(segment.session, segment.hash));
        let key =
            |place: Place| place.key().map_err(|error| RepoError::damaged("a manifest", error));
        lists.chain(segments).map(key).collect()
    }
}

impl Repository {
    /// A segment of a manifest that is not there with its right length, if there is one: told from
    /// listings, without reading a segment.
    pub(crate) async fn missing_segment(
        &self,
        manifest: &Manifest,
    ) -> Result<Option<ObjectKey>, RepoError> {
        let mut wanted: BTreeMap<SessionId, Vec<(ObjectHash, u64)>> = BTreeMap::new();
        for segment in manifest.segments() {
            wanted.entry(segment.session).or_default().push((segment.hash, segment.len));
        }
        let checks = wanted.into_iter().map(|(session, segments)| async move {
            let listed = self.sink().list(&format!("{}/{session}", Place::SEGMENTS)).await?;
            let there: std::collections::HashMap<ObjectHash, u64> = listed
                .iter()
                .filter_map(|object| Some((Place::written_by(&object.key)?.1, object.len)))
                .collect();
            let missing = segments.into_iter().find(|(hash, len)| there.get(hash) != Some(len));
            let name = missing.map(|(hash, _)| Place::Segment(session, hash).key());
            name.transpose().map_err(|error| RepoError::damaged("a manifest", error))
        });
        let mut checks = futures::stream::iter(checks).buffer_unordered(CALLS);
        while let Some(missing) = checks.try_next().await? {
            if missing.is_some() {
                return Ok(missing);
            }
        }
        Ok(None)
    }
}
