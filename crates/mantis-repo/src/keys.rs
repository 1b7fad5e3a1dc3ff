//! The keys of a repository, for those who use them.

use mantis_sink::Sink;

use crate::{Password, Place, RepoError, SlotId, UnixMillis};

#[cfg(feature = "encryption")]
pub use crate::kdf::PasswordCost;

/// A key slot, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub id: SlotId,
    /// When it was added, by its maker's clock.
    pub created_at: UnixMillis,
    /// Its owner's own words.
    pub label: String,
    /// Whether the repository was opened with it.
    pub current: bool,
}

/// A password that is to open a repository.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The password.
    pub password: Password,
    /// What people call it.
    pub label: String,
}

#[cfg(not(feature = "encryption"))]
pub(crate) use crate::no_unlock::{Unlocked, create, open};
#[cfg(feature = "encryption")]
pub(crate) use crate::unlock::{Unlocked, create, open};

/// Removes keys of a repository that was never finished: there is no `mantis.repo` beside them.
pub(crate) async fn remove_strays(sink: &dyn Sink) -> Result<(), RepoError> {
    let listed = match sink.list(Place::KEYS).await {
        Err(error) if error.is_not_found() => return Ok(()),
        listed => listed?,
    };
    for object in listed {
        sink.delete(&object.key).await?;
    }
    Ok(())
}
