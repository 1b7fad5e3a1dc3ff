//! Making and opening a repository.

use std::sync::Arc;

use bytes::Bytes;
use mantis_sink::{Sink, SinkError, Span};

use crate::params::{HIGHWAY_128, MAX_PARAMS_LEN, Params};
use crate::session::put_own;
use crate::{ObjectHash, PageHasher, Place, RepoError, RepoId, UnixMillis};

/// The version of the format that this crate writes.
pub const FORMAT_VERSION: u16 = 1;

/// An open repository. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Repository(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sink: Arc<dyn Sink>,
    id: RepoId,
    created_at: UnixMillis,
    hasher: PageHasher,
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
    /// Makes a repository in a store. `entropy` must be fresh random bytes: the repository's id and
    /// the key of its page hashes come from it.
    ///
    /// `mantis.repo` is created first and decides; a crash before its copy leaves a repository
    /// without the copy.
    ///
    /// # Errors
    /// [`RepoError::AlreadyExists`], or what the store reports.
    pub async fn init(
        sink: Arc<dyn Sink>,
        entropy: [u8; 32],
        now: UnixMillis,
    ) -> Result<Self, RepoError> {
        let derive = |what| blake3::derive_key(what, &entropy);
        let mut id = [0; 16];
        id.copy_from_slice(&derive("mantis-backup 2026 repository id")[..16]);
        let (id, salt) = (RepoId(id), derive("mantis-backup 2026 repository salt"));
        let params = Params {
            created_at: now,
            required: Vec::new(),
            page_hash: HIGHWAY_128.to_owned(),
            page_hash_key: ObjectHash(derive("mantis-backup 2026 page hash key")),
        };
        let sealed = params.seal(id, salt)?;
        match put_own(&*sink, Place::Params, sealed.clone()).await {
            Err(RepoError::Sink { source }) if source.is_already_exists() => {
                return Err(RepoError::AlreadyExists { location: sink.location() });
            }
            result => result?,
        }
        put_own(&*sink, Place::ParamsCopy, sealed).await?;
        Ok(Self::from_params(sink, id, &params))
    }

    /// Opens the repository in a store. Where `mantis.repo` is missing or damaged, its copy serves.
    ///
    /// # Errors
    /// [`RepoError::NoRepository`], [`RepoError::TooNew`], or what keeps both from being read.
    pub async fn open(sink: Arc<dyn Sink>) -> Result<Self, RepoError> {
        let first = match read_params(&*sink, Place::Params).await {
            Ok((id, params)) => return Ok(Self::from_params(sink, id, &params)),
            Err(error) => error,
        };
        if !first.is_damage() {
            return Err(first);
        }
        match read_params(&*sink, Place::ParamsCopy).await {
            Ok((id, params)) => {
                tracing::warn!(error = %first, "mantis.repo cannot be read; its copy serves");
                Ok(Self::from_params(sink, id, &params))
            }
            Err(second) if is_missing(&first) && is_missing(&second) => {
                Err(RepoError::NoRepository { location: sink.location() })
            }
            Err(_) => Err(first),
        }
    }

    fn from_params(sink: Arc<dyn Sink>, id: RepoId, params: &Params) -> Self {
        let hasher = PageHasher::new(params.page_hash_key.0);
        Self(Arc::new(Inner { sink, id, created_at: params.created_at, hasher }))
    }

    /// The repository's id.
    #[must_use]
    pub fn id(&self) -> RepoId {
        self.0.id
    }

    /// When it was made, by its maker's clock.
    #[must_use]
    pub fn created_at(&self) -> UnixMillis {
        self.0.created_at
    }

    /// Where it is, for people; without secrets.
    #[must_use]
    pub fn location(&self) -> String {
        self.0.sink.location()
    }

    /// Hashes pages under the repository's key.
    #[must_use]
    pub fn page_hasher(&self) -> &PageHasher {
        &self.0.hasher
    }

    pub(crate) fn sink(&self) -> &dyn Sink {
        &*self.0.sink
    }

    pub(crate) fn shared_sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.0.sink)
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

fn gone(sink: &dyn Sink) -> SinkError {
    let kind = mantis_sink::SinkErrorKind::NotFound;
    SinkError::new(kind, "find", "the repository that was open", sink.location())
}
