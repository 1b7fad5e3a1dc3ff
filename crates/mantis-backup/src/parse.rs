//! Sizes, times and tags as people write them.

use std::time::Duration;

pub(crate) use mantis_sink::{parse_duration as duration, parse_rate as size_rate};

/// `k=v`.
#[cfg(feature = "cli")]
pub(crate) fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a tag is written as KEY=VALUE".into()),
    }
}

/// As [`duration`], or `0s`.
pub(crate) fn grace(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "0" | "0s" => Ok(Duration::ZERO),
        text => duration(text),
    }
}

/// A number of bytes, or 0.
pub(crate) fn size_or_none(text: &str) -> Result<u64, String> {
    match text.trim() {
        "0" => Ok(0),
        rate if rate.ends_with("/s") => Err("a size is written as 500MB or 10GiB".into()),
        text => size_rate(text).map_err(|_| "a size is written as 500MB or 10GiB, or 0".into()),
    }
}

/// How long a log may grow: a number of bytes that is worth a checkpoint.
#[cfg(feature = "daemon")]
pub(crate) fn log_len(text: &str) -> Result<u64, String> {
    size_or_none(text)
        .ok()
        .filter(|len| *len >= 1 << 20)
        .ok_or_else(|| "give a size of 1MiB or more, such as 16MiB".into())
}

/// From one look at a source to the next.
#[cfg(feature = "daemon")]
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let longest = Duration::from_secs(24 * 3600);
    duration(text)
        .ok()
        .filter(|time| (Duration::from_millis(100)..=longest).contains(time))
        .ok_or_else(|| "give a time from 100ms to 24h, such as 5s".into())
}

/// A share from 0 to 1: `0.1`, `10%`.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let parsed = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.trim().parse(),
    };
    parsed
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "a share is written as 0.1 or 10%".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_shares_and_times_of_grace() {
        assert_eq!((share("0.1"), share("5 %")), (Ok(0.1), Ok(0.05)));
        assert!(share("1.1").is_err() && share("-1%").is_err() && share("x").is_err());
        assert_eq!((grace("0s"), grace("1h")), (Ok(Duration::ZERO), Ok(Duration::from_secs(3600))));
    }

    #[cfg(feature = "cli")]
    #[test]
    fn reads_intervals() {
        assert_eq!(interval("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(interval("250ms"), Ok(Duration::from_millis(250)));
        assert!(["0s", "1ms", "25h", "5", "x"].iter().all(|text| interval(text).is_err()));
        assert_eq!(log_len("16MiB"), Ok(16 << 20));
        assert!(["0", "1000", "1MiB/s"].iter().all(|text| log_len(text).is_err()));
    }

    #[test]
    fn reads_sizes_that_may_be_none() {
        assert_eq!(["0", "500MB"].map(size_or_none), [Ok(0), Ok(500_000_000)]);
        assert!(["5MB/s", "", "-1"].iter().all(|text| size_or_none(text).is_err()));
    }

    #[test]
    #[cfg(feature = "cli")]
    fn reads_tags() {
        assert_eq!(tag("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(tag("=x").is_err() && tag("x").is_err());
    }
}
