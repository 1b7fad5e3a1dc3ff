//! One password's way to the keyring: `keys/<slot>`.
//!
//! A slot holds the keyring's own key, sealed with a key made of the password. What the password was made
//! into a key with is authenticated along with it, so that nobody can make it cheaper unnoticed; and a
//! commitment to that key is compared first, as AES-GCM alone does not tell one key from another for sure.
//!
//! Slots are created and removed, never changed. A password is changed by adding a slot, opening with it,
//! and removing the old one: at no moment is there none.

use bytes::Bytes;
use mantis_sink::Payload;
use mantis_stream::{Aes256Gcm, Compression, FrameCipher, StreamError};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::envelope::{self, Envelope, Header, Kind};
use crate::ids::{hex, unhex};
use crate::kdf::{PasswordCost, hkdf};
use crate::vault::Secret;
use crate::{ObjectHash, Password, RepoError, RepoId, SlotId, UnixMillis};

/// The largest slot or keyring that is read, in bytes.
pub(crate) const MAX_KEY_LEN: u64 = 64 << 10;

/// What `keys/<slot>` holds, as JSON in the open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeySlot {
    pub(crate) id: SlotId,
    /// `password`; a reader leaves kinds alone that it does not know.
    pub(crate) kind: String,
    pub(crate) created_at: UnixMillis,
    pub(crate) label: String,
    cost: PasswordCost,
    salt: ObjectHash,
    /// Proves that a key is this slot's.
    check: ObjectHash,
    /// The keyring's key and the cipher's tag, hexadecimal.
    sealed: String,
}

/// The kind of slot that a password opens.
pub(crate) const PASSWORD: &str = "password";

struct Derived {
    seal: Secret,
    check: Secret,
    aad: Vec<u8>,
}

fn derive(
    repo: RepoId,
    id: SlotId,
    cost: PasswordCost,
    salt: &ObjectHash,
    password: &Password,
) -> Result<Derived, RepoError> {
    let mut aad = [&b"mantis-backup 1 slot"[..], &repo.0, &id.0, PASSWORD.as_bytes()].concat();
    for number in [cost.memory_kib, cost.passes, cost.lanes] {
        aad.extend_from_slice(&number.to_le_bytes());
    }
    let key = cost.key(password.bytes(), &salt.0)?;
    let part = |what: &[u8]| hkdf(&key[..], &salt.0, &[what, &aad].concat());
    Ok(Derived { seal: part(b"seal")?, check: part(b"check")?, aad })
}

impl KeySlot {
    /// Seals the keyring's key for a password. Takes the time and memory that `cost` says.
    pub(crate) fn new(
        repo: RepoId,
        id: SlotId,
        salt: [u8; 32],
        (password, cost): (&Password, PasswordCost),
        keyring_key: &Secret,
        (label, created_at): (&str, UnixMillis),
    ) -> Result<Self, RepoError> {
        let salt = ObjectHash(salt);
        let derived = derive(repo, id, cost, &salt, password)?;
        let mut sealed = keyring_key.to_vec();
        Aes256Gcm::new(&derived.seal)?.seal([0; 12], &derived.aad, &mut sealed)?;
        Ok(Self {
            id,
            kind: PASSWORD.to_owned(),
            created_at,
            label: label.to_owned(),
            cost,
            salt,
            check: ObjectHash(*derived.check),
            sealed: hex(&sealed),
        })
    }

    /// The keyring's key, if this is the slot of that password. Takes the time and memory that the slot
    /// says, within bounds.
    pub(crate) fn open(
        &self,
        repo: RepoId,
        password: &Password,
    ) -> Result<Option<Secret>, RepoError> {
        let derived = derive(repo, self.id, self.cost, &self.salt, password)?;
        if !equal(&derived.check[..], &self.check.0) {
            return Ok(None);
        }
        let damaged = || RepoError::damaged(format!("keys/{}", self.id), "it does not open");
        let mut opened = Zeroizing::new(unhex(&self.sealed).ok_or_else(damaged)?);
        match Aes256Gcm::new(&derived.seal)?.open([0; 12], &derived.aad, &mut opened) {
            Err(StreamError::Cipher { .. }) => return Err(damaged()),
            result => result?,
        }
        let key: [u8; 32] = opened[..].try_into().map_err(|_| damaged())?;
        Ok(Some(Zeroizing::new(key)))
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

    #[test]
    fn opens_with_its_password_in_its_repository_only_and_as_dear_as_it_was_made() {
        let password = |text: &str| Password::new(text.into());
        let (repo, id) = (RepoId([1; 16]), SlotId([2; 16]));
        let key: Secret = Zeroizing::new([3; 32]);
        let (right, cost) = (password("right"), PasswordCost::default());
        let about = ("laptop", UnixMillis(5));
        let slot = KeySlot::new(repo, id, [4; 32], (&right, cost), &key, about).unwrap();
        assert_eq!(slot.open(repo, &right).unwrap().unwrap()[..], key[..]);
        assert!(slot.open(repo, &password("wrong")).unwrap().is_none());
        assert!(slot.open(RepoId([9; 16]), &right).unwrap().is_none());
        let cheaper =
            KeySlot { cost: PasswordCost { passes: 1, ..PasswordCost::default() }, ..slot.clone() };
        assert!(cheaper.open(repo, &right).unwrap().is_none());
        let spoiled = KeySlot { sealed: format!("00{}", &slot.sealed[2..]), ..slot.clone() };
        assert!(spoiled.open(repo, &right).is_err());
        let stored = slot.to_payload(repo, [5; 32]).unwrap().to_bytes();
        let name = format!("keys/{id}");
        assert_eq!(KeySlot::read(&name, &stored, repo).unwrap(), slot);
        assert!(KeySlot::read("keys/other", &stored, repo).is_err());
        assert!(!format!("{right:?}").contains("right"));
    }
}
