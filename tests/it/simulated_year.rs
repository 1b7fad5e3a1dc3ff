//! A year of twenty schedules over three sources: random failures, kills, clocks that jump, summer times. What is left at
//! its end is what the calendar and the policies call for, worked out here a second time in the plainest way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, TimeZone, Timelike, Utc, Weekday};
use chrono_tz::Tz;
use mantis_backup::retention::{Candidate, Circumstances, Policy, plan};
use mantis_backup::schedule::{
    Agenda, AgendaState, Clock, Event, Job, ManualClock, MissedRuns, Next, Outcome, Overlap, Retry,
    RunId,
};
use mantis_sink::Chance;

fn seconds(chance: &mut Chance, from: u64, to: u64) -> TimeDelta {
    TimeDelta::seconds((from + chance.below(to - from)).cast_signed())
}

/// A schedule's times, said without cron.
enum Times {
    /// On such days, at these times of day.
    Days(fn(NaiveDate) -> bool, &'static [(u32, u32)]),
    /// In each hour that passes, at this minute.
    Hours(u32),
}

fn every_day(_: NaiveDate) -> bool {
    true
}

fn schedules() -> Vec<(&'static str, Times)> {
    use Times::{Days, Hours};
    let weekday = |day: NaiveDate| day.weekday().num_days_from_monday() < 5;
    vec![
        ("30 2 * * *", Days(every_day, &[(2, 30)])),
        ("0 2 * * *", Days(every_day, &[(2, 0)])),
        ("@daily", Days(every_day, &[(0, 0)])),
        ("5 * * * *", Hours(5)),
        ("15 1 * * MON-FRI", Days(weekday, &[(1, 15)])),
        ("0 3 * * 0", Days(|day| day.weekday() == Weekday::Sun, &[(3, 0)])),
        ("0 3 * * 7", Days(|day| day.weekday() == Weekday::Sun, &[(3, 0)])),
        ("0 4 1 * *", Days(|day| day.day() == 1, &[(4, 0)])),
        ("0 4 13 * FRI", Days(|day| day.day() == 13 || day.weekday() == Weekday::Fri, &[(4, 0)])),
        ("45 */6 * * *", Days(every_day, &[(0, 45), (6, 45), (12, 45), (18, 45)])),
        ("0 12 L * *", Days(|day| day.succ_opt().unwrap().day() == 1, &[(12, 0)])),
        ("0 0 29 2 *", Days(|day| (day.month(), day.day()) == (2, 29), &[(0, 0)])),
        ("10 22-2/2 * * *", Days(every_day, &[(0, 10), (2, 10), (22, 10)])),
        (
            "0 5 * * 1#2",
            Days(|day| day.weekday() == Weekday::Mon && (8..15).contains(&day.day()), &[(5, 0)]),
        ),
        ("0 6 1 1,7 *", Days(|day| day.day() == 1 && [1, 7].contains(&day.month()), &[(6, 0)])),
        ("@hourly", Hours(0)),
        ("20,50 3 * * *", Days(every_day, &[(3, 20), (3, 50)])),
        ("0 7 */10 * *", Days(|day| [1, 11, 21, 31].contains(&day.day()), &[(7, 0)])),
        ("59 23 31 12 *", Days(|day| (day.month(), day.day()) == (12, 31), &[(23, 59)])),
        ("30 1 * * SAT", Days(|day| day.weekday() == Weekday::Sat, &[(1, 30)])),
    ]
}

const SOURCES: [&str; 3] = ["orders", "users", "events"];
const ZONES: [Tz; 4] =
    [Tz::Europe__Berlin, Tz::America__New_York, Tz::Australia__Lord_Howe, Tz::UTC];

fn jobs() -> Vec<(Job, &'static str, Times)> {
    let all = schedules().into_iter().enumerate().map(|(at, (cron, times))| {
        let missed = [MissedRuns::Once, MissedRuns::All, MissedRuns::Skip][at % 3];
        let overlap = if missed == MissedRuns::All { Overlap::Allow } else { Overlap::Queue };
        // A `*` with a step is about hours that pass too: in a zone whose clocks do not change, that is the same.
        let zone = if cron.contains("*/6") { Tz::UTC } else { ZONES[at % 4] };
        let retry = Retry {
            attempts: 4,
            delay: Duration::from_secs(20),
            max_delay: Duration::from_secs(120),
        };
        let job = Job {
            missed,
            overlap,
            retry,
            ..Job::new(format!("job{at:02}"), cron.parse().unwrap(), zone)
        };
        (job, SOURCES[at % 3], times)
    });
    all.collect()
}

fn policy(source: &str) -> Policy {
    let none = Policy::default();
    match source {
        "orders" => {
            Policy { keep_last: Some(3), keep_daily: Some(14), keep_monthly: Some(12), ..none }
        }
        "users" => {
            Policy { keep_hourly: Some(48), keep_weekly: Some(20), max_count: Some(60), ..none }
        }
        _ => Policy { keep_within: "10d".parse().ok(), keep_yearly: Some(2), ..none },
    }
}

/// The moments of a year at which a schedule comes true, by the calendar alone.
fn moments(
    times: &Times,
    zone: Tz,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> BTreeSet<DateTime<Utc>> {
    match times {
        Times::Hours(minute) => {
            let whole = start.with_second(0).unwrap();
            let steps = (0..=(end - start).num_minutes())
                .map(|minutes| whole + TimeDelta::minutes(minutes));
            steps
                .filter(|moment| *moment > start && moment.with_timezone(&zone).minute() == *minute)
                .collect()
        }
        Times::Days(fits, times) => {
            let first = start.date_naive() - TimeDelta::days(1);
            let days = first.iter_days().take(370).filter(|day| fits(*day));
            let locals = days.flat_map(|day| {
                times.iter().map(move |(hour, minute)| day.and_hms_opt(*hour, *minute, 0).unwrap())
            });
            let moments = locals.map(|local| {
                let later = (0..).map(|minutes| {
                    zone.from_local_datetime(&(local + TimeDelta::minutes(minutes)))
                });
                later.filter_map(chrono::LocalResult::earliest).next().unwrap().to_utc()
            });
            moments.filter(|moment| *moment > start && *moment <= end).collect()
        }
    }
}

/// Something that happens to the daemon or to the clock.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// Killed, and started again so much later.
    Kill(TimeDelta),
    Forward(TimeDelta),
    /// By less than three hours: the schedules wait for it.
    Back(TimeDelta),
}

/// A run: when it ends and how, its job and its time there, and when it began.
type UnderWay = (DateTime<Utc>, Outcome, String, DateTime<Utc>, DateTime<Utc>);

struct Year {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    clock: ManualClock,
    chance: Chance,
    agenda: Agenda,
    written: String,
    under_way: BTreeMap<RunId, UnderWay>,
    /// What was backed up: job and its time, when the backup was taken.
    made: BTreeMap<(String, DateTime<Utc>), DateTime<Utc>>,
    /// Runs that nothing could make succeed.
    hopeless: BTreeSet<(String, DateTime<Utc>)>,
    /// Runs that were killed and, by their policy, not made up for; and tries that gave way to a newer run.
    let_go: BTreeSet<(String, DateTime<Utc>)>,
    /// Spans of the clock that nobody was there for: after, up to.
    gaps: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    retries: usize,
    superseded: usize,
    kept: BTreeMap<&'static str, Vec<Candidate<String>>>,
}

impl Year {
    fn new(seed: u64) -> Self {
        let start = DateTime::parse_from_rfc3339("2027-09-01T00:00:30Z").unwrap().to_utc();
        Self {
            start,
            // No run is under way or to be tried again then.
            end: start + TimeDelta::days(366) - TimeDelta::minutes(5),
            clock: ManualClock::new(start),
            chance: Chance::new(seed),
            agenda: Agenda::new(AgendaState::default(), 6),
            written: serde_json::to_string(&AgendaState::default()).unwrap(),
            under_way: BTreeMap::new(),
            made: BTreeMap::new(),
            hopeless: BTreeSet::new(),
            let_go: BTreeSet::new(),
            gaps: Vec::new(),
            retries: 0,
            superseded: 0,
            kept: BTreeMap::new(),
        }
    }

    /// As a daemon does when it starts: from what was written, and from the configuration.
    fn begin_process(&mut self) {
        let now = self.clock.now();
        self.under_way.clear();
        self.agenda = Agenda::new(serde_json::from_str(&self.written).unwrap(), 6);
        jobs().into_iter().for_each(|(job, _, _)| self.agenda.create(job, now).unwrap());
        self.agenda.forget_unknown();
        for event in self.agenda.take_up(now) {
            if let Event::Interrupted { job, run, again: false } = event {
                self.let_go.insert((job, run.scheduled));
            }
        }
    }

    fn write(&mut self) {
        self.written = serde_json::to_string(self.agenda.state()).unwrap();
    }

    fn poll(&mut self) {
        let now = self.clock.now();
        let events = self.agenda.poll(now);
        self.write();
        for event in events {
            match event {
                Event::Begin { job, run, .. } => {
                    let ends = now + seconds(&mut self.chance, 5, 120);
                    let outcome = match self.chance.below(200) {
                        0 => Outcome::Hopeless,
                        1..60 if run.attempt < 4 => Outcome::Failed,
                        _ => Outcome::Done,
                    };
                    self.under_way.insert(run.run, (ends, outcome, job, run.scheduled, now));
                }
                Event::Missed { .. } => {}
                // The clock jumped over a try that waited: the newer run stands for it.
                Event::Superseded { job, run } => {
                    self.superseded += 1;
                    self.let_go.insert((job, run.scheduled));
                }
                other => panic!("nothing is skipped or given up in this year: {other:?}"),
            }
        }
    }

    fn end_runs(&mut self, sources: &BTreeMap<String, &'static str>) {
        let now = self.clock.now();
        let over: Vec<RunId> = self
            .under_way
            .iter()
            .filter(|(_, (ends, ..))| *ends <= now)
            .map(|(run, _)| *run)
            .collect();
        for run in over {
            let (_, outcome, job, scheduled, taken) = self.under_way.remove(&run).unwrap();
            match (outcome, self.agenda.finished(run, outcome, now)) {
                (Outcome::Done, Next::Nothing) => {
                    let source = sources[&job];
                    assert!(
                        self.made.insert((job.clone(), scheduled), taken).is_none(),
                        "{job} ran twice for {scheduled}"
                    );
                    self.retain(
                        source,
                        Candidate::new(
                            format!("{job} {scheduled}"),
                            source,
                            taken.timestamp_millis(),
                        ),
                    );
                }
                (Outcome::Hopeless, Next::GaveUp) => {
                    self.hopeless.insert((job, scheduled));
                }
                (Outcome::Failed, Next::Retry { .. }) => self.retries += 1,
                other => panic!("{job}: {other:?}"),
            }
            self.write();
        }
    }

    /// Applies the source's policy after each of its backups, as a daemon does.
    fn retain(&mut self, source: &'static str, new: Candidate<String>) {
        let now = self.clock.now();
        let kept = self.kept.entry(source).or_default();
        kept.push(new);
        let plan = plan(&policy(source), kept, Circumstances { now, zone: &Tz::UTC, free: None });
        let gone: BTreeSet<&String> = plan.removed.iter().map(|removed| &removed.id).collect();
        kept.retain(|candidate| !gone.contains(&candidate.id));
    }

    fn suffer(&mut self, trouble: Trouble) {
        let now = self.clock.now();
        match trouble {
            Trouble::Kill(down) => {
                self.clock.advance(down);
                self.gaps.push((now, now + down));
                self.begin_process();
            }
            Trouble::Forward(by) | Trouble::Back(by) => {
                let by = if matches!(trouble, Trouble::Back(_)) { -by } else { by };
                self.clock.advance(by);
                self.under_way.values_mut().for_each(|(ends, ..)| *ends += by);
                if by > TimeDelta::zero() {
                    self.gaps.push((now, now + by));
                }
            }
        }
    }

    fn run(&mut self) {
        let sources = jobs().into_iter().map(|(job, source, _)| (job.id, source)).collect();
        // Troubles days apart: what was missed has been made up for before the next one comes.
        let mut troubles: Vec<(DateTime<Utc>, Trouble)> = Vec::new();
        let mut at = self.start + seconds(&mut self.chance, 86_400, 2 * 86_400);
        while at < self.end - TimeDelta::days(7) {
            let chance = &mut self.chance;
            troubles.push((
                at,
                match chance.below(6) {
                    0 => Trouble::Forward(seconds(chance, 60, 2 * 86_400)),
                    1 => Trouble::Back(seconds(chance, 60, 10_000)),
                    2 => Trouble::Kill(seconds(chance, 60, 3 * 86_400)),
                    _ => Trouble::Kill(seconds(chance, 2, 7200)),
                },
            ));
            at += seconds(chance, 5 * 86_400, 9 * 86_400);
        }
        troubles.reverse();
        self.begin_process();
        while self.clock.now() < self.end {
            self.poll();
            let now = self.clock.now();
            let wakeup = self.agenda.next_wakeup().unwrap_or(self.end);
            let ends = self.under_way.values().map(|(ends, ..)| *ends).min().unwrap_or(self.end);
            let trouble = troubles.last().map_or(self.end, |(at, _)| *at);
            let next = wakeup.min(ends).min(trouble).min(self.end).max(now);
            self.clock.set(next);
            if trouble <= next
                && let Some((_, trouble)) = troubles.pop()
            {
                self.suffer(trouble);
            }
            self.end_runs(&sources);
        }
        assert!(troubles.is_empty() && self.superseded <= 10, "{}", self.superseded);
        // What is under way at midnight ends before the year is looked at.
        while !self.under_way.is_empty() {
            self.clock.advance(TimeDelta::seconds(1));
            self.end_runs(&sources);
        }
    }

    /// Which times of a job are to be backed up, by the calendar, what was missed and the job's policy for that.
    fn wanted(&self, job: &Job, times: &Times) -> BTreeSet<DateTime<Utc>> {
        let mut wanted = moments(times, job.zone, self.start, self.end);
        for (after, until) in &self.gaps {
            let passed: Vec<DateTime<Utc>> =
                wanted.iter().copied().filter(|moment| moment > after && moment <= until).collect();
            let Some(last) = passed.last().copied() else { continue };
            // A minute late is in time.
            let in_time = *until - last <= TimeDelta::seconds(60);
            for moment in passed {
                let stays = match job.missed {
                    MissedRuns::All => true,
                    MissedRuns::Once => moment == last,
                    MissedRuns::Skip => moment == last && in_time,
                };
                if !stays {
                    wanted.remove(&moment);
                }
            }
        }
        wanted
    }
}

/// What a policy keeps, in the plainest words: for each rule the newest of each period, of the last so many periods.
fn plainly_kept(policy: &Policy, mut taken: Vec<DateTime<Utc>>) -> BTreeSet<DateTime<Utc>> {
    taken.sort();
    taken.reverse();
    let mut kept: BTreeSet<DateTime<Utc>> = taken.first().copied().into_iter().collect();
    kept.extend(taken.iter().take(policy.keep_last.unwrap_or(0) as usize));
    let rules: [(Option<u32>, &str); 6] = [
        (policy.keep_minutely, "%Y%m%d%H%M"),
        (policy.keep_hourly, "%Y%m%d%H"),
        (policy.keep_daily, "%Y%m%d"),
        (policy.keep_weekly, "%G%V"),
        (policy.keep_monthly, "%Y%m"),
        (policy.keep_yearly, "%Y"),
    ];
    for (count, format) in rules {
        let mut newest: BTreeMap<String, DateTime<Utc>> = BTreeMap::new();
        for time in taken.iter().rev() {
            newest.insert(time.format(format).to_string(), *time);
        }
        kept.extend(newest.into_values().rev().take(count.unwrap_or(0) as usize));
    }
    if policy.keep_within.is_some() {
        let since = taken[0] - TimeDelta::days(10);
        kept.extend(taken.iter().filter(|time| **time > since));
    }
    let most = policy.max_count.unwrap_or(u32::MAX) as usize;
    kept.into_iter().rev().take(most).collect()
}

fn live_through(seed: u64) -> Year {
    let mut year = Year::new(seed);
    year.run();
    let mut runs = 0;
    for (job, _, times) in jobs() {
        let of_job = |set: &BTreeSet<(String, DateTime<Utc>)>| -> BTreeSet<DateTime<Utc>> {
            set.iter().filter(|(id, _)| *id == job.id).map(|(_, time)| *time).collect()
        };
        let made = of_job(&year.made.keys().cloned().collect());
        let excused: BTreeSet<_> =
            of_job(&year.hopeless).union(&of_job(&year.let_go)).copied().collect();
        let wanted: BTreeSet<_> = year.wanted(&job, &times).difference(&excused).copied().collect();
        let lost: Vec<_> = wanted.difference(&made).take(5).collect();
        let unasked: Vec<_> = made.difference(&wanted).take(5).collect();
        assert!(
            lost.is_empty() && unasked.is_empty(),
            "seed {seed}, {} {:?}: lost {lost:?}, unasked {unasked:?}",
            job.id,
            job.cron.text()
        );
        runs += made.len();
    }
    assert_eq!(runs, year.made.len());
    let sources: BTreeMap<String, &str> =
        jobs().into_iter().map(|(job, source, _)| (job.id, source)).collect();
    for source in SOURCES {
        let of_source = year.made.iter().filter(|((job, _), _)| sources[job] == source);
        let wanted = plainly_kept(&policy(source), of_source.map(|(_, taken)| *taken).collect());
        let left: BTreeSet<DateTime<Utc>> = year.kept[source]
            .iter()
            .map(|candidate| DateTime::from_timestamp_millis(candidate.created_at).unwrap())
            .collect();
        assert_eq!(left, wanted, "seed {seed}, {source}");
    }
    year
}

#[test]
fn a_year_ends_with_the_backups_that_calendar_and_policy_call_for() {
    let (mut runs, mut retries, mut gaps, mut let_go) = (0, 0, 0, 0);
    for seed in 0..2 {
        let year = live_through(seed);
        runs += year.made.len();
        retries += year.retries;
        gaps += year.gaps.len();
        let_go += year.let_go.len() + year.hopeless.len();
    }
    assert!(
        runs > 30_000 && retries > 10_000 && gaps > 50 && let_go > 100,
        "{runs} {retries} {gaps} {let_go}"
    );
}
