//! One backup described.

use std::collections::BTreeMap;

use bytes::Bytes;
use mantis_page::PageSize;
use mantis_sink::Payload;
use mantis_stream::Compression;
use serde::{Deserialize, Serialize};

use crate::envelope::{self, Header, Kind};
use crate::params::refuse_unknown;
use crate::{BackupId, Fingerprint, ObjectHash, RepoError, RepoId, SessionId, UnixMillis};

/// The largest manifest that is read, in bytes. One of a 10 TiB database with segments of 16 MiB has
/// about a hundredth of that times ten.
pub(crate) const MAX_MANIFEST_LEN: u64 = 64 << 20;

/// Whether a backup stores every page itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum BackupKind {
    /// Every page is in its own segments.
    Full,
    /// Pages that did not change are in segments of backups before it.
    Incremental,
}

/// What is known of a backup before its first page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMeta {
    /// The source's name.
    pub source: String,
    /// The engine's name.
    pub engine: String,
    /// What the engine knows the source by: usually its path.
    pub object: String,
    /// The position of the last commit in the backup.
    pub lsn: u64,
    /// Positions compare only within one timeline.
    pub timeline: String,
    /// How the moment was held still.
    pub way: String,
    /// When the moment was taken.
    pub created_at: UnixMillis,
    /// The user's own words on it.
    pub tags: BTreeMap<String, String>,
    /// The size of each page in bytes.
    pub page_size: u32,
    /// How many pages.
    pub page_count: u64,
    /// The length of the source in bytes; the last page may reach past it.
    pub byte_len: u64,
}

/// All that is known of a backup but where its pages are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupInfo {
    /// Its id.
    pub id: BackupId,
    /// Which generation of its manifest this is, from 0; compaction makes new ones.
    pub generation: u32,
    /// The session that wrote this generation.
    pub session: SessionId,
    /// What was known before its first page.
    #[serde(flatten)]
    pub meta: BackupMeta,
    /// Whether it stores every page itself.
    pub kind: BackupKind,
    /// The backup it was built on.
    pub parent: Option<BackupId>,
    /// Pages that differ from the parent's; all, without one.
    pub pages_changed: u64,
    /// Pages that are all zeros, and cost nothing.
    pub pages_zero: u64,
    /// Bytes read from the source.
    pub bytes_read: u64,
    /// Bytes this backup added to the repository: its segments.
    pub bytes_stored: u64,
    /// How long it took, from the freeze to its last segment, in milliseconds.
    pub duration_ms: u64,
    /// How its frames are compressed.
    pub compression: String,
    /// The hash over its page hashes in order.
    pub fingerprint: Fingerprint,
}

/// One segment of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// The hash of its bytes, which is its name.
    pub hash: ObjectHash,
    /// Its length in bytes.
    pub len: u64,
    /// Where its index frame begins.
    pub index_at: u64,
    /// The length of its index frame in bytes.
    pub index_len: u32,
    /// The hash of its index frame: with it a reader may trust the index without the whole segment.
    pub index_hash: ObjectHash,
}

/// The segments that one session wrote, their pages ascending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The session.
    pub session: SessionId,
    /// Its segments; pages ascend through all of them.
    pub segments: Vec<SegmentRef>,
}

/// One backup described: what it is and where its pages are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What a reader must know beyond format version 1.
    pub required: Vec<String>,
    /// What it is.
    #[serde(flatten)]
    pub info: BackupInfo,
    /// The manifest of the backup before it in the repository, as far as its writer knew.
    pub previous: Option<ObjectHash>,
    /// What the engine needs to tell, next time, which pages changed; hexadecimal.
    pub token: Option<String>,
    /// Where its pages are: layers, oldest first; of two copies of a page the newer one counts.
    pub layers: Vec<Layer>,
}

impl Manifest {
    pub(crate) fn seal(&self, repo: RepoId, salt: [u8; 32]) -> Result<Payload, RepoError> {
        let header = Header::new(Kind::Manifest, repo, salt);
        let json =
            serde_json::to_vec(self).map_err(|error| RepoError::damaged("the manifest", error))?;
        envelope::seal(&header, json.into(), Compression::Zstd(3))
    }

    pub(crate) fn open(object: &str, bytes: &Bytes, repo: RepoId) -> Result<Self, RepoError> {
        let (_, json) = envelope::open(object, bytes, Kind::Manifest, Some(repo))?;
        let manifest: Self =
            serde_json::from_slice(&json).map_err(|error| RepoError::damaged(object, error))?;
        refuse_unknown(object, &manifest.required)?;
        manifest.page_size(object)?;
        let meta = &manifest.info.meta;
        let capacity = meta.page_count.checked_mul(meta.page_size.into());
        let short = meta.page_count.saturating_sub(1).saturating_mul(meta.page_size.into());
        if capacity.is_none_or(|capacity| capacity < meta.byte_len) || meta.byte_len < short {
            return Err(RepoError::damaged(object, "its page count and its length do not agree"));
        }
        Ok(manifest)
    }

    /// The page size, checked.
    pub(crate) fn page_size(&self, object: &str) -> Result<PageSize, RepoError> {
        PageSize::new(self.info.meta.page_size.into())
            .map_err(|error| RepoError::damaged(object, error))
    }
}
