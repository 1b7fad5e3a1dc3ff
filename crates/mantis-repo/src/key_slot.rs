//! One way to the keyring: `keys/<slot>`.
//!
//! A slot holds the keyring's own key, sealed for a password or for a recipient of age.
//!
//! With a password, what it was made into a key with is authenticated along with it, so that nobody can make it
//! cheaper unnoticed; and a commitment to that key is compared first, as AES-GCM alone does not tell one key from
//! another for sure. With a recipient, the sealed text says which slot of which repository it is for; who made it
//! it cannot say, as everyone may seal for a recipient: see [`crate::Repository::keyring_id`].
//!
//! Slots are created and removed, never changed. A password is changed by adding a slot, opening with it,
//! and removing the old one: at no moment is there none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use mantis_sink::Payload;
use mantis_stream::{Aes256Gcm, Compression, FrameCipher, StreamError};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::age_key::{Identity, Recipient};
use crate::envelope::{self, Envelope, Header, Kind};
use crate::ids::{hex, unhex};
use crate::kdf::{PasswordCost, hkdf};
use crate::keys::{Credential, KeyKind, KeyLock};
use crate::vault::Secret;
use crate::{ObjectHash, Password, RepoError, RepoId, SlotId, UnixMillis, age_file};

/// What `keys/<slot>` holds, as JSON in the open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeySlot {
    pub(crate) id: SlotId,
    pub(crate) created_at: UnixMillis,
    pub(crate) label: String,
    #[serde(flatten)]
    lock: Lock,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Lock {
    Password(PasswordLock),
    Age(AgeLock),
    /// A kind that came after this version.
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PasswordLock {
    cost: PasswordCost,
    salt: ObjectHash,
    /// Proves that a key is this slot's.
    check: ObjectHash,
    /// The keyring's key and the cipher's tag, hexadecimal.
    sealed: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AgeLock {
    /// Whom it is sealed for.
    recipient: String,
    /// A file of age, in Base64.
    sealed: String,
}

/// What a slot's sealed bytes are bound to.
fn place(repo: RepoId, id: SlotId, kind: &[u8]) -> Vec<u8> {
    [&b"mantis-backup 1 slot"[..], &repo.0, &id.0, kind].concat()
}

struct Derived {
    seal: Secret,
    check: Secret,
    aad: Vec<u8>,
}

fn derive(
    (repo, id): (RepoId, SlotId),
    cost: PasswordCost,
    salt: &ObjectHash,
    password: &Password,
) -> Result<Derived, RepoError> {
    let mut aad = place(repo, id, b"password");
    for number in [cost.memory_kib, cost.passes, cost.lanes] {
        aad.extend_from_slice(&number.to_le_bytes());
    }
    let key = cost.key(password.bytes(), &salt.0)?;
    let part = |what: &[u8]| hkdf(&key[..], &salt.0, &[what, &aad].concat());
    Ok(Derived { seal: part(b"seal")?, check: part(b"check")?, aad })
}

fn damaged(id: SlotId) -> RepoError {
    RepoError::damaged(format!("keys/{id}"), "it does not open")
}

fn secret(id: SlotId, bytes: &[u8]) -> Result<Secret, RepoError> {
    let key: [u8; 32] = bytes.try_into().map_err(|_| damaged(id))?;
    Ok(Zeroizing::new(key))
}

impl PasswordLock {
    fn new(
        place: (RepoId, SlotId),
        salt: [u8; 32],
        (password, cost): (&Password, PasswordCost),
        keyring_key: &Secret,
    ) -> Result<Self, RepoError> {
        let salt = ObjectHash(salt);
        let derived = derive(place, cost, &salt, password)?;
        let mut sealed = keyring_key.to_vec();
        Aes256Gcm::new(&derived.seal)?.seal([0; 12], &derived.aad, &mut sealed)?;
        Ok(Self { cost, salt, check: ObjectHash(*derived.check), sealed: hex(&sealed) })
    }

    fn open(
        &self,
        place: (RepoId, SlotId),
        password: &Password,
    ) -> Result<Option<Secret>, RepoError> {
        let derived = derive(place, self.cost, &self.salt, password)?;
        if !equal(&derived.check[..], &self.check.0) {
            return Ok(None);
        }
        let damaged = || damaged(place.1);
        let mut opened = Zeroizing::new(unhex(&self.sealed).ok_or_else(damaged)?);
        match Aes256Gcm::new(&derived.seal)?.open([0; 12], &derived.aad, &mut opened) {
            Err(StreamError::Cipher { .. }) => return Err(damaged()),
            result => result?,
        }
        secret(place.1, &opened).map(Some)
    }
}

impl AgeLock {
    fn new(
        (repo, id): (RepoId, SlotId),
        entropy: [u8; 32],
        recipient: &Recipient,
        keyring_key: &Secret,
    ) -> Result<Self, RepoError> {
        let text = Zeroizing::new([&place(repo, id, b"age")[..], &keyring_key[..]].concat());
        let file = age_file::seal(recipient, &entropy, &text)?;
        Ok(Self { recipient: recipient.to_string(), sealed: BASE64.encode(file) })
    }

    fn open(
        &self,
        (repo, id): (RepoId, SlotId),
        identities: &[Identity],
    ) -> Result<Option<Secret>, RepoError> {
        let mut own = identities.iter().filter(|one| one.recipient().to_string() == self.recipient);
        let Some(identity) = own.next() else { return Ok(None) };
        let file = BASE64.decode(&self.sealed).map_err(|_| damaged(id))?;
        let text = age_file::open(identity, &file)?.ok_or_else(|| damaged(id))?;
        let key = text.strip_prefix(&place(repo, id, b"age")[..]);
        secret(id, key.ok_or_else(|| damaged(id))?).map(Some)
    }
}

impl KeySlot {
    /// Seals the keyring's key for whom `lock` says. A password takes the time and memory that `cost` says.
    pub(crate) fn new(
        (repo, id): (RepoId, SlotId),
        entropy: [u8; 32],
        (lock, cost): (&KeyLock, PasswordCost),
        keyring_key: &Secret,
        (label, created_at): (&str, UnixMillis),
    ) -> Result<Self, RepoError> {
        let lock = match lock {
            KeyLock::Password(password) => {
                let with = (password, cost);
                Lock::Password(PasswordLock::new((repo, id), entropy, with, keyring_key)?)
            }
            KeyLock::Recipient(recipient) => {
                Lock::Age(AgeLock::new((repo, id), entropy, recipient, keyring_key)?)
            }
        };
        Ok(Self { id, created_at, label: label.to_owned(), lock })
    }

    /// Whether opening it takes the time and memory of a password.
    pub(crate) const fn takes_password(&self) -> bool {
        matches!(self.lock, Lock::Password(_))
    }

    pub(crate) fn kind(&self) -> KeyKind {
        match &self.lock {
            Lock::Password(_) => KeyKind::Password,
            Lock::Age(lock) => KeyKind::Age { recipient: lock.recipient.clone() },
            Lock::Unknown => KeyKind::Unknown,
        }
    }

    /// The keyring's key, if that opens this slot. A password takes the time and memory that the slot says,
    /// within bounds.
    pub(crate) fn open(
        &self,
        repo: RepoId,
        credential: &Credential,
    ) -> Result<Option<Secret>, RepoError> {
        let place = (repo, self.id);
        match (&self.lock, credential) {
            (Lock::Password(lock), Credential::Password(password)) => lock.open(place, password),
            (Lock::Age(lock), Credential::Identities(identities)) => lock.open(place, identities),
            _ => Ok(None),
        }
    }

    pub(crate) fn to_payload(&self, repo: RepoId, salt: [u8; 32]) -> Result<Payload, RepoError> {
        let envelope = Envelope::plain(Header::new(Kind::KeySlot, repo, salt, 0));
        let json = serde_json::to_vec(self).map_err(|error| RepoError::damaged("a key", error))?;
        envelope::seal(&envelope, &json.into(), Compression::None)
    }

    pub(crate) fn read(object: &str, bytes: &Bytes, repo: RepoId) -> Result<Self, RepoError> {
        let (_, json) = envelope::open_plain(object, bytes, Kind::KeySlot, Some(repo))?;
        let slot: Self =
            serde_json::from_slice(&json).map_err(|error| RepoError::damaged(object, error))?;
        if object.rsplit('/').next() != Some(&*slot.id.to_string()) {
            return Err(RepoError::damaged(object, "it is another slot than its name says"));
        }
        Ok(slot)
    }
}

/// Compares without telling by its time where the first difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::age_key::tests::PAIR;

    const REPO: RepoId = RepoId([1; 16]);
    const ID: SlotId = SlotId([2; 16]);

    fn slot(lock: &KeyLock) -> KeySlot {
        let with = (lock, PasswordCost::default());
        KeySlot::new((REPO, ID), [4; 32], with, &key(), ("laptop", UnixMillis(5))).unwrap()
    }

    fn key() -> Secret {
        Zeroizing::new([3; 32])
    }

    fn stored_and_read(slot: &KeySlot) {
        let stored = slot.to_payload(REPO, [5; 32]).unwrap().to_bytes();
        let name = format!("keys/{ID}");
        assert_eq!(&KeySlot::read(&name, &stored, REPO).unwrap(), slot);
        assert!(KeySlot::read("keys/other", &stored, REPO).is_err());
    }

    #[test]
    fn opens_with_its_password_in_its_repository_only_and_as_dear_as_it_was_made() {
        let password = |text: &str| Password::new(text.into());
        let with = |text: &str| Credential::Password(password(text));
        let slot = slot(&KeyLock::Password(password("right")));
        let right = with("right");
        assert_eq!(slot.open(REPO, &right).unwrap().unwrap()[..], key()[..]);
        assert!(slot.open(REPO, &with("wrong")).unwrap().is_none());
        assert!(slot.open(RepoId([9; 16]), &right).unwrap().is_none());
        let Lock::Password(lock) = &slot.lock else { panic!("another lock") };
        let cost = PasswordCost { passes: 1, ..PasswordCost::default() };
        let cheaper = Lock::Password(PasswordLock { cost, ..lock.clone() });
        assert!(KeySlot { lock: cheaper, ..slot.clone() }.open(REPO, &right).unwrap().is_none());
        let sealed = format!("00{}", &lock.sealed[2..]);
        let spoiled = Lock::Password(PasswordLock { sealed, ..lock.clone() });
        assert!(KeySlot { lock: spoiled, ..slot.clone() }.open(REPO, &right).is_err());
        stored_and_read(&slot);
        assert!(!format!("{right:?}").contains("right"));
    }

    #[test]
    fn opens_with_the_identity_of_its_recipient_in_its_place_only() {
        let identity: Identity = PAIR.0.parse().unwrap();
        let slot = slot(&KeyLock::Recipient(identity.recipient()));
        let right = Credential::Identities(vec![identity]);
        assert_eq!(slot.open(REPO, &right).unwrap().unwrap()[..], key()[..]);
        assert!(slot.open(RepoId([9; 16]), &right).is_err());
        assert!(KeySlot { id: SlotId([9; 16]), ..slot.clone() }.open(REPO, &right).is_err());
        assert!(slot.open(REPO, &Credential::Identities(Vec::new())).unwrap().is_none());
        assert!(slot.open(REPO, &Credential::Password(Password::new(vec![1]))).unwrap().is_none());
        stored_and_read(&slot);
    }

    #[test]
    fn kinds_to_come_are_left_alone() {
        let json = format!(
            r#"{{"id": "{ID}", "created_at": 5, "label": "", "kind": "cloud", "sealed": [1]}}"#
        );
        let slot: KeySlot = serde_json::from_str(&json).unwrap();
        assert_eq!(slot.kind(), KeyKind::Unknown);
        assert!(slot.open(REPO, &Credential::Password(Password::new(vec![1]))).unwrap().is_none());
    }
}
