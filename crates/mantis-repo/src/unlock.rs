//! The keys of an encrypted repository: made, opened, added, removed, rotated.
//!
//! Order of a new repository, and what a crash after each step leaves: the keyring and its copy, the slot
//! (keys of no repository, which the next `init` in the place removes), then `mantis.repo`.

use mantis_sink::{ObjectKey, Sink, Span};
use zeroize::Zeroizing;

use crate::kdf::{PasswordCost, hkdf};
use crate::key_slot::KeySlot;
use crate::keyring::Keyring;
use crate::keys::MAX_KEY_LEN;
use crate::session::put_own;
use crate::vault::{Secret, Vault};
use crate::{
    Credential, KeyInfo, KeyKind, KeyLock, NewKey, ObjectHash, Place, RepoError, RepoId,
    Repository, SlotId, UnixMillis,
};

/// The most keys there may be: each password that is tried takes its time.
const MAX_SLOTS: usize = 16;

/// How a repository was opened.
pub(crate) struct Unlocked {
    slot: SlotId,
    keyring_key: Secret,
}

impl std::fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unlocked").field("slot", &self.slot).finish_non_exhaustive()
    }
}

fn secret(entropy: &[u8; 32], what: &str) -> Secret {
    Zeroizing::new(blake3::derive_key(what, entropy))
}

/// Runs what takes the time and memory of a password on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RepoError> + Send + 'static,
) -> Result<T, RepoError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| RepoError::Kdf { what: error.to_string() })?
}

async fn make_slot(
    repo: RepoId,
    entropy: &[u8; 32],
    keyring_key: &Secret,
    (key, now): (NewKey, UnixMillis),
) -> Result<KeySlot, RepoError> {
    let mut id = [0; 16];
    id.copy_from_slice(&secret(entropy, "mantis-backup 2026 slot id")[..16]);
    let salt = blake3::derive_key("mantis-backup 2026 slot salt", entropy);
    let keyring_key = keyring_key.clone();
    blocking(move || {
        let cost = PasswordCost::default();
        let with = (&key.lock, cost);
        KeySlot::new((repo, SlotId(id)), salt, with, &keyring_key, (&key.label, now))
    })
    .await
}

async fn store_keyring(
    sink: &dyn Sink,
    repo: RepoId,
    entropy: &[u8; 32],
    keyring: &Keyring,
    key: &Secret,
) -> Result<(), RepoError> {
    let salt = blake3::derive_key("mantis-backup 2026 keyring salt", entropy);
    let sealed = keyring.seal(repo, key, salt)?;
    let number = keyring.newest();
    put_own(sink, Place::KeyringCopy(number), sealed.clone()).await?;
    put_own(sink, Place::Keyring(number), sealed).await
}

async fn store_slot(
    sink: &dyn Sink,
    repo: RepoId,
    entropy: &[u8; 32],
    slot: &KeySlot,
) -> Result<(), RepoError> {
    let salt = blake3::derive_key("mantis-backup 2026 slot object salt", entropy);
    put_own(sink, Place::KeySlot(slot.id), slot.to_payload(repo, salt)?).await
}

/// Makes the keys of a new repository and stores them.
pub(crate) async fn create(
    sink: &dyn Sink,
    repo: RepoId,
    entropy: [u8; 32],
    page_hash_key: [u8; 32],
    (keys, now): (Vec<NewKey>, UnixMillis),
) -> Result<(Vault, Unlocked), RepoError> {
    if keys.len() > MAX_SLOTS {
        return Err(RepoError::TooManyKeys { limit: MAX_SLOTS });
    }
    let keyring_key = secret(&entropy, "mantis-backup 2026 keyring key");
    let first = secret(&entropy, "mantis-backup 2026 master key");
    let keyring = Keyring::new(Zeroizing::new(page_hash_key), first);
    store_keyring(sink, repo, &entropy, &keyring, &keyring_key).await?;
    let mut first = None;
    for (at, key) in keys.into_iter().enumerate() {
        let mut hasher = blake3::Hasher::new_derive_key("mantis-backup 2026 entropy of a slot");
        hasher.update(&entropy).update(&(at as u64).to_le_bytes());
        let own: [u8; 32] = hasher.finalize().into();
        let slot = make_slot(repo, &own, &keyring_key, (key, now)).await?;
        store_slot(sink, repo, &own, &slot).await?;
        first.get_or_insert(slot.id);
    }
    let slot = first.ok_or(RepoError::Kdf { what: "there is no key to seal it for".into() })?;
    Ok((keyring.vault(repo), Unlocked { slot, keyring_key }))
}

async fn slots(sink: &dyn Sink, repo: RepoId) -> Result<Vec<KeySlot>, RepoError> {
    let mut slots = Vec::new();
    for object in sink.list(Place::KEYS).await? {
        if Place::slot_of(&object.key).is_none() {
            continue;
        }
        let bytes = sink.get(&object.key, Span::Whole { limit: MAX_KEY_LEN }).await?;
        match KeySlot::read(object.key.as_str(), &bytes, repo) {
            Ok(slot) => slots.push(slot),
            // Another slot may open all the same.
            Err(error) => tracing::warn!(key = %object.key, %error, "a key cannot be read"),
        }
    }
    slots.sort_by_key(|slot| (slot.created_at, slot.id));
    Ok(slots)
}

async fn newest_keyring(sink: &dyn Sink, repo: RepoId, key: &Secret) -> Result<Keyring, RepoError> {
    let listed = sink.list(Place::KEYS).await?;
    let numbers = listed.iter().filter_map(|object| {
        let name = object.key.as_str();
        let name = name.strip_suffix(".copy").unwrap_or(name);
        Place::keyring_of(&ObjectKey::new(name).ok()?)
    });
    let missing = || RepoError::damaged("keys/ring", "there is no keyring");
    let number = numbers.max().ok_or_else(missing)?;
    let mut failed = None;
    for place in [Place::Keyring(number), Place::KeyringCopy(number)] {
        let name = place.key().map_err(|error| RepoError::damaged("the keyring", error))?;
        let read = sink.get(&name, Span::Whole { limit: MAX_KEY_LEN }).await;
        let opened = read
            .map_err(RepoError::from)
            .and_then(|bytes| Keyring::open(name.as_str(), &bytes, (repo, number), key));
        match opened {
            Ok(keyring) => return Ok(keyring),
            Err(error) if error.is_damage() => {
                failed.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(failed.unwrap_or_else(missing))
}

/// Opens the keys of a repository.
pub(crate) async fn open(
    sink: &dyn Sink,
    repo: RepoId,
    credential: &Credential,
) -> Result<(Vault, Unlocked), RepoError> {
    let mut known = slots(sink, repo).await?;
    known.retain(|slot| slot.takes_password() == matches!(credential, Credential::Password(_)));
    for slot in known.into_iter().take(MAX_SLOTS) {
        let (id, credential) = (slot.id, credential.clone());
        if let Some(keyring_key) = blocking(move || slot.open(repo, &credential)).await? {
            let keyring = newest_keyring(sink, repo, &keyring_key).await?;
            let vault = keyring.vault(repo);
            return Ok((vault, Unlocked { slot: id, keyring_key }));
        }
    }
    let credential = match credential {
        Credential::Password(_) => "password",
        Credential::Identities(_) => "identity",
    };
    Err(RepoError::WrongPassword { credential, location: sink.location() })
}

impl Repository {
    fn opened_with(&self) -> Result<&Unlocked, RepoError> {
        self.unlocked().ok_or_else(|| RepoError::NotEncrypted { location: self.location() })
    }

    /// The keys there are, oldest first.
    ///
    /// # Errors
    /// [`RepoError::NotEncrypted`], or what the store reports.
    pub async fn keys(&self) -> Result<Vec<KeyInfo>, RepoError> {
        let current = self.opened_with()?.slot;
        let info = |slot: KeySlot| KeyInfo {
            current: slot.id == current,
            id: slot.id,
            created_at: slot.created_at,
            kind: slot.kind(),
            label: slot.label,
        };
        Ok(slots(self.sink(), self.id()).await?.into_iter().map(info).collect())
    }

    /// Tells this repository's keys from all others, without giving any of them away.
    ///
    /// A slot for a recipient of age proves nothing of who made it. Someone who can write to the store could put
    /// keys of his own there, sealed for the same recipient, and read what is written from then on. Who opens
    /// with identities keeps this number, which stays the same through rotations and changes of keys, and compares
    /// it each time. With a password there is no need: nobody without it makes a slot that it opens.
    ///
    /// # Errors
    /// [`RepoError::NotEncrypted`].
    pub fn keyring_id(&self) -> Result<ObjectHash, RepoError> {
        let info = [&b"mantis-backup 1 keyring id"[..], &self.id().0].concat();
        Ok(ObjectHash(*hkdf(&self.opened_with()?.keyring_key[..], &[], &info)?))
    }

    /// Adds a key that opens the repository. It is read back before this returns; a password opens it once.
    ///
    /// # Errors
    /// [`RepoError::NotEncrypted`], [`RepoError::TooManyKeys`], or what the store reports.
    pub async fn add_key(
        &self,
        key: NewKey,
        entropy: [u8; 32],
        now: UnixMillis,
    ) -> Result<KeyInfo, RepoError> {
        let unlocked = self.opened_with()?;
        if slots(self.sink(), self.id()).await?.len() >= MAX_SLOTS {
            return Err(RepoError::TooManyKeys { limit: MAX_SLOTS });
        }
        let lock = key.lock.clone();
        let slot = make_slot(self.id(), &entropy, &unlocked.keyring_key, (key, now)).await?;
        store_slot(self.sink(), self.id(), &entropy, &slot).await?;
        let place = Place::KeySlot(slot.id);
        let name = place.key().map_err(|error| RepoError::damaged("a key", error))?;
        let bytes = self.sink().get(&name, Span::Whole { limit: MAX_KEY_LEN }).await?;
        let stored = KeySlot::read(name.as_str(), &bytes, self.id())?;
        let mut right = stored == slot;
        if let KeyLock::Password(password) = lock {
            let repo = self.id();
            let opened = blocking(move || stored.open(repo, &password.into())).await?;
            right &= opened.as_deref() == Some(&*unlocked.keyring_key);
        }
        if !right {
            return Err(RepoError::damaged(name, "it is not as it was made"));
        }
        let (id, created_at, kind) = (slot.id, slot.created_at, slot.kind());
        Ok(KeyInfo { id, created_at, kind, label: slot.label, current: false })
    }

    /// Removes a key by the start of its id; never the last one. What opened it opens the repository no
    /// more; what its owner has seen, he has seen.
    ///
    /// # Errors
    /// [`RepoError::NoSuchKey`], [`RepoError::LastKey`], or what the store reports.
    pub async fn remove_key(&self, prefix: &str) -> Result<KeyInfo, RepoError> {
        let keys = self.keys().await?;
        let found: Vec<&KeyInfo> =
            keys.iter().filter(|key| key.id.to_string().starts_with(prefix)).collect();
        let [key] = found[..] else {
            let (prefix, count) = (prefix.to_owned(), found.len());
            return Err(RepoError::NoSuchKey { prefix, count });
        };
        let others = keys.iter().filter(|other| other.id != key.id);
        if !others.into_iter().any(|other| other.kind != KeyKind::Unknown) {
            return Err(RepoError::LastKey { id: key.id });
        }
        let place = Place::KeySlot(key.id);
        let name = place.key().map_err(|error| RepoError::damaged("a key", error))?;
        self.sink().delete(&name).await?;
        Ok(key.clone())
    }

    /// Adds a master key: what is written from here on is sealed with it. What is there stays sealed
    /// with the keys before it, and every key opens all of them.
    ///
    /// # Errors
    /// [`RepoError::NotEncrypted`], or what the store reports: `AlreadyExists` where another process
    /// rotates at the same time.
    pub async fn rotate(&self, entropy: [u8; 32]) -> Result<(Self, u32), RepoError> {
        let unlocked = self.opened_with()?;
        let key = unlocked.keyring_key.clone();
        let mut keyring = newest_keyring(self.sink(), self.id(), &key).await?;
        keyring.add(secret(&entropy, "mantis-backup 2026 master key"));
        store_keyring(self.sink(), self.id(), &entropy, &keyring, &key).await?;
        let (vault, generation) = (keyring.vault(self.id()), keyring.newest());
        let unlocked = Unlocked { slot: unlocked.slot, keyring_key: key };
        Ok((self.with_keys(vault, unlocked), generation))
    }
}
