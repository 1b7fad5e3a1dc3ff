//! The backup repository, format version 1: segments of frames, manifests, the catalogue; backing up,
//! verifying and restoring. The bytes are described in the project's `docs/format.md`.
//!
//! - [`Repository`]: make one, open one, find backups; with a [`Credential`], encrypted ones.
//! - [`Session`] and [`BackupWriter`]: page runs in, a committed backup out; with a [`Parent`], what changed.
//! - [`Repository::restore`]: the pages of a backup, each proved, in any order and in parallel.
//! - [`Repository::verify`]: reads back and proves every byte; [`Repository::repair`] and
//!   [`Repository::salvage`] for what it finds.
//! - [`Repository::forget`], [`Repository::prune`], [`Repository::compact`]: what goes, beside everything else
//!   that runs (`docs/protocol.md`).
//! - [`Copier`]: backups to a replica of the repository, in another store.
//! - [`Repository::export`] and [`ArchiveSink`]: one backup as one file.
//!
//! Nothing here knows an engine, a clock or a source of randomness: times and seeds are passed in.

#![forbid(unsafe_code)]

#[cfg(feature = "encryption")]
mod age_file;
#[cfg(feature = "encryption")]
mod age_key;
mod archive;
mod backup_writer;
mod before_commit;
mod borrow_cursor;
mod borrow_pages;
mod borrowed_runs;
mod catalogue;
mod collector;
mod compact;
mod compact_plan;
mod condemned;
mod copy;
mod diff;
mod digest;
mod encoder;
mod envelope;
mod error;
mod fingerprint;
mod fleet;
mod forget;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod ids;
mod index_cache;
#[cfg(feature = "encryption")]
mod kdf;
#[cfg(feature = "encryption")]
mod key_slot;
#[cfg(feature = "encryption")]
mod keyring;
mod keys;
mod layer_pages;
mod layout;
mod leftover_cursor;
mod leftovers;
mod lost_outcomes;
mod manifest;
mod matching;
mod merge_layers;
mod newest;
#[cfg(not(feature = "encryption"))]
mod no_unlock;
mod old_records;
mod own_pages;
mod page_hash;
mod page_reader;
mod params;
mod parent;
mod password;
mod references;
mod repair;
mod repair_copies;
mod replica;
mod repository;
mod restore;
mod salvage;
mod segment_builder;
mod segment_index;
mod segment_reader;
mod segment_stream;
mod session;
mod session_memory;
mod session_records;
mod shared_segments;
mod short_stack;
mod spool;
mod stack_cursor;
mod twins;
mod unix_millis;
#[cfg(feature = "encryption")]
mod unlock;
mod uploads;
mod vault;
mod verify;
mod write_options;

pub use archive::{ArchiveSink, Out};
pub use backup_writer::BackupWriter;
pub use catalogue::{Catalogue, Selector, UnreadableBackup};
pub use collector::{PruneOptions, PruneReport};
pub use compact::{CompactOptions, CompactReport};
pub use copy::{Copier, CopyOptions, CopyReport};
pub use diff::Difference;
pub use error::RepoError;
pub use fingerprint::Fingerprint;
pub use fleet::{Beat, hash_of_names};
pub use ids::{BackupId, CollectionId, InvalidId, MemberId, ObjectHash, RepoId, SessionId, SlotId};
pub use index_cache::IndexCache;
pub use keys::{Credential, KeyInfo, KeyKind, KeyLock, NewKey};
#[cfg(feature = "encryption")]
pub use keys::{Identity, InvalidAgeKey, PasswordCost, Recipient};
pub use layout::Place;
pub use leftovers::Leftovers;
pub use manifest::{
    BackupInfo, BackupKind, BackupMeta, Borrow, Layer, LayerList, Manifest, SegmentRef,
};
pub use matching::ReadPages;
pub use page_hash::{PageHash, PageHasher};
pub use page_reader::{PageReader, PagesFetched};
pub use parent::Parent;
pub use password::Password;
pub use repair::{LostSegment, RepairOptions, RepairReport};
pub use repository::{FORMAT_VERSION, Repository};
pub use restore::{Give, RestoreOptions, RestoreSummary, Restored};
pub use salvage::Salvaged;
pub use session::{Purpose, Session};
pub use spool::SpoolOptions;
pub use unix_millis::UnixMillis;
pub use verify::{Damage, Reach, VerifyOptions, VerifyReport};
pub use write_options::WriteOptions;
