//! Telling people: by webhook, e-mail, command or log.
//!
//! - [`Notice`]: what is told; [`Notifier`]: a way to tell it;
//! - [`Notifications`]: who of the configuration is told of what, and how often. It never fails anything.

#[cfg(feature = "webhook")]
mod body;
mod command;
mod dispatcher;
#[cfg(feature = "email")]
mod email;
mod limiter;
mod log;
mod notice;
mod template;
#[cfg(feature = "webhook")]
mod webhook;

pub use command::Command;
pub use dispatcher::Notifications;
#[cfg(feature = "email")]
pub use email::Email;
pub use log::Log;
pub use notice::{Notice, Notifier};
pub(crate) use template::check_webhook;
#[cfg(feature = "webhook")]
pub use webhook::Webhook;

/// Checks an address of e-mail.
#[cfg(feature = "email")]
pub(crate) fn check_address(address: &str) -> Result<(), String> {
    email::check_address(address)
}

/// Checks an address of e-mail.
#[cfg(not(feature = "email"))]
pub(crate) fn check_address(address: &str) -> Result<(), String> {
    if address.contains('@') {
        Ok(())
    } else {
        Err("an address is written as ops@example.org".into())
    }
}
