//! `mantis.toml`: what is backed up, where to, when, what is kept, and who is told.
//!
//! - [`Config`] and the tables in it, as they stand in the file;
//! - [`load`] and [`parse`]: all faults at once, each with its line and column;
//! - [`find`]: which file is meant;
//! - [`EXAMPLE`] and [`schema`]: the file explained to people and to editors.

mod check;
mod conflicts;
mod dashboard;
#[cfg(feature = "dashboard")]
pub(crate) mod edit;
mod fault;
mod find;
mod fleet;
mod found;
mod model;
mod notification;
mod parse;
mod schedule;
mod secret;
mod template;
mod text;

pub use crate::access::{PasswordHash, TokenHash};
#[cfg(feature = "dashboard")]
pub(crate) use check::is_name;
pub(crate) use check::{NAMES, is_local};
pub use dashboard::{DashboardConfig, HostName, Network, Role, TlsConfig, UserConfig};
pub use fault::{ConfigError, Fault};
pub use find::{find, places};
pub use fleet::FleetConfig;
pub use found::{Found, Search};
pub use model::{
    Config, IoPriority, JournalLocking, Log, LogFormat, LogLevel, RepositoryConfig,
    RetentionConfig, SourceConfig,
};
pub use notification::{
    CommandConfig, EmailConfig, NotificationConfig, Occasion, Security, WebhookConfig, WebhookStyle,
};
pub use parse::{load, parse};
pub use schedule::{Action, ScheduleConfig};
pub use secret::{Secret, TextOrSecret};
pub use template::{InvalidTemplate, Template};
pub use text::{ByteRate, ByteSize, FromText, Interval, LogSize, Share, SpoolSize, Text, Wait};

/// A file that shows and explains every key. A test parses it.
pub const EXAMPLE: &str = include_str!("example.toml");

/// The file's JSON schema, for editors that know TOML.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}

#[cfg(test)]
mod tests;
