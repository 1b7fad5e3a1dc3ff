//! SQLite databases.
//!
//! - [`SqliteEngine`]: from outside. Any database that other processes hold open; the source is never
//!   modified. In WAL mode no writer waits; in rollback-journal mode writers cannot commit while the
//!   pages are read, so they are read to a spool first (see [`JournalLock`]).
//! - [`SqliteFollower`]: the same again and again, with a read mark held in between, so that each snapshot knows what changed.
//! - [`vfs`]: in process, for an application that embeds SQLite: checkpoints go on during a backup.
//! - [`check_database`]: SQLite's own integrity check of a restored file.
//! - [`open_pages`]: SQLite over pages that are in no file, such as those of a backup.
//!
//! Every byte is read through SQLite's own file handles. Opening and closing the database's files by
//! path, in a process that also uses them through SQLite, would drop SQLite's POSIX locks.

mod at_rest;
mod beside;
mod changed_rows;
mod check;
mod checkpointer;
mod connection;
mod followed_wal;
mod follower;
mod frozen_wal;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guard;
mod guarded;
mod header;
mod hot_journal;
mod in_use;
mod live_file;
mod outside;
mod page_vfs;
mod rollback;
mod tidy;
pub mod vfs;
mod wal_changes;
mod wal_index;
mod wal_mark;
mod wal_scan;

pub use changed_rows::{ChangedRows, changed_rows};
pub use check::check_database;
pub use follower::SqliteFollower;
pub use in_use::refuse_if_in_use;
pub use outside::{JournalLock, SqliteEngine, SqliteOptions};
pub use page_vfs::{attach_pages, open_pages};
