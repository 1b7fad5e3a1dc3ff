//! The stores of a history, and what is known of what they hold.

use std::sync::Arc;

use mantis_repo::{Copier, CopyOptions, Credential, RepoError, Repository, UnixMillis};
use mantis_sink::{MemorySink, Sink};

use crate::client::Shared;
use crate::clock::BEGIN;
use crate::keys;
use crate::lists::{LateLists, SharedChanges};
use crate::store::{ClientStore, Gate};

/// A store, and what is known of what it holds.
#[derive(Default)]
pub(crate) struct Place {
    pub(crate) memory: MemorySink,
    pub(crate) model: Shared,
    pub(crate) changes: SharedChanges,
}

impl Place {
    /// The store as a client has it; with late lists, by their seed.
    pub(crate) fn store(&self, gate: &Arc<Gate>, late: Option<u64>) -> Arc<dyn Sink> {
        let late = late.map(|seed| LateLists::new(Arc::clone(&self.changes), seed));
        let (memory, changes) = (self.memory.clone(), Arc::clone(&self.changes));
        Arc::new(ClientStore::new(memory, Arc::clone(gate), changes, late))
    }
}

pub(crate) async fn open(sink: Arc<dyn Sink>, encrypted: bool) -> Result<Repository, RepoError> {
    let credential: Option<Credential> = encrypted.then(keys::credential);
    Repository::open(sink, credential.as_ref()).await
}

/// An empty repository, and an empty replica of it.
pub(crate) async fn begin(encrypted: bool) -> (Place, Place) {
    let (main, replica) = (Place::default(), Place::default());
    let sink: Arc<dyn Sink> = Arc::new(main.memory.clone());
    let key = encrypted.then(keys::first_key);
    let repo = Repository::init(sink, [1; 32], UnixMillis(BEGIN), key).await.unwrap();
    let to = Arc::new(replica.memory.clone());
    let copier = Copier::begin(&repo, to, CopyOptions::default(), [2; 32], |_| false).await;
    copier.unwrap().end().await;
    (main, replica)
}
