//! The time zone that is meant where none is named.

use chrono_tz::Tz;

/// The zone that `TZ` names, else the system's, else UTC.
#[must_use]
pub fn local_zone() -> Tz {
    let named = std::env::var("TZ").ok().filter(|name| !name.is_empty());
    let system = || iana_time_zone::get_timezone().ok();
    named.or_else(system).and_then(|name| parse_zone(&name).ok()).unwrap_or(Tz::UTC)
}

/// Reads the name of a time zone: `Europe/Berlin`, `UTC`.
///
/// # Errors
/// How zones are named, where this is none.
pub fn parse_zone(name: &str) -> Result<Tz, String> {
    let parsed = name.trim().trim_start_matches(':').parse();
    parsed.map_err(|_| "no such time zone: write it as Europe/Berlin or UTC".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_names() {
        assert_eq!(parse_zone("Europe/Berlin"), Ok(Tz::Europe__Berlin));
        assert_eq!(parse_zone(":UTC"), Ok(Tz::UTC));
        assert!(parse_zone("Middle/Earth").is_err());
    }
}
