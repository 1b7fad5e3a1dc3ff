//! SQLite in process: a VFS over SQLite's own.
//!
//! [`register`] adds a VFS that hands every call on to SQLite's own unix VFS: locking, shared memory and
//! the WAL stay SQLite's. It looks at four things: writes and truncations of the database file (the old
//! pages are saved for open snapshots), frame headers of the WAL (which pages change), and locks (when a
//! transaction or a checkpoint begins and ends). An application opens its connections with it, or makes
//! it the default, and backs up with [`SqliteVfsEngine`]: checkpoints go on during a backup of any
//! length, the WAL never grows because of it, and an incremental knows its changed pages.
//!
//! A process without the VFS may read the database as it likes. If one writes or checkpoints it, that is
//! noticed: a snapshot under way is lost, and the next one falls back to the outside way, with no page
//! taken for unchanged. It never becomes a wrong backup.

mod engine;
mod file;
mod frozen;
mod register;
mod tracker;
mod watch;

pub use engine::SqliteVfsEngine;
pub use register::{VFS_NAME, register};
