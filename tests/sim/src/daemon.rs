//! A daemon: what its schedules call for is backed up, what its policy lets go is forgotten and freed. Killed, it goes on from what it
//! wrote.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use mantis_repo::{BackupId, PruneOptions, Repository};
use mantis_retention::{Candidate, Circumstances, Policy, plan};
use mantis_schedule::{
    Agenda, AgendaState, Event, Job as Schedule, MissedRuns, Next, Outcome, Run, RunId,
};
use mantis_sink::Chance;

use crate::backup::{Job, back_up};
use crate::client::{Failure, Shared};
use crate::clock::{Clock, DAY};
use crate::database::{Databases, NAMES};
use crate::store::Gate;

/// How often it asks what is due before it is stopped.
const POLLS: usize = 3;
/// More than may ever wait.
const MOST_POLLS: usize = 300;

/// The machine that it runs on: what is on its disk, and what is known of the runs that there were.
#[derive(Debug, Default)]
pub(crate) struct Host {
    /// The agenda's state; none before the first.
    written: Option<String>,
    /// One runs.
    pub(crate) alive: bool,
    /// Runs that began, and did not end.
    open: BTreeSet<RunId>,
    /// Runs that are written down as done.
    done: BTreeSet<RunId>,
    /// Which times they were for, by the job.
    times: BTreeSet<(String, DateTime<Utc>)>,
    /// Jobs that saw the clock go back by hours: what ran for a time may run for it again.
    went_back: BTreeSet<String>,
}

pub(crate) type SharedHost = Arc<Mutex<Host>>;

impl Host {
    /// How many runs were done.
    pub(crate) fn runs(&self) -> u64 {
        self.done.len() as u64
    }

    fn begins(&mut self, job: &str, run: &Run) {
        self.open.insert(run.run);
        assert!(!self.done.contains(&run.run), "{job}: {run:?} was done, and begins again");
        let again = self.times.contains(&(job.to_owned(), run.scheduled));
        assert!(!again || self.went_back.contains(job), "{job} was done for {}", run.scheduled);
    }

    /// What the agenda says of runs and clocks, before it is written.
    fn hear(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::ClockWentBack { job, .. } => {
                    self.went_back.insert(job.clone());
                }
                Event::Interrupted { run, again: false, .. } | Event::Superseded { run, .. } => {
                    self.open.remove(&run.run);
                }
                _ => {}
            }
        }
    }

    /// A run that began is done, given up and told, or it is going to be tried again.
    fn goes_on(&self, agenda: &Agenda) {
        let waits = |run: &RunId| {
            agenda.list().any(|(_, state)| state.waiting.iter().any(|it| it.run == *run))
        };
        let lost: Vec<&RunId> = self.open.iter().filter(|run| !waits(run)).collect();
        assert!(lost.is_empty(), "{lost:?} began, and nobody knows of them: {:?}", agenda.state());
    }
}

/// A daemon's process.
pub(crate) struct Daemon {
    pub(crate) host: SharedHost,
    /// What its writes to the disk wait for, as the calls to the store do.
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) databases: Databases,
    /// Whether it frees what it forgot.
    pub(crate) frees: bool,
    /// Nothing disturbs it: it goes on until nothing is due, and nothing may fail.
    pub(crate) quiet: bool,
}

fn schedules() -> [Schedule; 2] {
    let often = Schedule::new(NAMES[0], "*/10 * * * *".parse().unwrap(), Tz::UTC);
    let seldom = Schedule::new(NAMES[1], "30 */12 * * *".parse().unwrap(), Tz::Europe__Berlin);
    [often, Schedule { missed: MissedRuns::All, ..seldom }]
}

impl Daemon {
    /// Writes down what must outlive it.
    async fn write(&self, agenda: &Agenda) -> Result<(), Failure> {
        let text = serde_json::to_string(agenda.state())?;
        let write = async {
            self.host.lock().unwrap().written = Some(text);
            Ok(())
        };
        Ok(self.gate.turn("write", "the daemon's state", write).await?)
    }
}

/// Lives until it is stopped.
pub(crate) async fn run(
    repo: &Repository,
    mut daemon: Daemon,
    model: &Shared,
) -> Result<(), Failure> {
    let written = daemon.host.lock().unwrap().written.clone();
    let state = match written {
        Some(written) => serde_json::from_str(&written)?,
        None => AgendaState::default(),
    };
    let mut agenda = Agenda::new(state, 2);
    for schedule in schedules() {
        agenda.create(schedule, daemon.clock.utc())?;
    }
    agenda.forget_unknown();
    let events = agenda.take_up(daemon.clock.utc());
    daemon.host.lock().unwrap().hear(&events);
    daemon.host.lock().unwrap().goes_on(&agenda);
    daemon.write(&agenda).await?;
    for _ in 0..if daemon.quiet { MOST_POLLS } else { POLLS } {
        let events = agenda.poll(daemon.clock.utc());
        daemon.host.lock().unwrap().hear(&events);
        daemon.write(&agenda).await?;
        let mut begun = false;
        for event in events {
            if let Event::Begin { job, run, .. } = event {
                begun = true;
                one_run(repo, &mut daemon, &mut agenda, (&job, run), model).await?;
            }
        }
        if !begun {
            break;
        }
    }
    if daemon.quiet {
        let now = daemon.clock.utc();
        assert_eq!(agenda.queued(now), 0, "{:?}", agenda.state());
        assert!(agenda.next_wakeup() > Some(now), "{:?}", agenda.state());
    }
    Ok(())
}

async fn one_run(
    repo: &Repository,
    daemon: &mut Daemon,
    agenda: &mut Agenda,
    (job, run): (&str, Run),
    model: &Shared,
) -> Result<(), Failure> {
    daemon.host.lock().unwrap().begins(job, &run);
    let source = NAMES.iter().position(|name| *name == job).unwrap();
    let made = Box::pin(back_up_and_let_go(repo, daemon, source, model)).await;
    assert!(made.is_ok() || !daemon.quiet, "nothing is in its way: {made:?}");
    let outcome = if made.is_ok() { Outcome::Done } else { Outcome::Failed };
    let next = agenda.finished(run.run, outcome, daemon.clock.utc());
    if !matches!(next, Next::Retry { .. }) {
        daemon.host.lock().unwrap().open.remove(&run.run);
    }
    daemon.write(agenda).await?;
    if outcome == Outcome::Done {
        let mut host = daemon.host.lock().unwrap();
        host.done.insert(run.run);
        host.times.insert((job.to_owned(), run.scheduled));
    }
    Ok(())
}

async fn back_up_and_let_go(
    repo: &Repository,
    daemon: &mut Daemon,
    source: usize,
    model: &Shared,
) -> Result<(), Failure> {
    let clock = daemon.clock.clone();
    let chance = Chance::new(daemon.chance.next());
    let job = Job { databases: Arc::clone(&daemon.databases), source, clock, chance };
    back_up(repo, job, model).await?;
    let catalogue = repo.catalogue().await?;
    let of_source = catalogue.backups.iter().filter(|it| it.meta.source == NAMES[source]);
    let candidates: Vec<Candidate<BackupId>> =
        of_source.map(|it| Candidate::new(it.id, NAMES[source], it.meta.created_at.0)).collect();
    let policy = Policy { keep_last: Some(3), keep_daily: Some(2), ..Policy::default() };
    let now = daemon.clock.utc();
    let plan = plan(&policy, &candidates, Circumstances { now, zone: &Utc, free: None });
    let past = candidates.iter().filter(|it| it.created_at <= now.timestamp_millis());
    let newest = past.map(|it| it.created_at).max();
    let removed: Vec<BackupId> = plan.removed.iter().map(|removed| removed.id).collect();
    let mut newest = candidates.iter().filter(|it| Some(it.created_at) == newest).peekable();
    let stays = newest.peek().is_none() || newest.any(|it| !removed.contains(&it.id));
    assert!(stays, "the newest backup is let go: {plan:?}");
    for id in &removed {
        model.lock().unwrap().doom(*id);
    }
    repo.forget(&catalogue, &removed, daemon.chance.entropy(), daemon.clock.now()).await?;
    if daemon.frees {
        let grace_ms = DAY.unsigned_abs();
        let options = PruneOptions { grace_ms, dry_run: false, exclusive: false };
        repo.prune(options, daemon.chance.entropy(), daemon.clock.now()).await?;
    }
    Ok(())
}
