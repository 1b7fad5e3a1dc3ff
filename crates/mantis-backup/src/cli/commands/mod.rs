//! One file for each command.

pub(crate) mod backup;
pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod fleet;
pub(crate) mod forget;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod man;
#[cfg(all(feature = "mount", target_os = "linux"))]
pub(crate) mod mount;
pub(crate) mod prune;
pub(crate) mod query;
pub(crate) mod repair;
pub(crate) mod rescue;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod schedule;
mod schedule_list;
mod schedule_remote;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod verify;
pub(crate) mod watch;
mod watch_events;
