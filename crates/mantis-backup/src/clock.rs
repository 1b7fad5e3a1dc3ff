//! The only clock, and the only source of randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use mantis_repo::UnixMillis;

use crate::Error;

/// The time now.
#[must_use]
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMillis(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
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
