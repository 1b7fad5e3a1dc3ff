//! How often someone is told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Notice;
use crate::config::Occasion;

/// Two notices with the same key say the same thing again.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    event: Occasion,
    schedule: Option<String>,
    source: Option<String>,
    title: String,
}

impl Key {
    fn of(notice: &Notice) -> Self {
        Self {
            event: notice.event,
            schedule: notice.schedule.clone(),
            source: notice.source.clone(),
            title: notice.title.clone(),
        }
    }

    /// Whether it is of what a recovery is the end of.
    fn ends_with(&self, recovery: &Notice) -> bool {
        matches!(self.event, Occasion::Failure | Occasion::Damage)
            && self.schedule == recovery.schedule
            && self.source == recovery.source
    }
}

/// Lets a notice through, or counts it.
///
/// What is bad and was told already is not told again for a while; a recovery ends that. Over all, so many are told in an hour.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    /// When each bad thing was told last, and how many of it were left out since.
    told: BTreeMap<Key, (DateTime<Utc>, u64)>,
    /// When the last ones were told.
    sent: VecDeque<DateTime<Utc>>,
    /// How many were left out as there were too many.
    over: u64,
}

impl Limiter {
    /// Takes note of a recovery, whether it is told or not: what was bad may be told again at once.
    pub(super) fn recover(&mut self, recovery: &Notice) {
        self.told.retain(|key, _| !key.ends_with(recovery));
    }

    /// Whether a notice is to be told; if so, with how many were left out before it.
    pub(super) fn pass(
        &mut self,
        notice: &Notice,
        (repeat_after, max_per_hour): (Duration, u32),
        now: DateTime<Utc>,
    ) -> Option<u64> {
        let within = |time: &DateTime<Utc>, span: TimeDelta| *time <= now && now - *time < span;
        let repeat_after = TimeDelta::from_std(repeat_after).unwrap_or(TimeDelta::MAX);
        // What is long over does not fill memory.
        self.told.retain(|_, (time, _)| within(time, repeat_after.max(TimeDelta::days(7))));
        self.sent.retain(|time| within(time, TimeDelta::hours(1)));
        let this = Key::of(notice);
        if notice.is_bad()
            && let Some((time, left_out)) = self.told.get_mut(&this)
            && within(time, repeat_after)
        {
            *left_out += 1;
            return None;
        }
        if self.sent.len() >= usize::try_from(max_per_hour).unwrap_or(usize::MAX) {
            self.over += 1;
            return None;
        }
        self.sent.push_back(now);
        let before = if notice.is_bad() {
            self.told.insert(this, (now, 0)).map_or(0, |(_, left_out)| left_out)
        } else {
            0
        };
        Some(before + std::mem::take(&mut self.over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(event: Occasion, source: &str) -> Notice {
        Notice { source: Some(source.into()), ..Notice::new(event, "t", "m") }
    }

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).unwrap()
    }

    const USUAL: (Duration, u32) = (Duration::from_secs(3600), 30);

    #[test]
    fn the_same_is_told_once_in_a_while_and_the_rest_is_counted() {
        let mut limiter = Limiter::default();
        let mut tell = |event, source, minutes| {
            let notice = notice(event, source);
            if event == Occasion::Recovery {
                limiter.recover(&notice);
            }
            limiter.pass(&notice, USUAL, at(minutes))
        };
        assert_eq!(tell(Occasion::Failure, "a", 0), Some(0));
        assert_eq!(tell(Occasion::Failure, "a", 10), None);
        assert_eq!(tell(Occasion::Failure, "b", 11), Some(0), "another source is another thing");
        assert_eq!(tell(Occasion::Failure, "a", 20), None);
        assert_eq!(tell(Occasion::Failure, "a", 61), Some(2));
        assert_eq!(tell(Occasion::Recovery, "a", 62), Some(0));
        assert_eq!(tell(Occasion::Failure, "a", 63), Some(0), "a new failure after a recovery");
        assert_eq!(tell(Occasion::Success, "a", 64), Some(0));
        assert_eq!(tell(Occasion::Success, "a", 65), Some(0), "what is good is told each time");
    }

    #[test]
    fn no_more_than_so_many_an_hour() {
        let mut limiter = Limiter::default();
        let mut tell =
            |minutes| limiter.pass(&notice(Occasion::Success, "a"), (USUAL.0, 2), at(minutes));
        assert_eq!((tell(0), tell(1), tell(2), tell(3)), (Some(0), Some(0), None, None));
        assert_eq!(tell(61), Some(2));
    }

    #[test]
    fn a_clock_that_goes_back_silences_nobody() {
        let mut limiter = Limiter::default();
        let failure = notice(Occasion::Failure, "a");
        assert_eq!(limiter.pass(&failure, USUAL, at(100_000)), Some(0));
        assert_eq!(limiter.pass(&failure, USUAL, at(0)), Some(0));
    }
}
