//! The rules, without the caps: what restic's `forget` keeps of the same times.
//!
//! From the newest to the oldest, each rule that counts takes the first backup of each period it meets, until it has taken as
//! many as it may (restic's `ApplyPolicy`). From 0.16 on, restic has such a rule take the oldest backup of all too where it
//! has some left, so that history grows to its full length; users took that for a fault as often as they wished for it, so
//! here it is a rule of its own ([`Policy::keep_oldest`]).

use chrono::TimeZone;

use crate::{Candidate, Period, Policy, Reason, UNLIMITED, Unit};

/// A rule that takes one backup of each period.
struct Bucket {
    unit: Unit,
    left: u32,
    last: Option<Period>,
}

impl Bucket {
    /// `oldest`: it is the oldest of all, and to be kept as long as there is room for it.
    fn take(&mut self, period: Period, oldest: bool) -> Option<Reason> {
        if self.left == 0 || (self.last == Some(period) && !oldest) {
            return None;
        }
        if self.left != UNLIMITED {
            self.left -= 1;
        }
        let again = self.last.replace(period) == Some(period);
        Some(if again { Reason::Oldest(self.unit) } else { Reason::Period(period) })
    }
}

fn buckets(policy: &Policy) -> Vec<Bucket> {
    let used = policy.periods().into_iter().filter_map(|(unit, count)| Some((unit, count?)));
    used.map(|(unit, left)| Bucket { unit, left, last: None }).collect()
}

/// The tag of a policy that a backup has.
fn matching_tag<'a, Id>(policy: &'a Policy, backup: &Candidate<Id>) -> Option<&'a String> {
    policy.keep_tags.iter().find(|tag| match tag.split_once('=') {
        Some((key, value)) => backup.tags.get(key).is_some_and(|found| found == value),
        None => backup.tags.contains_key(*tag),
    })
}

/// Why each of one source's backups is kept, newest first; nothing for those that no rule keeps.
pub(crate) fn apply<Id, Tz: TimeZone>(
    policy: &Policy,
    newest_first: &[&Candidate<Id>],
    zone: &Tz,
) -> Vec<Vec<Reason>> {
    if policy.has_no_rule() {
        return newest_first.iter().map(|_| vec![Reason::NoRule]).collect();
    }
    let mut buckets = buckets(policy);
    let within = policy
        .keep_within
        .zip(newest_first.first())
        .map(|(span, newest)| (span, span.before(newest.time(), zone)));
    let reasons = newest_first.iter().enumerate().map(|(at, backup)| {
        let (time, is_oldest) = (backup.time(), at + 1 == newest_first.len());
        let oldest = policy.keep_oldest && is_oldest;
        let mut reasons = Vec::new();
        let rank = u32::try_from(at + 1).unwrap_or(u32::MAX);
        if policy.keep_last.is_some_and(|last| rank <= last) {
            reasons.push(Reason::Last(rank));
        }
        for bucket in &mut buckets {
            reasons.extend(bucket.take(Period::of(bucket.unit, time, zone), oldest));
        }
        reasons.extend(
            within.filter(|(_, since)| time > *since).map(|(span, _)| Reason::Within(span)),
        );
        reasons.extend(matching_tag(policy, backup).cloned().map(Reason::Tag));
        reasons
    });
    reasons.collect()
}
