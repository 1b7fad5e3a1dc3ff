//! The keep rules, against what restic's `forget` kept of the same snapshots (`make_restic_cases.py`).

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use chrono::DateTime;
use chrono_tz::Tz;
use mantis_retention::{Candidate, Circumstances, Policy, plan};
use serde_json::Value;

fn policy(rules: &Value) -> Policy {
    let count = |rule: &str| rules[rule].as_u64().map(|count| u32::try_from(count).unwrap());
    Policy {
        keep_last: count("last"),
        keep_hourly: count("hourly"),
        keep_daily: count("daily"),
        keep_weekly: count("weekly"),
        keep_monthly: count("monthly"),
        keep_yearly: count("yearly"),
        // A bare m is months for restic.
        keep_within: rules["within"].as_str().map(|span| span.replace('m', "mo").parse().unwrap()),
        ..Policy::default()
    }
}

fn seconds(times: &Value) -> Vec<i64> {
    times.as_array().unwrap().iter().map(|time| time.as_i64().unwrap()).collect()
}

#[test]
fn what_restic_keeps_is_kept() {
    let worlds: Value = serde_json::from_str(include_str!("restic_cases.json")).unwrap();
    let mut cases = 0;
    for world in worlds.as_array().unwrap() {
        let zone: Tz = world["zone"].as_str().unwrap().parse().unwrap();
        let times = seconds(&world["times"]);
        let backups: Vec<Candidate<i64>> =
            times.iter().map(|time| Candidate::new(*time, "s", time * 1000)).collect();
        let now = DateTime::from_timestamp(times.last().unwrap() + 1, 0).unwrap();
        for case in world["cases"].as_array().unwrap() {
            let circumstances = Circumstances { now, zone: &zone, free: None };
            let plan = plan(&policy(&case["rules"]), &backups, circumstances);
            let kept: Vec<i64> = plan.kept.iter().map(|kept| kept.id).collect();
            let mut wanted = seconds(&case["kept"]);
            // Ours never removes the newest; restic may, by no rule of these, as each keeps it.
            wanted.sort_unstable();
            assert_eq!(kept, wanted, "{zone} {}", case["rules"]);
            cases += 1;
        }
    }
    assert!(cases > 150, "{cases}");
}
