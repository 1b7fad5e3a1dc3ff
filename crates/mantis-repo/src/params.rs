//! What a repository is: `mantis.repo` and its copy.

use serde::{Deserialize, Serialize};

use crate::envelope::{self, Envelope, Header, Kind};
use crate::{ObjectHash, RepoError, RepoId, UnixMillis};
use bytes::Bytes;
use mantis_sink::Payload;
use mantis_stream::Compression;

/// The largest `mantis.repo` that is read, in bytes.
pub(crate) const MAX_PARAMS_LEN: u64 = 64 << 10;

/// What `mantis.repo` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Params {
    pub(crate) created_at: UnixMillis,
    /// What a reader must know beyond format version 1; a reader refuses what it does not know.
    pub(crate) required: Vec<String>,
    /// Whether everything but this object and the keys is encrypted.
    #[serde(default)]
    pub(crate) encrypted: bool,
    /// Which function hashes pages.
    pub(crate) page_hash: String,
    /// Its key, in the open; with encryption it is in the keyring.
    pub(crate) page_hash_key: Option<ObjectHash>,
}

/// The page hash of version 1.
pub(crate) const HIGHWAY_128: &str = "highway-128";

impl Params {
    pub(crate) fn seal(&self, repo: RepoId, salt: [u8; 32]) -> Result<Payload, RepoError> {
        let envelope = Envelope::plain(Header::new(Kind::Params, repo, salt, 0));
        let json =
            serde_json::to_vec(self).map_err(|error| RepoError::damaged("mantis.repo", error))?;
        envelope::seal(&envelope, &json.into(), Compression::None)
    }

    pub(crate) fn open(object: &str, bytes: &Bytes) -> Result<(RepoId, Self), RepoError> {
        let (repo, json) = envelope::open_plain(object, bytes, Kind::Params, None)?;
        let params: Self =
            serde_json::from_slice(&json).map_err(|error| RepoError::damaged(object, error))?;
        refuse_unknown(object, &params.required)?;
        if params.page_hash != HIGHWAY_128 {
            let needs = format!("the page hash {}", params.page_hash);
            return Err(RepoError::TooNew { object: object.to_owned(), needs });
        }
        if params.encrypted == params.page_hash_key.is_some() {
            return Err(RepoError::damaged(object, "it does not say where the page hash key is"));
        }
        Ok((repo, params))
    }
}

/// Refuses what an object says its reader must know; version 1 knows nothing beyond itself.
pub(crate) fn refuse_unknown(object: &str, required: &[String]) -> Result<(), RepoError> {
    match required.first() {
        None => Ok(()),
        Some(feature) => {
            let needs = format!("the feature {feature:?}");
            Err(RepoError::TooNew { object: object.to_owned(), needs })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_page_hashes_is_in_one_place() {
        for (encrypted, key, good) in
            [(false, true, true), (true, false, true), (true, true, false), (false, false, false)]
        {
            let params = Params {
                created_at: UnixMillis(1),
                required: Vec::new(),
                encrypted,
                page_hash: HIGHWAY_128.to_owned(),
                page_hash_key: key.then_some(ObjectHash([3; 32])),
            };
            let sealed = params.seal(RepoId([1; 16]), [2; 32]).unwrap().to_bytes();
            assert_eq!(Params::open("mantis.repo", &sealed).is_ok(), good);
        }
    }
}
