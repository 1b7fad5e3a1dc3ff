//! A second place for a repository: the same id and keys, and of its backups those that were copied there.
//!
//! Segments are sealed for a repository, not for a session: between a repository and its replica their bytes are
//! copied as they are. Each has sessions, forgets and collections of its own.

use std::sync::Arc;

use mantis_sink::{ObjectKey, Sink, Span};

use crate::keys::MAX_KEY_LEN;
use crate::params::MAX_PARAMS_LEN;
use crate::{Place, RepoError, Repository};

/// Copies an object that is the same for ever, unless it is there.
async fn copy_object(
    from: &dyn Sink,
    to: &dyn Sink,
    key: &ObjectKey,
    limit: u64,
) -> Result<(), RepoError> {
    let bytes = from.get(key, Span::Whole { limit }).await?;
    match to.put_new(key, bytes.into()).await {
        Err(error) if !error.is_already_exists() => Err(error.into()),
        _ => Ok(()),
    }
}

impl Repository {
    /// The replica of this repository in a store; made, where there is nothing.
    ///
    /// Keys come first and `mantis.repo` decides, as in [`Repository::init`]: a crash before it leaves keys of no
    /// repository. Keys that were added here since are added there; none is removed there.
    ///
    /// # Errors
    /// [`RepoError::OtherRepository`] where there is a repository that is none of this one's replicas, or what a store
    /// reports.
    pub async fn replica_in(&self, sink: Arc<dyn Sink>) -> Result<Self, RepoError> {
        let place =
            |place: Place| place.key().map_err(|error| RepoError::damaged("the repository", error));
        let found = match Self::id_in(&*sink).await {
            Ok(id) => Some(id),
            Err(error) if error.is_no_repository() => None,
            Err(error) => return Err(error),
        };
        if found.is_some_and(|id| id != self.id()) {
            return Err(RepoError::OtherRepository { location: sink.location() });
        }
        if self.is_encrypted() {
            for object in self.sink().list(Place::KEYS).await? {
                copy_object(self.sink(), &*sink, &object.key, MAX_KEY_LEN).await?;
            }
        }
        if found.is_none() {
            let params = [place(Place::Params)?, place(Place::ParamsCopy)?];
            let whole = Span::Whole { limit: MAX_PARAMS_LEN };
            let bytes = match self.sink().get(&params[0], whole.clone()).await {
                Err(error) if error.is_not_found() => self.sink().get(&params[1], whole).await?,
                bytes => bytes?,
            };
            for key in &params {
                match sink.put_new(key, bytes.clone().into()).await {
                    Err(error) if !error.is_already_exists() => return Err(error.into()),
                    _ => {}
                }
            }
            // Someone else may have made another one here meanwhile.
            if Self::id_in(&*sink).await? != self.id() {
                return Err(RepoError::OtherRepository { location: sink.location() });
            }
        }
        Ok(self.in_another_store(sink))
    }
}
