//! What makes objects this repository's: its id, its page-hash key, and, with encryption, its master keys.
//!
//! The key of an object is HKDF-SHA-256 of a master key, with the object's salt as HKDF's salt and the
//! repository's id in its info. A master key is never used for anything else.

use std::collections::BTreeMap;

use mantis_stream::FrameCipher;
use zeroize::Zeroizing;

use crate::envelope::{Envelope, Header, Kind};
use crate::{PageHasher, RepoError, RepoId};

/// 32 secret bytes, wiped when dropped.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// Master keys by generation, from 1; empty: objects are not encrypted.
type MasterKeys = BTreeMap<u32, Secret>;

/// Makes and opens envelopes. Tells nothing of its keys.
pub(crate) struct Vault {
    repo: RepoId,
    hasher: PageHasher,
    master: MasterKeys,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("repo", &self.repo).finish_non_exhaustive()
    }
}

impl Vault {
    /// Without encryption.
    pub(crate) fn plain(repo: RepoId, page_hash_key: [u8; 32]) -> Self {
        Self { repo, hasher: PageHasher::new(page_hash_key), master: MasterKeys::new() }
    }

    /// With encryption; `master` is not empty.
    #[cfg(feature = "encryption")]
    pub(crate) fn encrypted(repo: RepoId, page_hash_key: &Secret, master: MasterKeys) -> Self {
        Self { repo, hasher: PageHasher::new(**page_hash_key), master }
    }

    pub(crate) const fn repo(&self) -> RepoId {
        self.repo
    }

    pub(crate) const fn hasher(&self) -> &PageHasher {
        &self.hasher
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        !self.master.is_empty()
    }

    /// The generation of the key that new objects get; 0 without encryption.
    pub(crate) fn newest_generation(&self) -> u32 {
        self.master.last_key_value().map_or(0, |(generation, _)| *generation)
    }

    /// The envelope of a new object.
    pub(crate) fn envelope(&self, kind: Kind, salt: [u8; 32]) -> Result<Envelope, RepoError> {
        let header = Header::new(kind, self.repo, salt, self.newest_generation());
        self.envelope_of("a new object", header)
    }

    /// The header of an object of which its salt and its key's generation are known.
    pub(crate) fn known_header(&self, kind: Kind, salt: [u8; 32], generation: u32) -> Header {
        Header::new(kind, self.repo, salt, generation)
    }

    /// The envelope of an object with a header. Where the repository is encrypted, an object that is not
    /// is refused: someone else made it.
    pub(crate) fn envelope_of(&self, object: &str, header: Header) -> Result<Envelope, RepoError> {
        let generation = header.generation();
        if self.is_encrypted() != (generation > 0) {
            let what = "whether it is encrypted is not as the repository is";
            return Err(RepoError::damaged(object, what));
        }
        if generation == 0 {
            return Ok(Envelope::plain(header));
        }
        let Some(master) = self.master.get(&generation) else {
            let what = format!("it is sealed with key {generation}, which the keyring has not");
            return Err(RepoError::damaged(object, what));
        };
        let cipher = object_cipher(self.repo, generation, master, &header.salt())?;
        Ok(Envelope::new(header, Some(cipher)))
    }
}

#[cfg(feature = "encryption")]
fn object_cipher(
    repo: RepoId,
    generation: u32,
    master: &Secret,
    salt: &[u8; 32],
) -> Result<Box<dyn FrameCipher>, RepoError> {
    let info = [b"mantis-backup 1 object", &repo.0[..], &generation.to_le_bytes()].concat();
    let key = crate::kdf::hkdf(&**master, salt, &info)?;
    Ok(Box::new(mantis_stream::Aes256Gcm::new(&key)?))
}

#[cfg(not(feature = "encryption"))]
fn object_cipher(
    _: RepoId,
    _: u32,
    _: &Secret,
    _: &[u8; 32],
) -> Result<Box<dyn FrameCipher>, RepoError> {
    Err(RepoError::NoEncryption)
}
