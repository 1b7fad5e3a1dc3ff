//! Real databases behind the snapshot ports, a feature each.
//!
//! - [`sqlite`]: any SQLite file that other processes hold open, from outside; and in process through a
//!   VFS, so that checkpoints go on during a backup of any length.
//! - [`redb`]: live through a wrapping `StorageBackend`; a closed file by path.
//! - [`mod@file`]: raw page files that nobody writes.
//! - [`RestoreFile`]: where a restore goes: a temporary file beside the target, synced and renamed.
//! - `DatabasePages`: a database that is in no file, which SQLite and redb read without writing it.
//! - [`detect`]: which engine a file belongs to.

#[cfg(any(feature = "sqlite", feature = "redb"))]
mod database_pages;
mod detect;
#[cfg(feature = "file")]
pub mod file;
#[cfg(any(feature = "sqlite", feature = "redb", feature = "file"))]
mod frozen_copy;
#[cfg(any(feature = "sqlite", feature = "redb", feature = "file"))]
mod page_cache;
#[cfg(feature = "redb")]
pub mod redb;
mod restore_file;
mod source_file;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod sync_ahead;

#[cfg(any(feature = "sqlite", feature = "redb"))]
pub use database_pages::DatabasePages;
pub use detect::{EngineKind, detect};
pub use restore_file::{RestoreFile, sidecars};
