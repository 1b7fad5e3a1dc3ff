//! The keys of a repository, for those who use them.

use mantis_sink::Sink;

use crate::{Password, Place, RepoError, SlotId, UnixMillis};

#[cfg(feature = "encryption")]
pub use crate::age_key::{Identity, InvalidAgeKey, Recipient};
#[cfg(feature = "encryption")]
pub use crate::kdf::PasswordCost;

/// The largest slot or keyring that is read, in bytes.
pub(crate) const MAX_KEY_LEN: u64 = 64 << 10;

/// A key slot, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub id: SlotId,
    /// When it was added, by its maker's clock.
    pub created_at: UnixMillis,
    /// Its owner's own words.
    pub label: String,
    /// What opens it.
    pub kind: KeyKind,
    /// Whether the repository was opened with it.
    pub current: bool,
}

/// What opens a key slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// A password.
    Password,
    /// An identity of age.
    Age {
        /// Its recipient, `age1…`.
        recipient: String,
    },
    /// Something that this version knows nothing of.
    Unknown,
}

/// What a new key is sealed for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum KeyLock {
    /// A password.
    Password(Password),
    /// A recipient of age: its identity opens it.
    #[cfg(feature = "encryption")]
    Recipient(Recipient),
}

/// What a repository is opened with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Credential {
    /// A password.
    Password(Password),
    /// Identities of age, any of which may open it.
    #[cfg(feature = "encryption")]
    Identities(Vec<Identity>),
}

impl From<Password> for Credential {
    fn from(password: Password) -> Self {
        Self::Password(password)
    }
}

/// A key that is to open a repository.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What opens it.
    pub lock: KeyLock,
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
