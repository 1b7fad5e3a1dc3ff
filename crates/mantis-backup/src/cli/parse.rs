//! Sizes, times and tags as people write them.

use std::time::Duration;

/// `k=v`.
pub(crate) fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a tag is written as KEY=VALUE".into()),
    }
}

fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

/// `90s`, `10m`, `2h`, `1d`, `250ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = number_and_unit(text).and_then(|(number, unit)| {
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        Duration::try_from_secs_f64(number * seconds).ok()
    });
    parsed
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "a time is written as 250ms, 90s, 10m, 2h or 1d".into())
}

/// As [`duration`], or `0s`.
pub(crate) fn grace(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "0" | "0s" => Ok(Duration::ZERO),
        text => duration(text),
    }
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

/// `50MB/s`, `512KiB/s`; the `/s` may be left out.
pub(crate) fn size_rate(text: &str) -> Result<u64, String> {
    let size = text.trim().strip_suffix("/s").unwrap_or(text);
    let parsed = number_and_unit(size).and_then(|(number, unit)| {
        let bytes = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kb" => 1e3,
            "m" | "mb" => 1e6,
            "g" | "gb" => 1e9,
            "kib" => 1024.0,
            "mib" => 1_048_576.0,
            "gib" => 1_073_741_824.0,
            _ => return None,
        };
        let bytes = number * bytes;
        (1.0..1e18).contains(&bytes).then_some(bytes as u64)
    });
    parsed.ok_or_else(|| "a rate is written as 50MB/s, 512KiB/s or 1GB/s".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(size_rate("50MB/s"), Ok(50_000_000));
        assert_eq!(size_rate("1 GiB/s"), Ok(1 << 30));
        assert_eq!(tag("a=b=c"), Ok(("a".into(), "b=c".into())));
    }

    #[test]
    fn reads_shares_and_times_of_grace() {
        assert_eq!((share("0.1"), share("5 %")), (Ok(0.1), Ok(0.05)));
        assert!(share("1.1").is_err() && share("-1%").is_err() && share("x").is_err());
        assert_eq!((grace("0s"), grace("1h")), (Ok(Duration::ZERO), Ok(Duration::from_secs(3600))));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "s", "10", "-1s", "1y", "0s", "1e400s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "fast", "0MB/s", "-1MB/s", "1TB/s", "1MB/h"] {
            assert!(size_rate(text).is_err(), "{text}");
        }
        assert!(tag("=x").is_err() && tag("x").is_err());
    }
}
