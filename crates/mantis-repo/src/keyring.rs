//! The keyring: the master keys and the key of the page hashes, sealed with one key that every slot holds.
//!
//! `keys/ring-<n>` is the keyring with master keys 1 to n, and there is a copy of it. A rotation creates the
//! next one; the slots stay as they are. Whoever once opened a slot can open every keyring: removing a slot
//! keeps its password from working, it does not take back what its owner has seen.

use std::collections::BTreeMap;

use bytes::Bytes;
use mantis_sink::Payload;
use mantis_stream::{Aes256Gcm, Compression, FrameCipher};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::envelope::{self, Envelope, Header, Kind};
use crate::ids::{hex, unhex};
use crate::kdf::hkdf;
use crate::vault::{Secret, Vault};
use crate::{ObjectHash, RepoError, RepoId};

/// Master keys of one repository, by generation from 1.
pub(crate) struct Keyring {
    page_hash_key: Secret,
    master: BTreeMap<u32, Secret>,
}

/// What is sealed, as JSON.
#[derive(Serialize, Deserialize)]
struct Inner {
    page_hash_key: String,
    master: BTreeMap<u32, String>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.page_hash_key.zeroize();
        self.master.values_mut().for_each(Zeroize::zeroize);
    }
}

/// What the object holds, as JSON in the open.
#[derive(Serialize, Deserialize)]
struct Outer {
    salt: ObjectHash,
    sealed: String,
}

impl Keyring {
    pub(crate) fn new(page_hash_key: Secret, first: Secret) -> Self {
        Self { page_hash_key, master: BTreeMap::from([(1, first)]) }
    }

    /// Adds the next master key.
    pub(crate) fn add(&mut self, key: Secret) {
        self.master.insert(self.newest() + 1, key);
    }

    /// The newest generation, which is the keyring's number.
    pub(crate) fn newest(&self) -> u32 {
        self.master.last_key_value().map_or(0, |(generation, _)| *generation)
    }

    pub(crate) fn vault(&self, repo: RepoId) -> Vault {
        Vault::encrypted(repo, &self.page_hash_key, self.master.clone())
    }

    fn cipher(
        &self,
        repo: RepoId,
        salt: &ObjectHash,
        key: &Secret,
    ) -> Result<(Aes256Gcm, Vec<u8>), RepoError> {
        cipher(repo, self.newest(), salt, key)
    }

    /// The object: sealed with the keyring's key.
    pub(crate) fn seal(
        &self,
        repo: RepoId,
        key: &Secret,
        salt: [u8; 32],
    ) -> Result<Payload, RepoError> {
        let failed = |error| RepoError::damaged("the keyring", error);
        let inner = Inner {
            page_hash_key: hex(&self.page_hash_key[..]),
            master: self.master.iter().map(|(at, key)| (*at, hex(&key[..]))).collect(),
        };
        let salt_of = ObjectHash(salt);
        let (cipher, aad) = self.cipher(repo, &salt_of, key)?;
        let mut sealed = serde_json::to_vec(&inner).map_err(failed)?;
        cipher.seal([0; 12], &aad, &mut sealed)?;
        let outer = Outer { salt: salt_of, sealed: hex(&sealed) };
        let json = serde_json::to_vec(&outer).map_err(failed)?;
        let envelope = Envelope::plain(Header::new(Kind::Keyring, repo, salt, 0));
        envelope::seal(&envelope, &json.into(), Compression::None)
    }

    /// Opens the object of keyring `number`.
    pub(crate) fn open(
        object: &str,
        bytes: &Bytes,
        (repo, number): (RepoId, u32),
        key: &Secret,
    ) -> Result<Self, RepoError> {
        let damaged = |what: &str| RepoError::damaged(object, what);
        let parse = |error| RepoError::damaged(object, error);
        let (_, json) = envelope::open_plain(object, bytes, Kind::Keyring, Some(repo))?;
        let outer: Outer = serde_json::from_slice(&json).map_err(parse)?;
        let (cipher, aad) = cipher(repo, number, &outer.salt, key)?;
        let sealed = unhex(&outer.sealed).ok_or_else(|| damaged("it is not hexadecimal"))?;
        let mut opened = Zeroizing::new(sealed);
        cipher
            .open([0; 12], &aad, &mut opened)
            .map_err(|_| damaged("it does not open with the key of its slots"))?;
        let inner: Inner = serde_json::from_slice(&opened).map_err(parse)?;
        let secret = |text: &str| -> Result<Secret, RepoError> {
            let bytes = unhex(text).map(Zeroizing::new);
            let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(&bytes[..]).ok());
            key.map(Zeroizing::new).ok_or_else(|| damaged("a key in it has another length"))
        };
        let master = inner.master.iter().map(|(at, key)| Ok((*at, secret(key)?)));
        let master = master.collect::<Result<BTreeMap<u32, Secret>, RepoError>>()?;
        let ring = Self { page_hash_key: secret(&inner.page_hash_key)?, master };
        if ring.newest() != number || !ring.master.keys().copied().eq(1..=number) {
            return Err(damaged("it is another keyring than its name says"));
        }
        Ok(ring)
    }
}

fn cipher(
    repo: RepoId,
    number: u32,
    salt: &ObjectHash,
    key: &Secret,
) -> Result<(Aes256Gcm, Vec<u8>), RepoError> {
    let aad = [&b"mantis-backup 1 keyring"[..], &repo.0, &number.to_le_bytes()].concat();
    let key = hkdf(&key[..], &salt.0, &aad)?;
    Ok((Aes256Gcm::new(&key)?, aad))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_with_its_key_under_its_number_only() {
        let secret = |byte| -> Secret { Zeroizing::new([byte; 32]) };
        let repo = RepoId([1; 16]);
        let mut ring = Keyring::new(secret(2), secret(3));
        ring.add(secret(4));
        assert_eq!(ring.newest(), 2);
        let stored = ring.seal(repo, &secret(5), [6; 32]).unwrap().to_bytes();
        let open = |repo, number, key| Keyring::open("ring", &stored, (repo, number), &secret(key));
        assert_eq!(open(repo, 2, 5).unwrap().master, ring.master);
        assert!(open(repo, 1, 5).is_err() && open(repo, 2, 6).is_err());
        assert!(open(RepoId([7; 16]), 2, 5).is_err());
    }
}
