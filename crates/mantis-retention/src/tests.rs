//! The planner, against its properties and against what restic keeps.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::{Europe::Berlin, Tz};
use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600_000;
/// 1 March 2024, a leap year.
const START: i64 = 1_709_251_200_000;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(START).unwrap() + TimeDelta::days(900)
}

fn run(policy: &Policy, candidates: &[Candidate<u32>], zone: Tz) -> Plan<u32> {
    plan(policy, candidates, Circumstances { now: now(), zone: &zone, free: None })
}

fn kept(plan: &Plan<u32>) -> BTreeSet<u32> {
    plan.kept.iter().map(|kept| kept.id).collect()
}

fn without<'a>(all: &'a [Candidate<u32>], plan: &Plan<u32>) -> Vec<Candidate<u32>> {
    let gone: BTreeSet<u32> = plan.removed.iter().map(|removed| removed.id).collect();
    let left = all.iter().filter(|candidate: &&'a Candidate<u32>| !gone.contains(&candidate.id));
    left.cloned().collect()
}

/// Backups of three sources: dense ones, sparse ones, some at one moment, some not good.
fn any_candidates() -> impl Strategy<Value = Vec<Candidate<u32>>> {
    let time = prop_oneof![
        0..48 * HOUR,
        0..60 * 24 * HOUR,
        0..880 * 24 * HOUR,
        (0i64..900).prop_map(|day| day * 24 * HOUR)
    ];
    let state =
        prop_oneof![8 => Just(State::Good), 1 => Just(State::Failed), 1 => Just(State::Running)];
    prop::collection::vec(
        (0u8..3, time, state, 0u64..100, prop::option::weighted(0.1, 0u8..2)),
        0..70,
    )
    .prop_map(|backups| {
        let named = backups.into_iter().zip(0..);
        named
            .map(|((source, time, state, bytes, tag), id)| Candidate {
                tags: tag.map(|tag| ("keep".to_owned(), tag.to_string())).into_iter().collect(),
                bytes,
                state,
                ..Candidate::new(id, format!("s{source}"), START + time)
            })
            .collect()
    })
}

fn any_span() -> impl Strategy<Value = Option<Span>> {
    let span = prop_oneof!["[1-9]d", "[1-9]mo", "[1-9]y", "[1-9]w[1-6]d", "[1-9]{2}h"];
    prop::option::weighted(0.3, span.prop_map(|text| text.parse().unwrap()))
}

fn any_rules() -> impl Strategy<Value = Policy> {
    let count = || prop::option::weighted(0.4, prop_oneof![9 => 1u32..9, 1 => Just(UNLIMITED)]);
    let tags = prop_oneof![3 => Just(Vec::new()), 1 => Just(vec!["keep=1".to_owned()]), 1 => Just(vec!["keep".to_owned()])];
    let fine = (count(), count());
    (count(), fine, count(), count(), count(), count(), any_span(), tags, any::<bool>()).prop_map(
        |(last, (minutely, hourly), daily, weekly, monthly, yearly, within, tags, oldest)| Policy {
            keep_oldest: oldest,
            keep_last: last,
            keep_minutely: minutely,
            keep_hourly: hourly,
            keep_daily: daily,
            keep_weekly: weekly,
            keep_monthly: monthly,
            keep_yearly: yearly,
            keep_within: within,
            keep_tags: tags,
            ..Policy::default()
        },
    )
}

fn any_policy() -> impl Strategy<Value = Policy> {
    (any_rules(), any_span(), prop::option::weighted(0.3, 1u32..20))
        .prop_map(|(rules, max_age, max_count)| Policy { max_age, max_count, ..rules })
}

fn any_zone() -> impl Strategy<Value = Tz> {
    prop_oneof![
        Just(Tz::UTC),
        Just(Berlin),
        Just(Tz::Australia__Lord_Howe),
        Just(Tz::America__New_York)
    ]
}

proptest! {
    #[test]
    fn order_does_not_matter_and_every_candidate_is_decided(
        candidates in any_candidates(), policy in any_policy(), zone in any_zone(), by in 0usize..70,
    ) {
        let first = run(&policy, &candidates, zone);
        let mut other = candidates.clone();
        other.reverse();
        other.rotate_left(by.min(candidates.len()));
        prop_assert_eq!(&first, &run(&policy, &other, zone));
        let removed = first.removed.iter().map(|removed| removed.id);
        let decided: BTreeSet<u32> = removed.chain(kept(&first)).chain(first.ignored.iter().copied()).collect();
        prop_assert_eq!(decided.len(), candidates.len());
        let count = first.kept.len() + first.removed.len() + first.ignored.len();
        prop_assert_eq!(count, candidates.len());
        prop_assert!(first.kept.iter().all(|kept| !kept.reasons.is_empty()));
    }

    #[test]
    fn planning_again_after_the_removal_removes_nothing(
        candidates in any_candidates(), policy in any_policy(), zone in any_zone(),
    ) {
        let left = without(&candidates, &run(&policy, &candidates, zone));
        prop_assert_eq!(run(&policy, &left, zone).removed, vec![]);
    }

    #[test]
    fn a_rule_more_never_removes_more(
        candidates in any_candidates(), some in any_rules(), others in any_rules(), max_age in any_span(), zone in any_zone(),
    ) {
        prop_assume!(!some.has_no_rule());
        let both = |a: Option<u32>, b: Option<u32>| a.max(b);
        let more = Policy {
            keep_last: both(some.keep_last, others.keep_last),
            keep_minutely: both(some.keep_minutely, others.keep_minutely),
            keep_hourly: both(some.keep_hourly, others.keep_hourly),
            keep_daily: both(some.keep_daily, others.keep_daily),
            keep_weekly: both(some.keep_weekly, others.keep_weekly),
            keep_monthly: both(some.keep_monthly, others.keep_monthly),
            keep_yearly: both(some.keep_yearly, others.keep_yearly),
            keep_within: some.keep_within.or(others.keep_within),
            keep_oldest: some.keep_oldest || others.keep_oldest,
            keep_tags: [some.keep_tags.clone(), others.keep_tags].concat(),
            max_age,
            ..Policy::default()
        };
        let less = run(&Policy { max_age, ..some }, &candidates, zone);
        prop_assert!(kept(&less).is_subset(&kept(&run(&more, &candidates, zone))));
    }

    #[test]
    fn caps_only_take_away_and_hold(
        candidates in any_candidates(), policy in any_policy(), zone in any_zone(),
    ) {
        let rules = Policy { max_age: None, max_count: None, ..policy.clone() };
        let capped = run(&policy, &candidates, zone);
        prop_assert!(kept(&capped).is_subset(&kept(&run(&rules, &candidates, zone))));
        for source in ["s0", "s1", "s2"] {
            let of_source = candidates.iter().filter(|candidate| candidate.source == source);
            let left = of_source.filter(|candidate| kept(&capped).contains(&candidate.id));
            let left: Vec<&Candidate<u32>> = left.collect();
            if let Some(most) = policy.max_count {
                prop_assert!(left.len() <= most as usize);
            }
            let Some(age) = policy.max_age else { continue };
            let oldest = age.before(now(), &zone).timestamp_millis();
            let old = left.iter().filter(|candidate| candidate.created_at < oldest).count();
            prop_assert!(old <= usize::from(left.len() == 1), "none but the only one is too old");
        }
    }

    #[test]
    fn the_newest_good_one_of_every_source_stays_and_others_are_left_alone(
        candidates in any_candidates(), policy in any_policy(), wanted in 0u64..10_000, zone in any_zone(),
    ) {
        let policy = Policy { min_free: Some(wanted), ..policy };
        let plan = plan(&policy, &candidates, Circumstances { now: now(), zone: &zone, free: Some(0) });
        for source in ["s0", "s1", "s2"] {
            let good = candidates.iter().filter(|candidate| candidate.source == source && candidate.state == State::Good);
            if let Some(newest) = good.max_by_key(|candidate| (candidate.created_at, candidate.id)) {
                prop_assert!(kept(&plan).contains(&newest.id));
            }
        }
        for candidate in candidates.iter().filter(|candidate| candidate.state != State::Good) {
            prop_assert!(plan.ignored.contains(&candidate.id));
        }
    }

    #[test]
    fn room_is_made_from_the_oldest_and_no_more_than_needed(
        candidates in any_candidates(), wanted in 0u64..3000, free in 0u64..1000,
    ) {
        let policy = Policy { min_free: Some(wanted), ..Policy::default() };
        let plan = plan(&policy, &candidates, Circumstances { now: now(), zone: &Utc, free: Some(free) });
        let bytes = |id: u32| candidates.iter().find(|candidate| candidate.id == id).map_or(0, |found| found.bytes);
        let freed: u64 = plan.removed.iter().map(|removed| bytes(removed.id)).sum();
        let short = plan.warnings.iter().any(|warning| matches!(warning, Warning::StillShort { .. }));
        prop_assert_eq!(short, free + freed < wanted);
        let largest = plan.removed.iter().map(|removed| bytes(removed.id)).max().unwrap_or(0);
        prop_assert!(plan.removed.is_empty() || free + freed < wanted + largest.max(1));
        // What is left frees as much as it did: planning again, nothing more goes.
        let left = without(&candidates, &plan);
        let again = super::plan(&policy, &left, Circumstances { now: now(), zone: &Utc, free: Some(free + freed) });
        prop_assert_eq!(again.removed, vec![]);
    }

    #[test]
    fn times_to_come_push_nothing_out(
        candidates in any_candidates(), policy in any_policy(), ahead in prop::collection::vec(1i64..9999, 1..9),
    ) {
        let before = run(&policy, &candidates, Tz::UTC);
        let mut more = candidates.clone();
        for (id, hours) in (1000..).zip(ahead) {
            more.push(Candidate::new(id, "s0", now().timestamp_millis() + hours * HOUR));
        }
        let after = run(&policy, &more, Tz::UTC);
        prop_assert_eq!(&before.removed, &after.removed);
        let told = after.warnings.iter().any(|warning| matches!(warning, Warning::Future { .. }));
        prop_assert!(told);
    }

    #[test]
    fn no_time_panics(times in prop::collection::vec(any::<i64>(), 0..20), policy in any_policy(), zone in any_zone()) {
        let candidates: Vec<_> = (0..).zip(times).map(|(id, time)| Candidate::new(id, "s", time)).collect();
        for now in [now(), DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            let plan = plan(&policy, &candidates, Circumstances { now, zone: &zone, free: None });
            prop_assert_eq!(plan.kept.len() + plan.removed.len(), candidates.len());
            let kept = plan.kept.iter().map(|kept| (now, &kept.reasons[..]));
            prop_assert!(calendar(kept, now, &zone).contains("L last"));
        }
    }
}

#[test]
fn the_hour_that_comes_twice_is_one_and_the_day_of_25_hours_too() {
    // 25 October 2026 in Berlin: 02:30 comes at 00:30 and at 01:30 UTC.
    let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis();
    let backups = [
        Candidate::new(1, "s", at("2026-10-25T00:30:00Z")),
        Candidate::new(2, "s", at("2026-10-25T01:30:00Z")),
        Candidate::new(3, "s", at("2026-10-25T22:59:00Z")),
        Candidate::new(4, "s", at("2026-10-25T23:01:00Z")),
    ];
    let circumstances = Circumstances {
        now: DateTime::parse_from_rfc3339("2026-10-26T12:00:00Z").unwrap().to_utc(),
        zone: &Berlin,
        free: None,
    };
    let ids = |policy| {
        plan(&policy, &backups, circumstances).kept.iter().map(|kept| kept.id).collect::<Vec<u32>>()
    };
    assert_eq!(ids(Policy { keep_hourly: Some(3), ..Policy::default() }), [2, 3, 4]);
    assert_eq!(ids(Policy { keep_daily: Some(1), ..Policy::default() }), [4]);
    assert_eq!(ids(Policy { keep_daily: Some(2), ..Policy::default() }), [3, 4]);
}

#[test]
fn leap_days_and_iso_years() {
    let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis();
    let days = [
        "2024-02-28",
        "2024-02-29",
        "2024-03-01",
        "2024-12-29",
        "2024-12-30",
        "2024-12-31",
        "2025-01-05",
    ];
    let backups: Vec<_> = (0..)
        .zip(days)
        .map(|(id, day)| Candidate::new(id, "s", at(&format!("{day}T12:00:00Z"))))
        .collect();
    let ids = |policy| kept(&run(&policy, &backups, Tz::UTC)).into_iter().collect::<Vec<u32>>();
    // 30 December 2024 to 5 January 2025 is one week.
    assert_eq!(ids(Policy { keep_weekly: Some(2), ..Policy::default() }), [3, 6]);
    assert_eq!(ids(Policy { keep_monthly: Some(9), ..Policy::default() }), [1, 2, 5, 6]);
    // Eleven months before 5 January 2025 is 5 February 2024.
    assert_eq!(ids(Policy { keep_within: "11mo".parse().ok(), ..Policy::default() }).len(), 7);
    assert_eq!(ids(Policy { keep_within: "10mo".parse().ok(), ..Policy::default() }), [3, 4, 5, 6]);
    let oldest = Policy { keep_monthly: Some(9), keep_oldest: true, ..Policy::default() };
    assert_eq!(ids(oldest.clone()), [0, 1, 2, 5, 6].as_slice());
    assert_eq!(ids(Policy { keep_monthly: Some(3), ..oldest }), [2, 5, 6]);
}
