//! Hot backups of live databases.
//!
//! A backup is one consistent moment of a database that others write meanwhile: its pages are read
//! through a snapshot, hashed, compressed, checksummed and stored in a repository, from which any
//! backup restores whole. This crate puts the layers together:
//!
//! - [`BackupSystem`]: engines and a repository, and backups of the one into the other;
//! - [`jobs`]: one backup, one restore, each read from top to bottom;
//! - [`Source`]: a database by its path;
//! - feature `sqlite`: `open_snapshot`, a connection to the database of a backup, without restoring it; feature `redb`: `open_redb_snapshot`;
//! - feature `daemon`: the configuration file ([`config`]), schedules that run ([`daemon`]), and people who are told ([`notify`]);
//! - feature `cli`: the `mantis` command.
//!
//! The layers are crates of their own, here by their short names: [`page`], [`cow`], [`snapshot`],
//! [`engine`], [`stream`], [`sink`], [`repo`], [`retention`], [`schedule`].
//!
//! ```no_run
//! # async fn example() -> Result<(), mantis_backup::Error> {
//! use mantis_backup::{BackupSystem, Source, open_repository};
//! let system = BackupSystem::builder()
//!     .source("orders", Source::detect("orders.db")?)?
//!     .repository(open_repository("/srv/backups", &[]).await?)
//!     .build()?;
//! let backup = system.backup("orders").tag("type", "manual").await?;
//! println!("{} pages as of {}", backup.meta.page_count, backup.meta.lsn);
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

#[cfg(feature = "daemon")]
mod access;
#[cfg(any(feature = "sqlite", feature = "redb"))]
mod backup_pages;
mod buffers;
mod candidates;
mod capture;
#[cfg(feature = "cli")]
pub mod cli;
mod clock;
#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "cli")]
mod demo;
#[cfg(feature = "daemon")]
mod destinations;
#[cfg(feature = "daemon")]
mod disk_space;
#[cfg(feature = "daemon")]
mod durable;
mod error;
#[cfg(any(feature = "cli", feature = "dashboard"))]
mod fleet_status;
#[cfg(feature = "daemon")]
mod human;
pub mod jobs;
#[cfg(feature = "daemon")]
mod known_keys;
#[cfg(all(feature = "mount", target_os = "linux"))]
mod mount;
#[cfg(feature = "daemon")]
mod nice;
#[cfg(feature = "daemon")]
pub mod notify;
#[cfg(feature = "daemon")]
mod open_files;
#[cfg(feature = "redb")]
mod open_redb_snapshot;
#[cfg(feature = "sqlite")]
mod open_snapshot;
#[cfg(feature = "daemon")]
mod parse;
#[cfg(feature = "daemon")]
mod pattern;
#[cfg(feature = "daemon")]
mod secrets;
#[cfg(any(feature = "cli", feature = "dashboard"))]
mod simulated_year;
mod source;
#[cfg(feature = "daemon")]
mod spool;
mod system;
mod when;
#[cfg(feature = "daemon")]
mod whereabouts;
mod zone;

pub use clock::{entropy, host_name, now, owner};
pub use error::Error;
#[cfg(feature = "daemon")]
pub use nice::give_way;
#[cfg(feature = "redb")]
pub use open_redb_snapshot::{OpenRedbSnapshot, open_redb_snapshot};
#[cfg(feature = "sqlite")]
pub use open_snapshot::{OpenSnapshot, open_snapshot};
pub use source::{Source, SourceOptions};
pub use system::{
    BackupRequest, BackupSystem, Builder, init_repository, open_repository, probe_store,
};
pub use when::{InvalidTime, format_time, parse_time};
pub use zone::{local_zone, parse_zone};

pub use mantis_cow as cow;
pub use mantis_engine as engine;
pub use mantis_page as page;
pub use mantis_repo as repo;
pub use mantis_retention as retention;
pub use mantis_schedule as schedule;
pub use mantis_sink as sink;
pub use mantis_snapshot as snapshot;
pub use mantis_stream as stream;
