//! What the backups of a repository refer to: what a collector must leave alone.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::StreamExt;
use mantis_sink::{ObjectKey, Span, error_chain};

use crate::forget::read_forget;
use crate::{LayerList, Manifest, Place, RepoError, Repository, SessionId, UnixMillis};

/// Reads under way at once.
const READS: usize = 16;

/// What of one session's manifest matters here.
#[derive(Debug)]
struct Needs {
    keys: Vec<ObjectKey>,
    lists: Vec<LayerList>,
}

/// Knows what manifests refer to; reads each of them, and each list of segments, once.
#[derive(Debug, Default)]
pub(crate) struct References {
    /// By session; none for a session that has no backup, or none any more.
    known: BTreeMap<SessionId, Option<Needs>>,
    lists: BTreeMap<ObjectKey, Vec<ObjectKey>>,
    forgotten_at: BTreeMap<SessionId, UnixMillis>,
}

/// What is referred to at one time.
#[derive(Debug, Default)]
pub(crate) struct Referred {
    /// Objects that a backup needs, or one that may still be brought back.
    pub(crate) keys: HashSet<ObjectKey>,
    /// Sessions with an outcome.
    pub(crate) ended: BTreeSet<SessionId>,
}

fn needs(manifest: &Manifest, own: ObjectKey) -> Result<Needs, RepoError> {
    let mut keys = manifest.keys()?;
    keys.push(own);
    Ok(Needs { keys, lists: manifest.layers.iter().filter_map(|layer| layer.list).collect() })
}

impl References {
    /// What is referred to now. A backup that was forgotten after `cutoff` counts as if it were not.
    ///
    /// # Errors
    /// Whatever keeps a single manifest from being read: nothing may be freed then.
    pub(crate) async fn read(
        &mut self,
        repo: &Repository,
        cutoff: UnixMillis,
    ) -> Result<Referred, RepoError> {
        repo.check_identity().await?;
        let outcomes = repo.sessions_in(Place::OUTCOMES).await?;
        let forgotten = repo.sessions_in(Place::FORGOTTEN).await?;
        let mut referred =
            Referred { ended: outcomes.iter().copied().collect(), ..Referred::default() };
        let mut needed = Vec::new();
        for session in outcomes {
            if forgotten.binary_search(&session).is_err() {
                needed.push(session);
                continue;
            }
            let at = match self.forgotten_at.get(&session) {
                Some(at) => *at,
                None => match read_forget(repo, session).await? {
                    // A later generation of it stands: nobody needs this one.
                    (_, true) => UnixMillis(i64::MIN),
                    (at, false) => at,
                },
            };
            self.forgotten_at.insert(session, at);
            if at > cutoff {
                needed.push(session);
            }
        }
        self.learn(repo, &needed).await?;
        for session in needed {
            let Some(Some(needs)) = self.known.get(&session) else { continue };
            referred.keys.extend(needs.keys.iter().cloned());
            for list in &needs.lists {
                let key = list_key(*list)?;
                referred.keys.extend(self.lists.get(&key).into_iter().flatten().cloned());
            }
        }
        Ok(referred)
    }

    async fn learn(&mut self, repo: &Repository, wanted: &[SessionId]) -> Result<(), RepoError> {
        let unknown: Vec<SessionId> =
            wanted.iter().copied().filter(|session| !self.known.contains_key(session)).collect();
        let reads = unknown.into_iter().map(|session| async move {
            let needs = or_gone(repo, session, read_needs(repo, session).await).await;
            Ok::<_, RepoError>((session, needs?.flatten()))
        });
        let mut reads = futures::stream::iter(reads).buffer_unordered(READS);
        while let Some(read) = reads.next().await {
            let (session, mut needs) = read?;
            let lists = needs.iter().flat_map(|needs| needs.lists.iter().copied());
            for list in lists.collect::<Vec<_>>() {
                let key = list_key(list)?;
                if self.lists.contains_key(&key) {
                    continue;
                }
                match or_gone(repo, session, read_segments(repo, list).await).await? {
                    Some(segments) => drop(self.lists.insert(key, segments)),
                    None => needs = None,
                }
            }
            self.known.insert(session, needs);
        }
        Ok(())
    }
}

/// What a session's backup needs; none where it has no backup.
async fn read_needs(repo: &Repository, session: SessionId) -> Result<Option<Needs>, RepoError> {
    let Some((manifest, hash)) = repo.read_committed(session).await? else { return Ok(None) };
    let own = Place::Manifest(session, hash).key();
    let own = own.map_err(|error| RepoError::damaged("a manifest", error))?;
    needs(&manifest, own).map(Some)
}

/// The segments that are on a list.
async fn read_segments(repo: &Repository, list: LayerList) -> Result<Vec<ObjectKey>, RepoError> {
    let layer = repo.read_list(list).await?;
    let keys = layer.segments.iter().map(|segment| {
        let key = Place::Segment(segment.session, segment.hash).key();
        key.map_err(|error| RepoError::damaged(list.hash, error))
    });
    keys.collect()
}

/// None where what was to be read of a session's backup is not there, and the backup was forgotten: a run whose time of grace was
/// shorter freed it, as a whole or up to where it was interrupted; or where its records are gone too. What cannot be brought back needs
/// nothing.
async fn or_gone<T>(
    repo: &Repository,
    session: SessionId,
    read: Result<T, RepoError>,
) -> Result<Option<T>, RepoError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(RepoError::Sink { source }) if source.is_not_found() => {
            if read_forget(repo, session).await.is_ok() || repo.is_swept(session).await? {
                return Ok(None);
            }
            Err(unreadable(source.into()))
        }
        Err(error) => Err(unreadable(error)),
    }
}

fn list_key(list: LayerList) -> Result<ObjectKey, RepoError> {
    let place = Place::Layer(list.session, list.hash);
    place.key().map_err(|error| RepoError::damaged("a manifest", error))
}

/// One manifest that cannot be read is reason enough to free nothing: nobody knows what it needs.
fn unreadable(error: RepoError) -> RepoError {
    if error.is_damage() { RepoError::Unsafe { what: error_chain(&error) } } else { error }
}

impl Repository {
    /// The lengths of all objects that sessions wrote.
    pub(crate) async fn written_objects(&self) -> Result<BTreeMap<ObjectKey, u64>, RepoError> {
        let mut objects = BTreeMap::new();
        for folder in [Place::SEGMENTS, Place::LAYERS, Place::MANIFESTS] {
            let listed = self.sink().list(folder).await?;
            let ours = listed.into_iter().filter(|object| Place::written_by(&object.key).is_some());
            objects.extend(ours.map(|object| (object.key, object.len)));
        }
        Ok(objects)
    }

    /// The list of the segments of a layer.
    pub(crate) async fn read_list(&self, list: LayerList) -> Result<crate::Layer, RepoError> {
        let key = list_key(list)?;
        let limit = crate::manifest::MAX_MANIFEST_LEN;
        self.read_proved(&key, Span::Whole { limit }, |bytes| {
            if crate::ObjectHash::of([&bytes[..]]) != list.hash {
                return Err(RepoError::damaged(&key, "its bytes do not match its name"));
            }
            crate::manifest::open_list(key.as_str(), bytes, self.vault())
        })
        .await
    }
}
