//! Durations and sizes as people write them, in addresses, arguments and configuration.

use std::time::Duration;

fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

/// `90s`, `10m`, `2h`, `1d`, `250ms`.
///
/// # Errors
/// How a time is written, where this is none, or none at all.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
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

/// `50MB/s`, `512KiB/s`; the `/s` may be left out. In bytes, or bytes per second.
///
/// # Errors
/// How a rate is written, where this is none.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    let size = text.trim().strip_suffix("/s").unwrap_or(text);
    let parsed = number_and_unit(size).and_then(|(number, unit)| {
        let bytes = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kb" => 1e3,
            "m" | "mb" => 1e6,
            "g" | "gb" => 1e9,
            "t" | "tb" => 1e12,
            "kib" => 1024.0,
            "mib" => 1_048_576.0,
            "gib" => 1_073_741_824.0,
            "tib" => 1_099_511_627_776.0,
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
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_rate("50MB/s"), Ok(50_000_000));
        assert_eq!(parse_rate("1 GiB/s"), Ok(1 << 30));
        assert_eq!((parse_rate("2TB"), parse_rate("1TiB")), (Ok(2_000_000_000_000), Ok(1 << 40)));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "s", "10", "-1s", "1y", "0s", "1e400s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in ["", "fast", "0MB/s", "-1MB/s", "1XB/s", "1MB/h"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }
}
