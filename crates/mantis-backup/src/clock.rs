//! The only clock, the only source of randomness, and who we are.

use std::time::{SystemTime, UNIX_EPOCH};

use mantis_repo::UnixMillis;

use crate::Error;

/// The time now.
#[must_use]
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMillis(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}

/// Who works here, for people who wonder: process and host.
#[must_use]
pub fn owner() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.map_or_else(|_| "host".into(), |name| name.trim().to_owned());
    format!("{}@{host}", std::process::id())
}

/// Fresh random bytes.
///
/// # Errors
/// Where the operating system gives none.
pub fn entropy() -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Error::Other {
        doing: "draw random bytes from the operating system".into(),
        source: error.into(),
        help: None,
    })?;
    Ok(bytes)
}
