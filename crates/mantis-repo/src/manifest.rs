//! One backup described.

use std::collections::BTreeMap;

use bytes::Bytes;
use mantis_page::PageSize;
use mantis_sink::Payload;
use mantis_stream::Compression;
use serde::{Deserialize, Serialize};

use crate::envelope::{self, Envelope, Kind};
use crate::params::refuse_unknown;
use crate::segment_index::MAX_PAGE_COUNT;
use crate::twins::MAX_RUNS;
use crate::vault::Vault;
use crate::{BackupId, Fingerprint, ObjectHash, RepoError, SessionId, UnixMillis};

/// The largest manifest or list of segments that is read, in bytes.
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
    /// The session that wrote it.
    pub session: SessionId,
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
    /// The salt in its header; with the next field a reader knows the header without reading it.
    pub salt: ObjectHash,
    /// The generation of the key in its header.
    pub key: u32,
    /// Its first page.
    pub first: u64,
    /// Its last page. Not every page between the two need be in it.
    pub last: u64,
    /// How many pages are in it, those of zeros included.
    pub pages: u64,
}

/// Where the list of a layer's segments is, if not in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerList {
    /// The session that wrote it.
    pub session: SessionId,
    /// The hash of its bytes, which is its name.
    pub hash: ObjectHash,
}

/// Pages that are the same as pages of another number, in a segment that holds those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Borrow {
    /// The first page.
    pub first: u64,
    /// How many pages.
    pub pages: u64,
    /// Which of the layer's segments, from 0.
    pub segment: u32,
    /// The first of the pages in the segment that they are the same as.
    pub from: u64,
}

/// Segments whose pages ascend through all of them; or, where it borrows, pages that are taken from segments
/// under other numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Where its segments are listed. A long list is an object of its own, so that a manifest stays as
    /// short as what changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<LayerList>,
    /// Its segments. In the manifest's bytes empty where there is a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentRef>,
    /// Where it borrows: the pages it holds, ascending; it holds no others. In the manifest's bytes empty where
    /// there is a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub borrows: Vec<Borrow>,
    /// What it borrows was stored for this backup, in a segment that holds pages of others too. Readers need not know.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shared: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_false(flag: &bool) -> bool {
    !*flag
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
    /// Where its pages are: layers, oldest first; of two copies of a page the newer one counts. Pages past
    /// the backup's end may be in them, of times when it was longer.
    pub layers: Vec<Layer>,
}

/// The longest segment that is read, in bytes.
pub(crate) const MAX_SEGMENT_LEN: u64 = 1 << 30;
/// The most layers of a manifest that is read.
const MAX_LAYERS: usize = 4096;
/// The most segments of a layer.
pub(crate) const MAX_LAYER_SEGMENTS: usize = 1 << 16;

impl Manifest {
    /// The object: with the segments of those layers only that have no list.
    pub(crate) fn seal(&self, envelope: &Envelope) -> Result<Payload, RepoError> {
        let stored = |layer: &Layer| match layer.list {
            Some(_) => Layer { segments: Vec::new(), borrows: Vec::new(), ..layer.clone() },
            None => layer.clone(),
        };
        let stored = Self { layers: self.layers.iter().map(stored).collect(), ..self.clone() };
        let json = serde_json::to_vec(&stored)
            .map_err(|error| RepoError::damaged("the manifest", error))?;
        envelope::seal(envelope, &json.into(), Compression::Zstd(3))
    }

    /// Reads a manifest; the layers with a list have no segments yet.
    pub(crate) fn open(object: &str, bytes: &Bytes, vault: &Vault) -> Result<Self, RepoError> {
        let json = envelope::open(object, bytes, Kind::Manifest, vault)?;
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
        if manifest.info.generation == u32::MAX {
            return Err(RepoError::damaged(object, "there can be no generation after its own"));
        }
        if meta.page_count > MAX_PAGE_COUNT || manifest.layers.len() > MAX_LAYERS {
            return Err(RepoError::damaged(
                object,
                "it has more pages or layers than there can be",
            ));
        }
        for layer in &manifest.layers {
            if layer.list.is_some() && !layer.segments.is_empty() {
                return Err(RepoError::damaged(object, "a layer of it is there twice"));
            }
            check_layer(object, layer)?;
        }
        Ok(manifest)
    }

    /// The page size, checked.
    pub(crate) fn page_size(&self, object: &str) -> Result<PageSize, RepoError> {
        PageSize::new(self.info.meta.page_size.into())
            .map_err(|error| RepoError::damaged(object, error))
    }

    /// Every segment of every layer.
    pub fn segments(&self) -> impl Iterator<Item = &SegmentRef> {
        self.layers.iter().flat_map(|layer| &layer.segments)
    }
}

/// Proves that the pages of a layer ascend, and that it has what it borrows from.
fn check_layer(object: &str, layer: &Layer) -> Result<(), RepoError> {
    let damaged = |what| Err(RepoError::damaged(object, what));
    if layer.segments.len() > MAX_LAYER_SEGMENTS {
        return damaged("a layer has more segments than there can be");
    }
    if layer.borrows.len() > 2 * MAX_RUNS {
        return damaged("a layer borrows more runs of pages than there can be");
    }
    let mut due = 1;
    for segment in &layer.segments {
        if segment.last < segment.first || segment.first < 1 || segment.last > MAX_PAGE_COUNT {
            return damaged("a segment has pages that there cannot be");
        }
        // What sums of lengths and pages rely on.
        if segment.len > MAX_SEGMENT_LEN || segment.pages > segment.last - segment.first + 1 {
            return damaged(
                "a segment is longer than there can be, or has more pages than it spans",
            );
        }
        if segment.first < due && layer.borrows.is_empty() {
            return damaged("the segments of a layer do not ascend");
        }
        due = segment.last + 1;
    }
    due = 1;
    for borrow in &layer.borrows {
        let end =
            |first: u64| first.checked_add(borrow.pages).filter(|end| *end <= MAX_PAGE_COUNT + 1);
        let segment = layer.segments.get(borrow.segment as usize);
        let inside = segment.is_some_and(|segment| {
            borrow.from >= segment.first
                && end(borrow.from).is_some_and(|end| end <= segment.last + 1)
        });
        if borrow.pages == 0 || borrow.first < due || end(borrow.first).is_none() || !inside {
            return damaged("what a layer borrows does not ascend, or is not there");
        }
        due = borrow.first + borrow.pages;
    }
    Ok(())
}

/// A layer as an object of its own.
pub(crate) fn seal_list(layer: &Layer, envelope: &Envelope) -> Result<Payload, RepoError> {
    let json = serde_json::to_vec(layer)
        .map_err(|error| RepoError::damaged("a list of segments", error))?;
    envelope::seal(envelope, &json.into(), Compression::Zstd(3))
}

/// Reads a layer that is an object of its own; its list is left out.
pub(crate) fn open_list(object: &str, bytes: &Bytes, vault: &Vault) -> Result<Layer, RepoError> {
    let json = envelope::open(object, bytes, Kind::Layer, vault)?;
    let layer: Layer =
        serde_json::from_slice(&json).map_err(|error| RepoError::damaged(object, error))?;
    if layer.list.is_some() {
        return Err(RepoError::damaged(object, "a list names another list"));
    }
    check_layer(object, &layer)?;
    Ok(layer)
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
pub(crate) mod tests;
