//! Making and opening a repository.

use std::sync::Arc;

use bytes::Bytes;
use mantis_sink::{Sink, SinkError, Span};

use crate::condemned::CondemnedTogether;
use crate::index_cache::IndexCache;
use crate::keys::{self, Unlocked};
use crate::newest::Reading;
use crate::params::{HIGHWAY_128, MAX_PARAMS_LEN, Params};
use crate::session::put_own;
use crate::session_memory::SessionMemory;
use crate::shared_segments::SharedSegments;
use crate::vault::Vault;
use crate::{Credential, NewKey, ObjectHash, PageHasher, Place, RepoError, RepoId, UnixMillis};

/// Segments read at once from a store over a network, at least: each takes its length in memory, twice.
const READS_FAR_AWAY: usize = 4;
/// Segments read from a disk beyond those that are decoded, so that no core waits for it: the repository is seldom in the page cache
/// when it is needed.
const READS_AHEAD: usize = 1;

/// The version of the format that this crate writes.
pub const FORMAT_VERSION: u16 = 1;

/// An open repository. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Repository {
    inner: Arc<Inner>,
    cache: Option<IndexCache>,
}

#[derive(Debug)]
struct Inner {
    sink: Arc<dyn Sink>,
    created_at: UnixMillis,
    vault: Arc<Vault>,
    /// How it was opened; none without encryption.
    #[cfg_attr(not(feature = "encryption"), expect(dead_code, reason = "nobody asks"))]
    unlocked: Option<Unlocked>,
    memory: SessionMemory,
    together: Arc<Together>,
}

/// What sessions of this open repository do together.
#[derive(Debug, Default)]
pub(crate) struct Together {
    pub(crate) segments: SharedSegments,
    pub(crate) condemned: CondemnedTogether,
    pub(crate) reading: Reading,
}

async fn read_params(sink: &dyn Sink, place: Place) -> Result<(RepoId, Params), RepoError> {
    let key = place.key().map_err(|error| RepoError::damaged("the repository", error))?;
    let bytes: Bytes = sink.get(&key, Span::Whole { limit: MAX_PARAMS_LEN }).await?;
    Params::open(key.as_str(), &bytes)
}

fn is_missing(error: &RepoError) -> bool {
    matches!(error, RepoError::Sink { source } if source.is_not_found())
}

impl Repository {
    /// Makes a repository in a store; an encrypted one where keys are given. `entropy` must be fresh random
    /// bytes: the repository's id and all its keys come from it.
    ///
    /// The keys are stored first; `mantis.repo` decides; a crash before its copy leaves a repository without
    /// the copy, and a crash before it keys of a repository that is not there, which the next try removes.
    ///
    /// # Errors
    /// [`RepoError::AlreadyExists`], or what the store reports.
    pub async fn init(
        sink: Arc<dyn Sink>,
        entropy: [u8; 32],
        now: UnixMillis,
        keys: impl IntoIterator<Item = NewKey>,
    ) -> Result<Self, RepoError> {
        let new: Vec<NewKey> = keys.into_iter().collect();
        let derive = |what| blake3::derive_key(what, &entropy);
        let mut id = [0; 16];
        id.copy_from_slice(&derive("mantis-backup 2026 repository id")[..16]);
        let (id, salt) = (RepoId(id), derive("mantis-backup 2026 repository salt"));
        let page_hash_key = derive("mantis-backup 2026 page hash key");
        let params = Params {
            created_at: now,
            required: Vec::new(),
            encrypted: !new.is_empty(),
            page_hash: HIGHWAY_128.to_owned(),
            page_hash_key: new.is_empty().then_some(ObjectHash(page_hash_key)),
        };
        let params_key =
            Place::Params.key().map_err(|error| RepoError::damaged("mantis.repo", error))?;
        let exists = RepoError::AlreadyExists { location: sink.location() };
        match sink.stat(&params_key).await {
            Ok(_) => return Err(exists),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        let (vault, unlocked) = if new.is_empty() {
            (Vault::plain(id, page_hash_key), None)
        } else {
            keys::remove_strays(&*sink).await?;
            let (vault, unlocked) =
                keys::create(&*sink, id, entropy, page_hash_key, (new, now)).await?;
            (vault, Some(unlocked))
        };
        let sealed = params.seal(id, salt)?;
        match put_own(&*sink, Place::Params, sealed.clone()).await {
            Err(RepoError::Sink { source }) if source.is_already_exists() => return Err(exists),
            result => result?,
        }
        put_own(&*sink, Place::ParamsCopy, sealed).await?;
        let inner = Inner {
            sink,
            created_at: now,
            vault: Arc::new(vault),
            unlocked,
            memory: SessionMemory::default(),
            together: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner), cache: None })
    }

    /// Opens the repository in a store, with a password or identities if it is encrypted. Where `mantis.repo` is missing
    /// or damaged, its copy serves.
    ///
    /// # Errors
    /// [`RepoError::NoRepository`], [`RepoError::TooNew`], [`RepoError::NeedsPassword`],
    /// [`RepoError::WrongPassword`]; [`RepoError::NotEncrypted`] where one is given and there is
    /// nothing to open with it, as someone may have put another repository in the place; or what keeps it
    /// from being read.
    pub async fn open(
        sink: Arc<dyn Sink>,
        credential: Option<&Credential>,
    ) -> Result<Self, RepoError> {
        let (id, params) = find_params(&*sink).await?;
        let location = || sink.location();
        let (vault, unlocked) = match (params.page_hash_key, credential) {
            (Some(key), None) => (Vault::plain(id, key.0), None),
            (Some(_), Some(_)) => return Err(RepoError::NotEncrypted { location: location() }),
            (None, None) => return Err(RepoError::NeedsPassword { location: location() }),
            (None, Some(credential)) => {
                let (vault, unlocked) = keys::open(&*sink, id, credential).await?;
                (vault, Some(unlocked))
            }
        };
        let created_at = params.created_at;
        let inner = Inner {
            sink,
            created_at,
            vault: Arc::new(vault),
            unlocked,
            memory: SessionMemory::default(),
            together: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner), cache: None })
    }

    /// Whether the repository in a store is encrypted: whether a password is needed to open it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn is_encrypted_at(sink: &dyn Sink) -> Result<bool, RepoError> {
        Ok(find_params(sink).await?.1.encrypted)
    }

    /// The id of the repository in a store.
    pub(crate) async fn id_in(sink: &dyn Sink) -> Result<RepoId, RepoError> {
        Ok(find_params(sink).await?.0)
    }

    /// A replica of this repository, known to be in another store. Its keys cannot be changed through it.
    pub(crate) fn in_another_store(&self, sink: Arc<dyn Sink>) -> Self {
        let (created_at, vault) = (self.created_at(), Arc::clone(self.vault()));
        let inner = Inner {
            sink,
            created_at,
            vault,
            unlocked: None,
            memory: SessionMemory::default(),
            together: Arc::default(),
        };
        Self { inner: Arc::new(inner), cache: None }
    }

    /// The same repository, whose indexes are kept in a cache too.
    #[must_use]
    pub fn with_cache(self, cache: IndexCache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// The same repository, every byte of it read from the store.
    pub(crate) fn without_cache(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), cache: None }
    }

    pub(crate) const fn index_cache(&self) -> Option<&IndexCache> {
        self.cache.as_ref()
    }

    /// The same repository with other keys in hand.
    #[cfg(feature = "encryption")]
    pub(crate) fn with_keys(&self, vault: Vault, unlocked: Unlocked) -> Self {
        let inner = Inner {
            sink: self.shared_sink(),
            created_at: self.created_at(),
            vault: Arc::new(vault),
            unlocked: Some(unlocked),
            memory: SessionMemory::default(),
            together: Arc::default(),
        };
        Self { inner: Arc::new(inner), cache: self.cache.clone() }
    }

    #[cfg(feature = "encryption")]
    pub(crate) fn unlocked(&self) -> Option<&Unlocked> {
        self.inner.unlocked.as_ref()
    }

    pub(crate) fn memory(&self) -> &SessionMemory {
        &self.inner.memory
    }

    pub(crate) fn together(&self) -> &Arc<Together> {
        &self.inner.together
    }

    pub(crate) fn vault(&self) -> &Arc<Vault> {
        &self.inner.vault
    }

    /// Whether what is stored is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.inner.vault.is_encrypted()
    }

    /// The repository's id.
    #[must_use]
    pub fn id(&self) -> RepoId {
        self.inner.vault.repo()
    }

    /// When it was made, by its maker's clock.
    #[must_use]
    pub fn created_at(&self) -> UnixMillis {
        self.inner.created_at
    }

    /// Where it is, for people; without secrets.
    #[must_use]
    pub fn location(&self) -> String {
        self.inner.sink.location()
    }

    /// Whether it is reached over a network.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.inner.sink.capabilities().remote
    }

    /// How many segments are read at once, where so many were asked for; 0: one more than there are cores, as some
    /// wait for the disk; from far away, where most of the time is waiting, more.
    pub(crate) fn reads_at_once(&self, jobs: usize) -> usize {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        match (jobs, self.is_remote()) {
            (0, false) => cores + READS_AHEAD,
            (0, true) => cores.max(READS_FAR_AWAY),
            (jobs, _) => jobs,
        }
    }

    /// Hashes pages under the repository's key.
    #[must_use]
    pub fn page_hasher(&self) -> &PageHasher {
        self.inner.vault.hasher()
    }

    pub(crate) fn sink(&self) -> &dyn Sink {
        &*self.inner.sink
    }

    pub(crate) fn shared_sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.inner.sink)
    }

    /// Proves that the store still holds this repository: asked before an empty listing is believed.
    pub(crate) async fn check_identity(&self) -> Result<(), RepoError> {
        let found = match read_params(self.sink(), Place::Params).await {
            Err(error) if error.is_damage() => read_params(self.sink(), Place::ParamsCopy).await,
            found => found,
        };
        match found {
            Ok((id, _)) if id == self.id() => Ok(()),
            Ok(_) => Err(RepoError::damaged("mantis.repo", "another repository took its place")),
            Err(error) if is_missing(&error) => Err(RepoError::Sink { source: gone(self.sink()) }),
            Err(error) => Err(error),
        }
    }
}

async fn find_params(sink: &dyn Sink) -> Result<(RepoId, Params), RepoError> {
    let first = match read_params(sink, Place::Params).await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    if !first.is_damage() {
        return Err(first);
    }
    match read_params(sink, Place::ParamsCopy).await {
        Ok(found) => {
            tracing::warn!(error = %first, "mantis.repo cannot be read; its copy serves");
            Ok(found)
        }
        Err(second) if is_missing(&first) && is_missing(&second) => {
            Err(RepoError::NoRepository { location: sink.location() })
        }
        Err(_) => Err(first),
    }
}

fn gone(sink: &dyn Sink) -> SinkError {
    let kind = mantis_sink::SinkErrorKind::NotFound;
    SinkError::new(kind, "find", "the repository that was open", sink.location())
}
