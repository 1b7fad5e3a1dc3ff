//! The backup repository, format version 1: segments of frames, manifests, the catalogue; backing up,
//! verifying and restoring. The bytes are described in the project's `docs/format.md`.
//!
//! - [`Repository`]: make one, open one, find backups.
//! - [`Session`] and [`BackupWriter`]: page runs in, a committed backup out.
//! - [`Repository::restore`]: the pages of a backup, each proved, in any order and in parallel.
//! - [`Repository::verify`]: reads back and proves every byte.
//!
//! Nothing here knows an engine, a clock or a source of randomness: times and seeds are passed in.

#![forbid(unsafe_code)]

mod backup_writer;
mod catalogue;
mod encoder;
mod envelope;
mod error;
mod fingerprint;
mod ids;
mod layout;
mod manifest;
mod page_hash;
mod page_walk;
mod params;
mod repository;
mod restore;
mod segment_builder;
mod segment_index;
mod segment_reader;
mod session;
mod unix_millis;
mod verify;

pub use backup_writer::{BackupWriter, WriteOptions};
pub use catalogue::{Catalogue, Selector, UnreadableBackup};
pub use error::RepoError;
pub use fingerprint::Fingerprint;
pub use ids::{BackupId, InvalidId, ObjectHash, RepoId, SessionId};
pub use layout::Place;
pub use manifest::{BackupInfo, BackupKind, BackupMeta, Layer, Manifest, SegmentRef};
pub use page_hash::{PageHash, PageHasher};
pub use repository::{FORMAT_VERSION, Repository};
pub use restore::{RestoreOptions, RestoreSummary, Restored};
pub use session::Session;
pub use unix_millis::UnixMillis;
pub use verify::{Damage, VerifyOptions, VerifyReport};
