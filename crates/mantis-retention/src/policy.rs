//! What to keep.

use crate::{Span, Unit};

/// So many of a rule that has no end.
pub const UNLIMITED: u32 = u32::MAX;

/// The rules, and caps over them.
///
/// A backup is kept if one of the rules keeps it; without any rule, all are. The caps then take away from what the rules
/// keep, but never the newest good backup of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The last so many of each source.
    pub keep_last: Option<u32>,
    /// The last of each minute, for the last so many minutes that have one.
    pub keep_minutely: Option<u32>,
    /// The last of each hour, likewise.
    pub keep_hourly: Option<u32>,
    /// The last of each day, likewise.
    pub keep_daily: Option<u32>,
    /// The last of each week from Monday to Sunday, likewise.
    pub keep_weekly: Option<u32>,
    /// The last of each month, likewise.
    pub keep_monthly: Option<u32>,
    /// The last of each year, likewise.
    pub keep_yearly: Option<u32>,
    /// The oldest too, as long as one of the rules above has not kept as many as it may: while history is younger than
    /// they reach, it keeps its beginning.
    pub keep_oldest: bool,
    /// All that are no older than this, counted from the newest.
    pub keep_within: Option<Span>,
    /// All with one of these tags: `key=value`, or `key` with any value.
    pub keep_tags: Vec<String>,
    /// Cap: none that is older than this, counted from now.
    pub max_age: Option<Span>,
    /// Cap: no more than this of each source, the newest.
    pub max_count: Option<u32>,
    /// Cap: the oldest go until about so many bytes are free where they are stored.
    pub min_free: Option<u64>,
}

impl Policy {
    /// Whether it has no rule to keep anything by, so that all is kept but for the caps.
    #[must_use]
    pub fn has_no_rule(&self) -> bool {
        self.keep_last.is_none()
            && self.periods().iter().all(|(_, count)| count.is_none())
            && self.keep_within.is_none()
            && self.keep_tags.is_empty()
    }

    /// Whether it has neither rules nor caps: it removes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.has_no_rule()
            && self.max_age.is_none()
            && self.max_count.is_none()
            && self.min_free.is_none()
    }

    /// The rules that count periods.
    pub(crate) const fn periods(&self) -> [(Unit, Option<u32>); 6] {
        [
            (Unit::Minute, self.keep_minutely),
            (Unit::Hour, self.keep_hourly),
            (Unit::Day, self.keep_daily),
            (Unit::Week, self.keep_weekly),
            (Unit::Month, self.keep_monthly),
            (Unit::Year, self.keep_yearly),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_empty_until_it_has_a_rule_or_a_cap() {
        assert!(Policy::default().is_empty() && Policy::default().has_no_rule());
        let day = || Some(Span::days(1));
        for (policy, rules) in [
            (Policy { keep_last: Some(1), ..Policy::default() }, true),
            (Policy { keep_daily: Some(1), ..Policy::default() }, true),
            (Policy { keep_within: day(), ..Policy::default() }, true),
            (Policy { keep_tags: vec!["a".into()], ..Policy::default() }, true),
            (Policy { max_age: day(), ..Policy::default() }, false),
            (Policy { max_count: Some(1), ..Policy::default() }, false),
            (Policy { min_free: Some(1), ..Policy::default() }, false),
        ] {
            assert!(!policy.is_empty(), "{policy:?}");
            assert_eq!(policy.has_no_rule(), !rules, "{policy:?}");
        }
    }
}
