//! The lists of what collectors are about to free.
//!
//! Whoever is going to refer to an object announces itself first and then reads these lists; a collector
//! writes its list first and then looks who has announced himself. So one of the two sees the other.

use std::collections::HashSet;

use mantis_sink::{ObjectKey, Span};
use mantis_stream::Compression;
use serde::{Deserialize, Serialize};

use crate::envelope::{self, Kind};
use crate::manifest::MAX_MANIFEST_LEN;
use crate::session::put_own;
use crate::{CollectionId, Place, RepoError, Repository};

/// What `gc/<id>` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    /// Names of objects.
    condemned: Vec<String>,
}

impl Repository {
    /// Writes the list of a collection.
    pub(crate) async fn condemn(
        &self,
        id: CollectionId,
        salt: [u8; 32],
        keys: &[ObjectKey],
    ) -> Result<(), RepoError> {
        let condemned = keys.iter().map(|key| key.as_str().to_owned()).collect();
        let json = serde_json::to_vec(&Stored { condemned })
            .map_err(|error| RepoError::damaged("the list of a collection", error))?;
        let envelope = self.vault().envelope(Kind::Condemned, salt)?;
        let sealed = envelope::seal(&envelope, &json.into(), Compression::Zstd(3))?;
        put_own(self.sink(), Place::Condemned(id), sealed).await
    }

    /// The collections whose list stands.
    pub(crate) async fn collections(&self) -> Result<Vec<CollectionId>, RepoError> {
        let listed = self.sink().list(Place::COLLECTIONS).await?;
        Ok(listed.iter().filter_map(|object| Place::collection_of(&object.key)).collect())
    }

    /// The list of a collection; none where it is done.
    pub(crate) async fn condemned_by(
        &self,
        id: CollectionId,
    ) -> Result<Option<Vec<ObjectKey>>, RepoError> {
        let place = Place::Condemned(id);
        let key = place.key().map_err(|error| RepoError::damaged("a collection", error))?;
        let bytes = match self.sink().get(&key, Span::Whole { limit: MAX_MANIFEST_LEN }).await {
            Err(error) if error.is_not_found() => return Ok(None),
            bytes => bytes?,
        };
        let json = envelope::open(key.as_str(), &bytes, Kind::Condemned, self.vault())?;
        let stored: Stored =
            serde_json::from_slice(&json).map_err(|error| RepoError::damaged(&key, error))?;
        // Nothing but what sessions wrote may ever be freed, whatever a list says.
        let read = |name: String| {
            let freed = ObjectKey::new(name).ok().filter(is_written_by_a_session);
            freed.ok_or_else(|| RepoError::damaged(&key, "it names what no session writes"))
        };
        stored.condemned.into_iter().map(read).collect::<Result<_, _>>().map(Some)
    }

    /// Everything on any list that stands.
    pub(crate) async fn condemned(&self) -> Result<HashSet<ObjectKey>, RepoError> {
        let mut condemned = HashSet::new();
        for id in self.collections().await? {
            condemned.extend(self.condemned_by(id).await?.into_iter().flatten());
        }
        Ok(condemned)
    }
}

fn is_written_by_a_session(key: &ObjectKey) -> bool {
    let folder = key.as_str().split('/').next();
    [Place::SEGMENTS, Place::LAYERS, Place::MANIFESTS]
        .into_iter()
        .any(|known| folder == Some(known))
        && Place::written_by(key).is_some()
}
