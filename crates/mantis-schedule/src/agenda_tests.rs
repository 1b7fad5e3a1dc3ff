//! What an agenda decides.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use crate::*;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(&format!("2026-11-{text}Z")).unwrap().to_utc()
}

fn hourly(id: &str) -> Job {
    Job { jitter: Duration::ZERO, ..Job::new(id, "@hourly".parse().unwrap(), Tz::UTC) }
}

fn agenda(jobs: impl IntoIterator<Item = Job>) -> Agenda {
    let mut agenda = Agenda::new(AgendaState::default(), 2);
    jobs.into_iter().for_each(|job| agenda.create(job, at("25T00:30:00")).unwrap());
    agenda
}

fn begun(events: &[Event]) -> Vec<Run> {
    let run = |event: &Event| match event {
        Event::Begin { run, .. } => Some(run.clone()),
        _ => None,
    };
    events.iter().filter_map(run).collect()
}

/// The process ends, and another goes on from what was written.
fn restart(
    old: &Agenda,
    jobs: impl IntoIterator<Item = Job>,
    now: DateTime<Utc>,
) -> (Agenda, Vec<Event>) {
    let written = serde_json::to_string(old.state()).unwrap();
    let mut agenda = Agenda::new(serde_json::from_str(&written).unwrap(), 2);
    jobs.into_iter().for_each(|job| agenda.create(job, now).unwrap());
    agenda.forget_unknown();
    let events = agenda.take_up(now);
    (agenda, events)
}

#[test]
fn a_run_begins_once_at_its_time() {
    let mut agenda = agenda([hourly("a")]);
    assert_eq!(agenda.poll(at("25T00:59:59")), []);
    assert_eq!(agenda.next_wakeup(), Some(at("25T01:00:00")));
    let runs = begun(&agenda.poll(at("25T01:00:00")));
    assert_eq!(runs[0].scheduled, at("25T01:00:00"));
    assert_eq!(agenda.poll(at("25T01:00:30")), []);
    assert_eq!(agenda.finished(runs[0].run, Outcome::Done, at("25T01:01:00")), Next::Nothing);
    assert_eq!(agenda.poll(at("25T01:59:00")), []);
}

#[test]
fn missed_runs_are_dropped_made_up_once_or_all() {
    for (missed, made_up) in [(MissedRuns::Skip, 0), (MissedRuns::Once, 1), (MissedRuns::All, 5)] {
        let job = Job { missed, overlap: Overlap::Queue, ..hourly("a") };
        let (mut agenda, _) = restart(&agenda([job.clone()]), [job], at("25T05:30:00"));
        let mut now = at("25T05:30:00");
        let events = agenda.poll(now);
        assert!(
            matches!(&events[0], Event::Missed { count: 5, made_up: found, .. } if *found == made_up),
            "{events:?}"
        );
        let (mut runs, mut events) = (Vec::new(), events);
        while let Some(run) = begun(&events).pop() {
            assert!(run.late);
            runs.push(run.scheduled);
            now += TimeDelta::seconds(10);
            agenda.finished(run.run, Outcome::Done, now);
            events = agenda.poll(now);
        }
        assert_eq!(runs.len(), made_up);
        assert_eq!(runs.last().copied(), (made_up > 0).then(|| at("25T05:00:00")));
    }
}

#[test]
fn a_run_in_time_stands_for_those_missed_before() {
    let mut agenda = agenda([hourly("a")]);
    let events = agenda.poll(at("25T05:00:10"));
    assert!(matches!(&events[0], Event::Missed { count: 4, made_up: 0, .. }), "{events:?}");
    assert_eq!(begun(&events).len(), 1);
}

#[test]
fn a_run_that_is_not_over_keeps_the_next_from_beginning_as_told() {
    for overlap in [Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow] {
        let mut agenda = agenda([Job { overlap, ..hourly("a") }]);
        let first = begun(&agenda.poll(at("25T01:00:00"))).remove(0);
        let events = agenda.poll(at("25T02:00:00"));
        let again = agenda.poll(at("25T03:00:00"));
        match overlap {
            Overlap::Skip => assert!(matches!(events[..], [Event::Skipped { .. }])),
            Overlap::Queue => {
                assert_eq!(events, []);
                assert!(matches!(again[..], [Event::Skipped { .. }]), "one waits: {again:?}");
            }
            Overlap::Replace => {
                assert_eq!(events, [Event::Cancel { job: "a".into(), run: first.run }]);
            }
            Overlap::Allow => assert_eq!(begun(&events).len(), 1),
        }
        agenda.finished(first.run, Outcome::Cancelled, at("25T03:01:00"));
        let runs = begun(&agenda.poll(at("25T03:01:00")));
        let wanted = match overlap {
            Overlap::Skip => None,
            Overlap::Queue => Some(at("25T02:00:00")),
            // Two at once was the bound; the third waited.
            Overlap::Replace | Overlap::Allow => Some(at("25T03:00:00")),
        };
        assert_eq!(runs.first().map(|run| run.scheduled), wanted, "{overlap:?}");
    }
}

#[test]
fn no_more_than_so_many_run_at_once_and_the_others_wait_their_turn() {
    let mut agenda = agenda(["a", "b", "c", "d"].map(hourly));
    let first = begun(&agenda.poll(at("25T01:00:00")));
    assert_eq!((first.len(), agenda.queued(at("25T01:00:00"))), (2, 2));
    assert_eq!(agenda.next_wakeup(), Some(at("25T02:00:00")), "what waits is begun when one ends");
    agenda.finished(first[0].run, Outcome::Done, at("25T01:05:00"));
    assert_eq!(begun(&agenda.poll(at("25T01:05:00"))).len(), 1);
}

#[test]
fn what_fails_is_tried_again_later_and_later_then_given_up() {
    let retry =
        Retry { attempts: 3, delay: Duration::from_secs(60), max_delay: Duration::from_secs(90) };
    let mut agenda = agenda([Job { retry, ..hourly("a") }]);
    let mut now = at("25T01:00:00");
    for (attempt, bound) in [(1, 60), (2, 90)] {
        let run = begun(&agenda.poll(now)).remove(0);
        assert_eq!(run.attempt, attempt);
        let Next::Retry { at, attempt: next } = agenda.finished(run.run, Outcome::Failed, now)
        else {
            panic!()
        };
        assert!(at >= now && at <= now + TimeDelta::seconds(bound));
        assert_eq!((next, agenda.next_wakeup()), (attempt + 1, Some(at)));
        now = at;
    }
    let run = begun(&agenda.poll(now)).remove(0);
    assert_eq!(agenda.finished(run.run, Outcome::Failed, now), Next::GaveUp);
    assert_eq!(agenda.poll(now), []);
    let run = begun(&agenda.poll(at("25T02:00:00"))).remove(0);
    assert_eq!((run.attempt, agenda.finished(run.run, Outcome::Hopeless, now)), (1, Next::GaveUp));
}

#[test]
fn a_try_that_waits_gives_way_to_the_next_run() {
    let slow = Duration::from_secs(500 * 3600);
    let retry = Retry { attempts: 9, delay: slow, max_delay: slow };
    let mut agenda = agenda([Job { retry, ..hourly("a") }]);
    let run = begun(&agenda.poll(at("25T01:00:00"))).remove(0);
    agenda.finished(run.run, Outcome::Failed, at("25T01:00:00"));
    let events = agenda.poll(at("25T02:00:00"));
    assert!(matches!(events[0], Event::Superseded { .. }), "{events:?}");
    assert_eq!(begun(&events)[0].attempt, 1);
}

#[test]
fn paused_jobs_do_not_run_and_miss_nothing() {
    let mut agenda = agenda([hourly("a")]);
    agenda.pause("a").unwrap();
    assert_eq!((agenda.poll(at("25T03:00:00")), agenda.next_wakeup()), (vec![], None));
    agenda.run_now("a", at("25T03:10:00")).unwrap();
    assert!(begun(&agenda.poll(at("25T03:10:00")))[0].manual);
    let (mut agenda, _) = restart(&agenda, [hourly("a")], at("25T05:00:00"));
    assert_eq!(
        begun(&agenda.poll(at("25T05:00:00"))).len(),
        1,
        "what was asked for and interrupted runs again"
    );
    agenda.resume("a", at("25T05:30:00")).unwrap();
    assert_eq!(agenda.poll(at("25T05:30:00")), []);
    assert_eq!(agenda.next_wakeup(), Some(at("25T06:00:00")));
}

#[test]
fn jobs_change_while_others_run() {
    let mut agenda = agenda([hourly("a")]);
    assert!(matches!(
        agenda.create(hourly("a"), at("25T00:30:00")),
        Err(ScheduleError::Exists { .. })
    ));
    let run = begun(&agenda.poll(at("25T01:00:00"))).remove(0);
    let daily = Job { cron: "@daily".parse().unwrap(), ..hourly("a") };
    agenda.update(daily.clone(), at("25T01:00:10")).unwrap();
    assert_eq!(agenda.get("a").map(|(job, _)| job), Some(&daily));
    assert_eq!(agenda.next_wakeup(), Some(at("26T00:00:00")));
    agenda.delete("a").unwrap();
    assert_eq!((agenda.list().count(), agenda.next_wakeup()), (0, None));
    assert_eq!(agenda.state().jobs.len(), 1, "it still runs");
    agenda.finished(run.run, Outcome::Done, at("25T01:01:00"));
    assert_eq!(agenda.state().jobs.len(), 0);
    assert!(agenda.run_now("a", at("25T01:01:00")).is_err() && agenda.delete("a").is_err());
}

#[test]
fn a_run_that_ends_the_process_each_time_is_let_go() {
    let mut current = agenda([hourly("a")]);
    let mut times = 0;
    while !begun(&current.poll(at("25T01:00:00"))).is_empty() {
        times += 1;
        current = restart(&current, [hourly("a")], at("25T01:00:00")).0;
    }
    assert_eq!(times, 6);
    let skip = Job { missed: MissedRuns::Skip, ..hourly("a") };
    let mut current = agenda([skip.clone()]);
    current.poll(at("25T01:00:00"));
    let (mut current, events) = restart(&current, [skip], at("25T01:00:05"));
    assert!(matches!(events[..], [Event::Interrupted { again: false, .. }]));
    assert_eq!(current.poll(at("25T01:00:05")), []);
}

#[test]
fn clocks_that_jump() {
    let mut agenda = agenda([hourly("a")]);
    let run = begun(&agenda.poll(at("25T05:00:00"))).remove(0);
    agenda.finished(run.run, Outcome::Done, at("25T05:00:01"));
    // Back by two hours: nothing runs twice.
    assert_eq!(agenda.poll(at("25T03:00:00")), []);
    assert_eq!(agenda.poll(at("25T05:00:00")), []);
    let run = begun(&agenda.poll(at("25T06:00:00"))).remove(0);
    agenda.finished(run.run, Outcome::Done, at("25T06:00:01"));
    // Back by days: the clock was wrong, and the schedule must not stand still until it is there again.
    let events = agenda.poll(at("20T06:30:00"));
    assert!(matches!(events[..], [Event::ClockWentBack { .. }]), "{events:?}");
    assert_eq!(begun(&agenda.poll(at("20T07:00:00"))).len(), 1);
}

#[test]
fn a_year_of_minutes_missed_is_decided_at_once() {
    let job = Job { cron: "* * * * *".parse().unwrap(), missed: MissedRuns::All, ..hourly("a") };
    let mut agenda = agenda([job]);
    let now = at("25T00:30:00") + TimeDelta::days(2000);
    let events = agenda.poll(now);
    assert!(
        matches!(events[0], Event::Missed { made_up: MissedRuns::MOST, .. }),
        "{:?}",
        events[0]
    );
    assert!(agenda.next_wakeup().unwrap() > now);
}

proptest! {
    /// Whatever happens, no time is run for twice, none is lost without a word, and no more run at once than may.
    #[test]
    fn every_time_is_run_for_or_told(
        steps in prop::collection::vec((0u8..10, 1i64..200), 1..120),
        missed in prop_oneof![Just(MissedRuns::Once), Just(MissedRuns::All), Just(MissedRuns::Skip)],
        overlap in prop_oneof![Just(Overlap::Skip), Just(Overlap::Queue), Just(Overlap::Replace), Just(Overlap::Allow)],
        jitter in prop_oneof![Just(0u64), Just(600)],
    ) {
        let job = |id: &str| Job { missed, overlap, jitter: Duration::from_secs(jitter), ..hourly(id) };
        let jobs = || ["a", "b", "c"].map(job);
        let start = at("25T00:30:00");
        let mut agenda = agenda(jobs());
        let mut now = start;
        let mut begins: std::collections::BTreeMap<(String, DateTime<Utc>), u32> = Default::default();
        let mut told = 0;
        for (what, minutes) in steps {
            match what {
                0 => (agenda, _) = restart(&agenda, jobs(), now),
                1..5 => now += TimeDelta::minutes(minutes),
                _ => {
                    let running: Vec<RunId> = agenda.list().flat_map(|(_, state)| state.running.iter().map(|run| run.run)).collect();
                    if let Some(run) = running.get(usize::from(what) % running.len().max(1)) {
                        agenda.finished(*run, Outcome::Done, now);
                    }
                }
            }
            for event in agenda.poll(now) {
                match event {
                    Event::Begin { job, run, .. } => {
                        prop_assert!(run.scheduled <= now && run.scheduled > start);
                        if run.interruptions == 0 { *begins.entry((job, run.scheduled)).or_default() += 1; }
                    }
                    Event::Missed { count, made_up, .. } => told += count - made_up.min(count),
                    Event::Skipped { .. } | Event::Superseded { .. } => told += 1,
                    _ => {}
                }
            }
            let running = agenda.list().map(|(_, state)| state.running.len()).sum::<usize>();
            prop_assert!(running <= 2);
            prop_assert!(agenda.next_wakeup().is_some());
        }
        prop_assert!(begins.values().all(|times| *times == 1));
        for (job, state) in agenda.list() {
            let waiting = state.waiting.iter().filter(|run| run.interruptions == 0).count();
            let begun = begins.keys().filter(|(id, _)| *id == job.id).count();
            let times = job.cron.after(start, Tz::UTC).take_while(|time| *time <= state.since).count();
            prop_assert!(begun + waiting + told >= times, "{begun} begun, {waiting} wait, {told} told, {times} in all");
        }
    }
}

#[test]
fn what_is_told_of_jobs_that_are_not_there_or_not_running_changes_nothing() {
    let mut agenda = agenda([hourly("a"), hourly("b")]);
    let now = at("25T00:30:00");
    assert!(agenda.update(hourly("c"), now).is_err() && agenda.pause("c").is_err());
    assert!(agenda.resume("c", now).is_err());
    // Nothing of it runs: it is gone at once.
    agenda.delete("b").unwrap();
    assert_eq!(agenda.state().jobs.len(), 1);
    // Resumed though it was not paused, and changed in nothing that matters to its times: they stay.
    let before = agenda.next_wakeup();
    agenda.resume("a", at("25T00:59:00")).unwrap();
    let slower = Job { timeout: Some(Duration::from_secs(9)), ..hourly("a") };
    agenda.update(slower, at("25T00:59:00")).unwrap();
    assert_eq!(agenda.next_wakeup(), before);
    let run = begun(&agenda.poll(at("25T01:00:00"))).remove(0);
    assert_eq!(agenda.finished(RunId(run.run.0 + 100), Outcome::Failed, now), Next::Nothing);
    let berlin = Job { zone: chrono_tz::Europe::Berlin, ..hourly("a") };
    agenda.update(berlin, at("25T01:00:30")).unwrap();
    assert_eq!(agenda.finished(run.run, Outcome::Hopeless, now), Next::GaveUp);
}

#[test]
fn runs_of_a_deleted_job_end_one_after_the_other() {
    let job = Job { overlap: Overlap::Allow, ..hourly("a") };
    let mut agenda = agenda([job]);
    let first = begun(&agenda.poll(at("25T01:00:00"))).remove(0);
    let second = begun(&agenda.poll(at("25T02:00:00"))).remove(0);
    agenda.delete("a").unwrap();
    let now = at("25T02:30:00");
    assert_eq!(agenda.finished(first.run, Outcome::Done, now), Next::Nothing);
    assert_eq!(agenda.state().jobs.len(), 1);
    assert_eq!(agenda.finished(second.run, Outcome::Failed, now), Next::GaveUp);
    assert_eq!(agenda.state().jobs.len(), 0);
    agenda.forget_unknown();
}

#[test]
fn a_paused_job_is_not_tried_again() {
    let retry = Retry { attempts: 5, ..Retry::default() };
    let mut agenda = agenda([Job { retry, ..hourly("a") }]);
    let run = begun(&agenda.poll(at("25T01:00:00"))).remove(0);
    agenda.pause("a").unwrap();
    assert_eq!(agenda.finished(run.run, Outcome::Failed, at("25T01:01:00")), Next::GaveUp);
    // By hand it runs all the same.
    agenda.run_now("a", at("25T01:02:00")).unwrap();
    assert_eq!(begun(&agenda.poll(at("25T01:02:00"))).len(), 1);
}
