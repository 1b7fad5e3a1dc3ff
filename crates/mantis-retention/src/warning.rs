//! Rules that cannot hold under a cap, and backups that cannot be what they claim.

use std::fmt;

use crate::{Policy, UNLIMITED, Unit};

/// Something about a plan or a policy that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Warning {
    /// A rule wants more than `max_count` allows.
    OverMaxCount {
        /// The rule.
        rule: &'static str,
        /// How many it wants.
        wants: u32,
        /// How many there may be.
        max_count: u32,
    },
    /// A rule reaches back further than `max_age` allows.
    OverMaxAge {
        /// The rule.
        rule: &'static str,
        /// The cap.
        max_age: String,
    },
    /// The newest backup of a source is older than `max_age`; it is kept all the same.
    NewestTooOld {
        /// The source.
        source: String,
    },
    /// Backups of a source claim to be of a time that has not come.
    Future {
        /// The source.
        source: String,
        /// How many.
        backups: usize,
    },
    /// Even the newest backups alone take more than leaves `min_free`.
    StillShort {
        /// Bytes that are missing.
        missing: u64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverMaxCount { rule, wants: UNLIMITED, max_count } => {
                write!(f, "{rule} wants to keep all, but max_count allows {max_count}")
            }
            Self::OverMaxCount { rule, wants, max_count } => {
                write!(f, "{rule} wants {wants}, but max_count allows {max_count}")
            }
            Self::OverMaxAge { rule, max_age } => {
                write!(f, "{rule} reaches back further than max_age, {max_age}")
            }
            Self::NewestTooOld { source } => {
                write!(
                    f,
                    "the newest backup of {source} is older than max_age; it is kept until there is a newer one"
                )
            }
            Self::Future { source, backups } => write!(
                f,
                "{backups} backups of {source} are of a time in the future; they are kept and not counted: look at the clocks"
            ),
            Self::StillShort { missing } => write!(
                f,
                "min_free cannot be had by forgetting: {missing} bytes are missing with only the newest backups left"
            ),
        }
    }
}

/// What in a policy cannot hold, whatever the backups are.
#[must_use]
pub fn check(policy: &Policy) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let periods = policy.periods();
    if let Some(max_count) = policy.max_count {
        let counts = periods.iter().map(|(unit, count)| (unit.rule(), *count));
        let counts = std::iter::once(("keep_last", policy.keep_last)).chain(counts);
        let over =
            counts.filter_map(|(rule, count)| Some((rule, count.filter(|n| *n > max_count)?)));
        warnings.extend(over.map(|(rule, wants)| Warning::OverMaxCount { rule, wants, max_count }));
    }
    if let Some(max_age) = policy.max_age {
        // The last of so many periods may be as young as one less.
        let reach = |unit: &Unit, count: u32| unit.at_least(count.saturating_sub(1));
        let mut over: Vec<&'static str> = periods
            .iter()
            .filter(|(unit, count)| {
                count.is_some_and(|count| reach(unit, count) > max_age.about_seconds())
            })
            .map(|(unit, _)| unit.rule())
            .collect();
        if policy.keep_within.is_some_and(|span| span.about_seconds() > max_age.about_seconds()) {
            over.push("keep_within");
        }
        let max_age = max_age.to_string();
        warnings.extend(
            over.into_iter().map(|rule| Warning::OverMaxAge { rule, max_age: max_age.clone() }),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_caps_take_away_are_told() {
        let policy = Policy {
            keep_daily: Some(30),
            keep_yearly: Some(5),
            keep_last: Some(UNLIMITED),
            max_count: Some(20),
            max_age: "1y".parse().ok(),
            ..Policy::default()
        };
        let told: Vec<String> = check(&policy).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "keep_last wants to keep all, but max_count allows 20",
                "keep_daily wants 30, but max_count allows 20",
                "keep_yearly reaches back further than max_age, 1y",
            ]
        );
        assert_eq!(check(&Policy { max_count: Some(30), ..policy.clone() }).len(), 2);
        let whole = Policy { keep_yearly: Some(1), max_count: None, ..policy };
        assert_eq!(check(&whole), []);
    }
}
