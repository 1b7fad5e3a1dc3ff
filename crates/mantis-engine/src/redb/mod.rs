//! redb databases.
//!
//! - [`SnapshotBackend`] and [`RedbEngine`]: a live database. Wrap any `StorageBackend`, open the
//!   database on it, and make the engine from both: snapshots hold exactly the last durable commit, and
//!   a restored file opens without a repair.
//! - [`ClosedRedb`]: a database that no process has open, by its path.
//! - [`open_pages`]: a database that is in no file, such as one in a backup, for reading.
//! - [`check_database`]: redb's own integrity check of a restored file, without changing it.
//!
//! Commits with `Durability::None` are in no file before a durable commit follows them; a snapshot of a live database makes an empty one.

mod backend;
mod check;
mod closed;
mod content;
mod live;
mod read_only;

pub use backend::SnapshotBackend;
pub use check::check_database;
pub use closed::ClosedRedb;
pub use live::RedbEngine;
pub use read_only::open_pages;

pub use ::redb::{DatabaseError, ReadOnlyDatabase};
