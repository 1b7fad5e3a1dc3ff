//! How a folder is told from another one that has come to have its name.
//!
//! A disk is unmounted, or a folder moved away, while objects are put: made anew under the old name, it would be another store, in which
//! what follows would be told to be safe. So an object at the top of the folder that was there once must stay there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ObjectKey;

/// An object that was there. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Anchor(Arc<Mutex<Option<ObjectKey>>>);

impl Anchor {
    fn locked(&self) -> MutexGuard<'_, Option<ObjectKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object; none as long as nothing is known.
    pub(crate) fn get(&self) -> Option<ObjectKey> {
        self.locked().clone()
    }

    /// An object was put, or read.
    pub(crate) fn seen(&self, key: &ObjectKey) {
        if !key.as_str().contains('/') {
            self.locked().get_or_insert_with(|| key.clone());
        }
    }

    /// An object is about to be deleted.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.locked().take_if(|anchor| anchor == key);
    }
}

/// What to say where it is gone.
pub(crate) fn gone(anchor: &ObjectKey) -> String {
    format!("{anchor} was there, and is gone: is its disk still mounted?")
}
