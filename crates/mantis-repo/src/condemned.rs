//! The lists of what collectors are about to free.
//!
//! Whoever is going to refer to an object announces itself first and then reads these lists; a collector
//! writes its list first and then looks who has announced himself. So one of the two sees the other.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

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

/// Names that are kept from one read of the lists for those who wait for it, at most.
const KEPT: usize = 1 << 16;

#[derive(Debug)]
enum LastRead {
    /// When it began, and what it found.
    Done(Instant, Arc<HashSet<ObjectKey>>),
    /// When it failed.
    Failed(Instant),
}

/// The last read of all lists by sessions that do it together.
#[derive(Debug, Default)]
pub(crate) struct CondemnedTogether(tokio::sync::Mutex<Option<LastRead>>);

impl Repository {
    /// Everything on any list that stands, for a session that was announced: sessions of this open repository that ask at the same time are told what
    /// one read of the lists found which began after each of them was announced.
    pub(crate) async fn condemned_together(&self) -> Result<Arc<HashSet<ObjectKey>>, RepoError> {
        let asked = Instant::now();
        let mut last = self.together().condemned.0.lock().await;
        match &*last {
            Some(LastRead::Done(began, found)) if *began > asked => return Ok(Arc::clone(found)),
            // Those who waited for it do not fail one after another.
            Some(LastRead::Failed(at)) if *at > asked => {
                drop(last);
                return self.condemned().await.map(Arc::new);
            }
            _ => {}
        }
        let began = Instant::now();
        let found = self.condemned().await.map(Arc::new);
        *last = match &found {
            Ok(found) if found.len() <= KEPT => Some(LastRead::Done(began, Arc::clone(found))),
            Ok(_) => None,
            Err(_) => Some(LastRead::Failed(Instant::now())),
        };
        found
    }

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

#[cfg(test)]
mod tests {
    use mantis_sink::{Call, Fault, FaultSink, MemorySink, RecordingSink, SinkErrorKind};

    use super::*;
    use crate::UnixMillis;

    /// So many sessions ask while another one reads; what they are told, and how often the lists were read.
    async fn ask_at_once(sessions: usize, fault: Option<Fault>) -> (Vec<bool>, usize) {
        let faults = FaultSink::new(Arc::new(MemorySink::new()));
        let sink = RecordingSink::new(Arc::new(faults.clone()));
        let init = Repository::init(Arc::new(sink.clone()), [1; 32], UnixMillis(1), None);
        let repo = init.await.unwrap();
        let _ = sink.take();
        if let Some(fault) = fault {
            faults.fail_once(faults.calls(), fault);
        }
        let reading = repo.together().condemned.0.lock().await;
        let ask = || {
            let repo = repo.clone();
            tokio::spawn(async move { repo.condemned_together().await.is_ok() })
        };
        let asked: Vec<_> = (0..sessions).map(|_| ask()).collect();
        // Each of them has its turn before this goes on.
        tokio::task::yield_now().await;
        drop(reading);
        let mut told = Vec::new();
        for one in asked {
            told.push(one.await.unwrap());
        }
        let calls = sink.take();
        (told, calls.iter().filter(|call| matches!(call, Call::List(_))).count())
    }

    #[tokio::test]
    async fn sessions_that_ask_at_once_have_the_lists_read_once_after_all_were_announced() {
        let (told, reads) = ask_at_once(8, None).await;
        assert_eq!((told, reads), (vec![true; 8], 1));
    }

    #[tokio::test]
    async fn a_read_that_fails_is_not_the_others_answer() {
        let fault = Fault::Before(SinkErrorKind::PermissionDenied);
        let (told, reads) = ask_at_once(4, Some(fault)).await;
        assert_eq!((told, reads), (vec![false, true, true, true], 4));
    }
}
