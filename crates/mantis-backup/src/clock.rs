//! The only clock, the only source of randomness, and who we are.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use mantis_repo::UnixMillis;
use mantis_retention::calendar_time;

use crate::Error;

/// The time now.
#[must_use]
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMillis(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}

/// Where process numbers mean what they mean here: the host, this start of it, and the name space of processes.
fn home() -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let space = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let (host, boot) =
        (read("/proc/sys/kernel/hostname")?, read("/proc/sys/kernel/random/boot_id")?);
    Some(format!("{host} {boot} {}", space.display()))
}

/// The time now, as calendars have it.
pub(crate) fn calendar_now() -> DateTime<Utc> {
    calendar_time(now().0)
}

/// The machine's name.
#[must_use]
pub fn host_name() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let name = read.map(|text| text.trim().to_owned()).unwrap_or_default();
    if name.is_empty() { "unknown".into() } else { name }
}

/// Who works here: the process, and where it is.
#[must_use]
pub fn owner() -> String {
    format!("{}@{}", std::process::id(), home().unwrap_or_else(|| "unknown".into()))
}

/// Whether an owner's process is gone for sure: it was of this very place, and is not there.
pub(crate) fn is_dead(owner: &str) -> bool {
    let Some((process, place)) = owner.split_once('@') else { return false };
    home().as_deref() == Some(place)
        && process.parse::<u32>().is_ok()
        && !std::path::Path::new("/proc").join(process).exists()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_place_that_is_not_there_is_dead() {
        let ours = owner();
        assert!(!is_dead(&ours), "we are here");
        let (_, place) = ours.split_once('@').unwrap();
        assert!(is_dead(&format!("4194999@{place}")), "past the largest number of a process");
        for other in ["4194999@elsewhere", "4194999", "x@", &format!("../x@{place}")] {
            assert!(!is_dead(other), "{other}");
        }
    }
}
