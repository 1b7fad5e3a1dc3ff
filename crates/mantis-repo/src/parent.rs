//! The backup that the next one is built on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use mantis_page::PageSet;
use mantis_sink::{ObjectInfo, ObjectKey};

use crate::layout::segment_key;
use crate::session_memory::Folder;
use crate::short_stack::TakenIn;
use crate::stack_cursor::StackCursor;
use crate::{BackupInfo, Manifest, ObjectHash, Place, RepoError, Repository, Session, SessionId};

/// Calls to the store under way at once.
pub(crate) const CALLS: usize = 16;

/// A committed backup, whole, that the next one may be built on.
#[derive(Debug, Clone)]
pub struct Parent {
    pub(crate) manifest: Manifest,
    pub(crate) hash: ObjectHash,
    /// Only pages that the engine says changed are going to come.
    pub(crate) sparse: bool,
    /// What is stored again of its stack, to keep that short.
    pub(crate) taken_in: TakenIn,
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

    /// Pages that are to come whether they changed or not: the next backup stores them again in place of its newest layers, to keep its
    /// stack short. May hold pages past the end of what comes next.
    #[must_use]
    pub const fn to_store_again(&self) -> &PageSet {
        &self.taken_in.pages
    }

    /// Announces that of the pages that it has too, only those are going to come that may have changed, and those
    /// [to be stored again](Self::to_store_again), which are added to them.
    #[must_use]
    pub fn sparse(self, changed: &mut PageSet) -> Self {
        changed.union_with(&self.taken_in.pages);
        Self { sparse: true, ..self }
    }

    pub(crate) fn cursor(&self, repo: &Repository) -> Result<StackCursor, RepoError> {
        StackCursor::new(repo, &self.manifest, self.sparse)
    }
}

impl Session {
    /// The newest backup of a source that the next one can be built on; none where there is none, where all of its stack would be
    /// stored again, or where anything about it is doubtful.
    ///
    /// The order of the steps is part of the collectors' protocol: this session was announced before; which backups there are is read, and what
    /// collectors condemned, then whether the segments are there. Of the first two either may come first; what was condemned matters only where
    /// there is something to build on.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn parent(&self, source: &str) -> Result<Option<Parent>, RepoError> {
        let repo = &self.repo;
        let newest = match repo.own_newest_of(source).await? {
            None => repo.newest_of(source, self.looks_good_for).await?,
            own => own,
        };
        let Some((manifest, hash)) = newest else { return Ok(None) };
        let condemned = repo.condemned_together().await?;
        let id = manifest.info.id;
        if manifest.keys()?.iter().any(|key| condemned.contains(key)) {
            tracing::info!(%id, "a collector is about to free what this backup is made of");
            return Ok(None);
        }
        if let Some(missing) = repo.missing_lately(&manifest).await? {
            tracing::warn!(%id, %missing, "the newest backup is damaged: the next one stores every page");
            return Ok(None);
        }
        let taken_in = match repo.to_take_in(&manifest).await {
            Ok(taken_in) => taken_in,
            Err(error) if error.is_damage() => {
                tracing::warn!(%id, %error, "the newest backup is damaged: the next one stores every page");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if taken_in.kept == 0 && !manifest.layers.is_empty() {
            tracing::info!(%id, "the stack is full, of layers of one size: the next backup stores every page");
            return Ok(None);
        }
        let layers = manifest.layers.len();
        if taken_in.kept < layers {
            tracing::info!(%id, layers, kept = taken_in.kept, pages = taken_in.pages.len(), "the stack is full: pages are stored again");
        }
        Ok(Some(Parent { manifest, hash, sparse: false, taken_in }))
    }
}

/// Backups of other sources that a new one is compared with, at most.
const OTHERS: usize = 16;

impl Session {
    /// The newest backups of other sources: a first backup is compared with them, page by page, as databases made
    /// of one template have most pages alike. The rules are those of [`Self::parent`]. Of `most` at most, and of 16: each costs requests.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn others(&self, source: &str, most: usize) -> Result<Vec<Manifest>, RepoError> {
        let (repo, most) = (&self.repo, most.min(OTHERS));
        if most == 0 {
            return Ok(Vec::new());
        }
        let condemned = repo.condemned_together().await?;
        let mut others: BTreeMap<String, Manifest> = BTreeMap::new();
        let sessions = repo.live_sessions_within(self.looks_good_for).await?;
        let newest = sessions.iter().rev().copied().take(4 * most);
        // Of those that are known, one of each source will do.
        let mut known = BTreeSet::from([source.to_owned()]);
        let newest = newest.filter(|session| match repo.memory().committed(*session) {
            Some(committed) => known.insert(committed.meta.source.clone()),
            None => true,
        });
        let newest: Vec<SessionId> = newest.collect();
        let reads = newest.into_iter().map(|session| repo.read_standing(session));
        let mut reads = futures::stream::iter(reads).buffered(CALLS);
        while let Some(read) = reads.next().await {
            let Some((manifest, _)) = read? else { continue };
            let other = manifest.info.meta.source.clone();
            if other != source && others.len() < most {
                others.entry(other).or_insert(manifest);
            }
        }
        drop(reads);
        let mut whole = Vec::new();
        for mut manifest in others.into_values() {
            match repo.fill_layers(&mut manifest).await {
                Ok(()) => {}
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error),
            }
            let listed = manifest.keys()?.iter().any(|key| condemned.contains(key));
            if !listed && repo.missing_segment(&manifest).await?.is_none() {
                whole.push(manifest);
            }
        }
        Ok(whole)
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
        // A segment may be named twice: for its own pages, and to borrow from.
        let mut keys =
            lists.chain(segments).map(key).collect::<Result<Vec<ObjectKey>, RepoError>>()?;
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}

/// Segments of one session that are asked for one by one, at most: to list a folder costs a store as much as a dozen of these, and some walk through all that
/// they have.
const ASKED_FOR: usize = 2;

impl Repository {
    /// Of segments of one session, those that are there, with their lengths.
    async fn look_for(
        &self,
        session: SessionId,
        wanted: &[(ObjectHash, u64)],
    ) -> Result<Folder, RepoError> {
        let folder: Folder = if wanted.len() > ASKED_FOR {
            let listed = self.sink().list(&format!("{}/{session}", Place::SEGMENTS)).await?;
            let named = |object: &ObjectInfo| Some((Place::written_by(&object.key)?.1, object.len));
            Arc::new(listed.iter().filter_map(named).collect())
        } else {
            let mut there = HashMap::new();
            for (hash, _) in wanted {
                let key = segment_key(session, *hash)?;
                match self.sink().stat(&key).await {
                    Ok(len) => drop(there.insert(*hash, len)),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Arc::new(there)
        };
        self.memory().saw_segments(session, Arc::clone(&folder));
        Ok(folder)
    }

    /// A segment of a manifest that is not there with its right length, if there is one: told without reading a segment.
    pub(crate) async fn missing_segment(
        &self,
        manifest: &Manifest,
    ) -> Result<Option<ObjectKey>, RepoError> {
        self.missing(manifest, |_| None, |_, _| {}).await
    }

    /// The same, where segments that were seen not long ago are taken to be there.
    async fn missing_lately(&self, manifest: &Manifest) -> Result<Option<ObjectKey>, RepoError> {
        self.missing(manifest, |session| self.memory().segments(session), |_, _| {}).await
    }

    /// The same; segments that are `known` are not looked for, and `saw` hears of those that were.
    pub(crate) async fn missing(
        &self,
        manifest: &Manifest,
        known: impl Fn(SessionId) -> Option<Folder>,
        saw: impl Fn(SessionId, &Folder),
    ) -> Result<Option<ObjectKey>, RepoError> {
        let mut wanted: BTreeMap<SessionId, Vec<(ObjectHash, u64)>> = BTreeMap::new();
        for segment in manifest.segments() {
            wanted.entry(segment.session).or_default().push((segment.hash, segment.len));
        }
        let (known, saw) = (&known, &saw);
        let checks = wanted.into_iter().map(|(session, mut segments)| async move {
            if let Some(known) = known(session) {
                segments.retain(|(hash, len)| known.get(hash) != Some(len));
            }
            if segments.is_empty() {
                return Ok(None);
            }
            // One may be named twice.
            segments.sort_unstable();
            segments.dedup();
            let there = self.look_for(session, &segments).await?;
            saw(session, &there);
            let missing = segments.into_iter().find(|(hash, len)| there.get(hash) != Some(len));
            missing.map(|(hash, _)| segment_key(session, hash)).transpose()
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
