//! Chance that is the same each time it is asked for: a run is as late after a restart as it was before.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A time from nothing to `bound`, drawn by a job's name, a moment and a number.
pub(crate) fn draw(bound: Duration, id: &str, moment: DateTime<Utc>, turn: u32) -> Duration {
    let start = mix(moment.timestamp_millis().cast_unsigned() ^ (u64::from(turn) << 48));
    let seed = id
        .bytes()
        .fold(start, |seed, byte| mix(seed.wrapping_add(0x9E37_79B9_7F4A_7C15) ^ u64::from(byte)));
    let millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(mix(seed).checked_rem(millis.saturating_add(1)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_even_and_repeats_itself() {
        let bound = Duration::from_millis(99);
        let mut seen = [0u32; 100];
        for second in 0..10_000 {
            let moment = DateTime::from_timestamp(second, 0).unwrap();
            let drawn = draw(bound, "a job", moment, 1);
            assert_eq!(drawn, draw(bound, "a job", moment, 1));
            seen[drawn.as_millis() as usize] += 1;
        }
        assert!(seen.iter().all(|count| (50..160).contains(count)), "{seen:?}");
        assert_eq!(draw(Duration::ZERO, "x", DateTime::UNIX_EPOCH, 0), Duration::ZERO);
    }
}
