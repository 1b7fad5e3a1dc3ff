//! All jobs: which is due, which waits, which runs.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::chance::draw;
use crate::due::{begins, come};
use crate::{
    AgendaState, Event, Job, JobState, MissedRuns, Next, Outcome, Overlap, Run, RunId,
    ScheduleError,
};

/// A clock that went back by less is waited for, so that nothing runs twice (cron does the same); one that went back by
/// more was wrong before, and is believed now.
const BACK: TimeDelta = TimeDelta::hours(3);
/// A run during which the process ended this often is not begun again: it may be what ends it.
const MOST_INTERRUPTIONS: u32 = 5;

/// Jobs and their state. Given the time, it says what is due ([`Agenda::poll`]) and when to ask again
/// ([`Agenda::next_wakeup`]).
///
/// Keep [`Agenda::state`] on disk after every change and before a run that it began is: an agenda that is made from
/// it again goes on where it was, whenever the process ended.
#[derive(Debug, Clone)]
pub struct Agenda {
    jobs: BTreeMap<String, Job>,
    state: AgendaState,
    max_running: usize,
}

impl Agenda {
    /// An agenda without jobs, that goes on from a state; no more than `max_running` runs are under way at once.
    #[must_use]
    pub fn new(state: AgendaState, max_running: usize) -> Self {
        Self { jobs: BTreeMap::new(), state, max_running: max_running.max(1) }
    }

    /// What must outlive the process.
    #[must_use]
    pub const fn state(&self) -> &AgendaState {
        &self.state
    }

    /// Has no more runs than that under way at once, from here on. Those under way go on.
    pub fn set_max_running(&mut self, max_running: usize) {
        self.max_running = max_running.max(1);
    }

    /// Adds a job. If the state knows it from before, it goes on from there; else it begins now.
    ///
    /// # Errors
    /// Where there is one of that name.
    pub fn create(&mut self, job: Job, now: DateTime<Utc>) -> Result<(), ScheduleError> {
        if self.jobs.contains_key(&job.id) {
            return Err(ScheduleError::Exists { id: job.id });
        }
        self.state.jobs.entry(job.id.clone()).or_insert_with(|| JobState::new(now));
        self.jobs.insert(job.id.clone(), job);
        Ok(())
    }

    /// Changes a job. Its runs under way go on; if it gets other times, they begin now.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn update(&mut self, job: Job, now: DateTime<Utc>) -> Result<(), ScheduleError> {
        let old = self.jobs.get(&job.id).ok_or_else(|| unknown(&job.id))?;
        let other_times = old.cron != job.cron || old.zone != job.zone;
        if other_times && let Some(state) = self.state.jobs.get_mut(&job.id) {
            state.since = now;
        }
        self.jobs.insert(job.id.clone(), job);
        Ok(())
    }

    /// Removes a job. What runs of it goes on until it ends; what waits of it does not begin.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn delete(&mut self, id: &str) -> Result<Job, ScheduleError> {
        let job = self.jobs.remove(id).ok_or_else(|| unknown(id))?;
        let running = self.state.jobs.get_mut(id).is_some_and(|state| {
            state.waiting.clear();
            !state.running.is_empty()
        });
        if !running {
            self.state.jobs.remove(id);
        }
        Ok(job)
    }

    /// Forgets what the state knows of jobs that are not there: to be called when all are created.
    pub fn forget_unknown(&mut self) {
        let jobs = &self.jobs;
        self.state.jobs.retain(|id, _| jobs.contains_key(id));
    }

    /// A job and its state.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<(&Job, &JobState)> {
        Some((self.jobs.get(id)?, self.state.jobs.get(id)?))
    }

    /// All jobs and their states, by name.
    pub fn list(&self) -> impl Iterator<Item = (&Job, &JobState)> {
        self.jobs.values().filter_map(|job| Some((job, self.state.jobs.get(&job.id)?)))
    }

    fn job_state(&mut self, id: &str) -> Result<&mut JobState, ScheduleError> {
        let known = self.jobs.contains_key(id);
        self.state.jobs.get_mut(id).filter(|_| known).ok_or_else(|| unknown(id))
    }

    /// Keeps a job from running until it is resumed. What runs of it goes on.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn pause(&mut self, id: &str) -> Result<(), ScheduleError> {
        let state = self.job_state(id)?;
        state.paused = true;
        state.waiting.retain(|run| run.manual);
        Ok(())
    }

    /// Lets a job run again, from now on: times that passed meanwhile were not missed.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn resume(&mut self, id: &str, now: DateTime<Utc>) -> Result<(), ScheduleError> {
        let state = self.job_state(id)?;
        if std::mem::take(&mut state.paused) {
            state.since = now;
        }
        Ok(())
    }

    /// Has a job run as soon as may be, paused or not.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn run_now(&mut self, id: &str, now: DateTime<Utc>) -> Result<RunId, ScheduleError> {
        self.job_state(id)?;
        let run = Run { manual: true, ..self.state.new_run(now, now) };
        let name = run.run;
        self.job_state(id)?.waiting.push(run);
        Ok(name)
    }

    /// Takes up what the process before left running: to be called once, when all jobs are created. Each such run is
    /// begun again where missed runs are made up for.
    pub fn take_up(&mut self, now: DateTime<Utc>) -> Vec<Event> {
        let mut events = Vec::new();
        for (id, state) in &mut self.state.jobs {
            let job = self.jobs.get(id);
            for mut run in std::mem::take(&mut state.running) {
                run.interruptions = run.interruptions.saturating_add(1);
                let wanted = job.is_some_and(|job| job.missed != MissedRuns::Skip || run.manual);
                let again = wanted && run.interruptions <= MOST_INTERRUPTIONS;
                events.push(Event::Interrupted { job: id.clone(), run: run.clone(), again });
                if again {
                    state.waiting.insert(0, Run { at: now, late: true, ..run });
                }
            }
        }
        events
    }

    /// What is due at a time.
    pub fn poll(&mut self, now: DateTime<Utc>) -> Vec<Event> {
        let mut events = Vec::new();
        let ids: Vec<String> = self.jobs.keys().cloned().collect();
        for id in &ids {
            self.decide(id, now, &mut events);
        }
        self.begin(now, &mut events);
        events
    }

    /// Decides on the times of a job that have come.
    fn decide(&mut self, id: &str, now: DateTime<Utc>, events: &mut Vec<Event>) {
        let (Some(job), Some(mut state)) = (self.jobs.get(id), self.state.jobs.remove(id)) else {
            return;
        };
        believe_clock(job, &mut state, now, events);
        if state.paused {
            state.since = state.since.max(now);
        } else {
            let come = come(job, state.since, now);
            state.since = come.since;
            if let Some((count, first, last)) = come.missed {
                let made_up = come.runs.iter().filter(|(_, late)| *late).count();
                events.push(Event::Missed { job: id.to_owned(), count, first, last, made_up });
            }
            for (scheduled, late) in come.runs {
                self.enqueue(id, &mut state, (scheduled, late), now, events);
            }
        }
        self.state.jobs.insert(id.to_owned(), state);
    }

    fn enqueue(
        &mut self,
        id: &str,
        state: &mut JobState,
        (scheduled, late): (DateTime<Utc>, bool),
        now: DateTime<Utc>,
        events: &mut Vec<Event>,
    ) {
        let Some(job) = self.jobs.get(id) else { return };
        // A try that waits has had its time: the new run is better than it.
        let (old, kept) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition::<Vec<Run>, _>(|run| run.attempt > 1 && !run.late && !run.manual);
        state.waiting = kept;
        let superseded = |run| Event::Superseded { job: id.to_owned(), run };
        events.extend(old.into_iter().map(superseded));
        let queued = state.waiting.iter().any(|run| !run.late && !run.manual);
        let under_way = !state.running.is_empty();
        let wanted = late
            || match job.overlap {
                Overlap::Skip => !under_way && state.waiting.is_empty(),
                Overlap::Queue => !queued,
                Overlap::Replace => {
                    let cancelled = state.running.iter().map(|run| run.run);
                    events.extend(cancelled.map(|run| Event::Cancel { job: id.to_owned(), run }));
                    let waiting = std::mem::take(&mut state.waiting);
                    events.extend(waiting.into_iter().map(superseded));
                    true
                }
                Overlap::Allow => true,
            };
        if !wanted {
            events.push(Event::Skipped { job: id.to_owned(), scheduled });
            return;
        }
        state.waiting.push(Run { late, ..self.state.new_run(scheduled, now) });
    }

    /// Begins what waits, oldest first, as long as there is room.
    fn begin(&mut self, now: DateTime<Utc>, events: &mut Vec<Event>) {
        let jobs = &self.jobs;
        let mut waiting: Vec<(DateTime<Utc>, RunId, String)> = Vec::new();
        for (id, state) in self.state.jobs.iter().filter(|(id, _)| jobs.contains_key(*id)) {
            let ready = state.waiting.iter().filter(|run| run.at <= now);
            waiting.extend(ready.map(|run| (run.at, run.run, id.clone())));
        }
        waiting.sort();
        let mut running = self.state.running();
        for (_, wanted, id) in waiting {
            if running >= self.max_running {
                return;
            }
            let (Some(job), Some(state)) = (self.jobs.get(&id), self.state.jobs.get_mut(&id))
            else {
                continue;
            };
            if is_held(job, state) {
                continue;
            }
            let Some(place) = state.waiting.iter().position(|run| run.run == wanted) else {
                continue;
            };
            let run = Run { at: now, ..state.waiting.remove(place) };
            state.running.push(run.clone());
            running += 1;
            events.push(Event::Begin { job: id, run, timeout: job.timeout });
        }
    }

    /// Says how a run ended, and what follows. A run that is not known is none of ours any more.
    pub fn finished(&mut self, run: RunId, outcome: Outcome, now: DateTime<Utc>) -> Next {
        let holder = self.state.jobs.iter_mut().find_map(|(id, state)| {
            let place = state.running.iter().position(|running| running.run == run)?;
            Some((id.clone(), state, place))
        });
        let Some((id, state, place)) = holder else { return Next::Nothing };
        let ended = state.running.remove(place);
        let Some(job) = self.jobs.get(&id) else {
            if state.running.is_empty() {
                self.state.jobs.remove(&id);
            }
            return if outcome == Outcome::Done { Next::Nothing } else { Next::GaveUp };
        };
        match outcome {
            Outcome::Done | Outcome::Cancelled => Next::Nothing,
            Outcome::Failed if ended.attempt < job.retry.attempts && !state.paused => {
                let wait =
                    draw(job.retry.bound(ended.attempt), &id, ended.scheduled, ended.attempt);
                let at =
                    TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait));
                let at = at.unwrap_or(now);
                let attempt = ended.attempt + 1;
                state.waiting.push(Run { attempt, at, ..ended });
                Next::Retry { at, attempt }
            }
            Outcome::Failed | Outcome::Hopeless => Next::GaveUp,
        }
    }

    /// When to ask again, if nothing ends or changes before; `None`: not at all.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<DateTime<Utc>> {
        let full = self.state.running() >= self.max_running;
        let of_job = |(job, state): (&Job, &JobState)| {
            let next = || job.cron.next_after(state.since, job.zone);
            let due = if state.paused { None } else { next().map(|next| begins(job, next)) };
            let held = full || is_held(job, state);
            let waiting = state.waiting.iter().map(|run| run.at).min().filter(|_| !held);
            due.into_iter().chain(waiting).min()
        };
        self.list().filter_map(of_job).min()
    }

    /// Runs that are due and do not run yet.
    #[must_use]
    pub fn queued(&self, now: DateTime<Utc>) -> usize {
        let waiting = self.state.jobs.values().flat_map(|state| &state.waiting);
        waiting.filter(|run| run.at <= now).count()
    }
}

fn unknown(id: &str) -> ScheduleError {
    ScheduleError::Unknown { id: id.to_owned() }
}

/// Whether what waits of a job has to wait for what runs of it.
fn is_held(job: &Job, state: &JobState) -> bool {
    job.overlap != Overlap::Allow && !state.running.is_empty()
}

/// Puts right what a clock that went back left behind.
fn believe_clock(job: &Job, state: &mut JobState, now: DateTime<Utc>, events: &mut Vec<Event>) {
    let ahead = state.since - now;
    if ahead > BACK {
        state.since = now;
        let by = ahead.to_std().unwrap_or(Duration::ZERO);
        events.push(Event::ClockWentBack { job: job.id.clone(), by });
    }
    let longest = TimeDelta::from_std(job.retry.max_delay).unwrap_or(BACK);
    let latest = now.checked_add_signed(longest).unwrap_or(now);
    for run in state.waiting.iter_mut().filter(|run| run.at > latest) {
        run.at = latest;
    }
}
