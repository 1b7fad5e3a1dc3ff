//! The loop over the agenda: begins what is due, hears how it ended, keeps what must outlive the process, tells.
//!
//! What the agenda decided is on disk before a run that it began is: a process that is killed at any moment finds there what
//! it was at. Of a run that was under way it cannot know how far it came; it is begun again where missed runs are made up for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use mantis_schedule::{Agenda, AgendaState, Event, Next, Outcome, Run, RunId};
use mantis_stream::{CancellationToken, ProgressTracker};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};

use super::handle::{Answer, Command};
use super::records::{begin_to_count, labels, number, of_run, outcome_labels, record, show_end};
use super::roster::arrange;
use super::telemetry::name;
use super::under_way::UnderWay;
use super::{
    Entry, Handle, News, Order, Record, Report, Roster, RunOutcome, StateDir, Status, Timer,
    Worker, notices, systemd,
};
use crate::Error;
use crate::config::Config;
use crate::notify::Notifications;

/// The daemon's loop.
pub struct Supervisor {
    pub(super) config: Arc<Config>,
    pub(super) agenda: Agenda,
    kept: AgendaState,
    pub(super) roster: Roster,
    dir: StateDir,
    pub(super) worker: Arc<dyn Worker>,
    pub(super) timer: Arc<dyn Timer>,
    notifications: Arc<Notifications>,
    pub(super) status: Arc<Status>,
    pub(super) tasks: JoinSet<Report>,
    pub(super) under_way: HashMap<Id, UnderWay>,
    /// Jobs whose last run did not do all that it should.
    failing: BTreeSet<String>,
    commands: mpsc::Receiver<(Command, oneshot::Sender<Answer>)>,
    /// Of watches; with one end of our own, it never closes.
    pub(super) news: (mpsc::UnboundedSender<News>, mpsc::UnboundedReceiver<News>),
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor")
            .field("dir", &self.dir)
            .field("under_way", &self.under_way)
            .finish_non_exhaustive()
    }
}

impl Supervisor {
    /// A supervisor that goes on from what is in a state folder, which the caller has locked.
    ///
    /// # Errors
    /// Where what is there cannot be read.
    pub fn new(
        config: Arc<Config>,
        dir: StateDir,
        worker: Arc<dyn Worker>,
        timer: Arc<dyn Timer>,
        notifications: Arc<Notifications>,
    ) -> Result<(Self, Handle, Arc<Status>), Error> {
        let kept = dir.agenda()?;
        let last = dir.history().last().unwrap_or_else(|error| {
            tracing::error!(error = %error.chain(), "what was run before is not known");
            Default::default()
        });
        let mut agenda = Agenda::new(kept.clone(), 1);
        let roster = arrange(&mut agenda, &config, timer.now()).map_err(|error| Error::Other {
            doing: "put the agenda together".into(),
            source: error.into(),
            help: None,
        })?;
        for record in last.values().filter(|record| roster.get(&record.job()).is_some()) {
            show_end(record);
        }
        let failing = last.into_iter().filter(|(_, last)| last.outcome != RunOutcome::Done);
        let failing = failing.map(|(job, _)| job).collect();
        begin_to_count(&roster);
        metrics::gauge!(name::STATE_OK).set(1.0);
        let (sender, commands) = mpsc::channel(16);
        let status = Arc::new(Status::default());
        status.beat();
        let supervisor = Self {
            config,
            agenda,
            kept,
            roster,
            dir,
            worker,
            timer,
            notifications,
            status: Arc::clone(&status),
            tasks: JoinSet::new(),
            under_way: HashMap::new(),
            failing,
            commands,
            news: mpsc::unbounded_channel(),
        };
        Ok((supervisor, Handle::new(sender), status))
    }

    /// Runs until it is asked to stop. Runs under way then have the configuration's `stop_timeout` to end, are cancelled, and
    /// have a minute to clean up; they are begun again at the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        let now = self.timer.now();
        let taken_up = self.agenda.take_up(now);
        self.agenda.forget_unknown();
        for event in taken_up {
            self.handle(event, now).await;
        }
        self.watch();
        while !stop.is_cancelled() {
            let now = self.timer.now();
            let events = self.agenda.poll(now);
            self.keep().await;
            for event in events {
                self.handle(event, now).await;
            }
            self.show(now);
            let wakeup = self.timer.sleep_until(self.agenda.next_wakeup());
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended).await,
                Some((command, answer)) = self.commands.recv() => {
                    let answered = self.obey(command).await;
                    let _ = answer.send(answered);
                }
                Some(news) = self.news.1.recv() => {
                    self.hear(news).await;
                    // All that is there: of thousands of watches it comes at once, and the agenda is not looked through for each.
                    while let Ok(news) = self.news.1.try_recv() {
                        self.hear(news).await;
                    }
                }
                () = wakeup => {}
            }
        }
        self.stop().await;
    }

    /// Keeps what is due and what runs, if it changed.
    pub(super) async fn keep(&mut self) {
        if *self.agenda.state() == self.kept {
            return;
        }
        let (state, dir) = (self.agenda.state().clone(), self.dir.clone());
        self.kept = state.clone();
        let kept = tokio::task::spawn_blocking(move || dir.keep_agenda(&state)).await;
        let kept =
            kept.unwrap_or_else(|error| Err(Error::usage(error.to_string(), "restart the daemon")));
        metrics::gauge!(name::STATE_OK).set(if kept.is_ok() { 1.0 } else { 0.0 });
        self.status.keep_state(kept.is_ok());
        if let Err(error) = kept {
            // A backup that may be made twice is better than none.
            let help = error.help().unwrap_or_default();
            tracing::error!(error = %error.chain(), help, "what is due cannot be kept: after a restart runs may be missed or made twice");
            self.kept = AgendaState::default();
        }
    }

    async fn note(&self, records: Vec<Record>) {
        let history = self.dir.history();
        let noted = tokio::task::spawn_blocking(move || history.add(&records)).await;
        if let Ok(Err(error)) = noted {
            tracing::error!(error = %error.chain(), "the history is not complete");
        }
    }

    async fn handle(&mut self, event: Event, now: DateTime<Utc>) {
        match event {
            Event::Begin { job, run, timeout } => self.begin(&job, run, timeout),
            Event::Cancel { run, .. } => self.cancel(run),
            Event::Missed { job, count, first, last, made_up } => {
                let Some(entry) = self.roster.get(&job).cloned() else { return };
                tracing::warn!(%job, count, %first, %last, made_up, "runs were missed");
                metrics::counter!(name::MISSED, &labels(&entry)).increment(count as u64);
                self.notifications
                    .tell(&notices::of_missed(&entry, count, (first, last), made_up), now);
                let summary = format!("{count} missed, {made_up} made up for");
                let record = Record { summary, ..record(&entry, RunOutcome::Missed, first, now) };
                self.note(vec![record]).await;
            }
            Event::Skipped { job, scheduled } => {
                let Some(entry) = self.roster.get(&job).cloned() else { return };
                tracing::warn!(%job, %scheduled, "dropped, as the run before has not ended");
                metrics::counter!(name::SKIPPED, &labels(&entry)).increment(1);
                self.note(vec![record(&entry, RunOutcome::Skipped, scheduled, now)]).await;
            }
            Event::Superseded { job, run } => {
                tracing::info!(%job, scheduled = %run.scheduled, "its next try gives way to the next run");
                self.give_up(&job, &run, now).await;
            }
            Event::Interrupted { job, run, again } => {
                tracing::warn!(%job, scheduled = %run.scheduled, interruptions = run.interruptions, again, "the process ended while this ran");
                let Some(entry) = self.roster.get(&job).cloned() else { return };
                metrics::counter!(name::RUNS, &outcome_labels(&entry, RunOutcome::Interrupted))
                    .increment(1);
                if !again && run.interruptions > 1 {
                    self.notifications.tell(&notices::of_given_up(&entry, run.interruptions), now);
                }
                let record = Record { again, ..of_run(&entry, &run, RunOutcome::Interrupted, now) };
                self.note(vec![record]).await;
            }
            Event::ClockWentBack { job, by } => {
                tracing::warn!(%job, seconds = by.as_secs(), "the clock went back: what comes by the new time runs");
            }
            _ => {}
        }
    }

    /// A run that waited for its next try and has none any more has failed.
    async fn give_up(&mut self, job: &str, run: &Run, now: DateTime<Utc>) {
        let Some(entry) = self.roster.get(job).cloned() else { return };
        if run.attempt <= 1 {
            return;
        }
        let error = format!("{} tries failed, and its next run is due", run.attempt - 1);
        let report = Report { error: Some(error), ..Report::new(Outcome::Failed) };
        let record =
            Record { error: report.error.clone(), ..of_run(&entry, run, RunOutcome::Failed, now) };
        self.conclude(&entry, &report, &record, now).await;
    }

    fn begin(&mut self, job: &str, run: Run, timeout: Option<Duration>) {
        let Some(entry) = self.roster.get(job).cloned() else { return };
        self.start(entry, run, timeout, Arc::clone(&self.config));
    }

    /// Begins a try of a run, by a configuration.
    pub(super) fn start(
        &mut self,
        entry: Entry,
        run: Run,
        timeout: Option<Duration>,
        config: Arc<Config>,
    ) {
        let job = &entry.id;
        tracing::info!(%job, scheduled = %run.scheduled, attempt = run.attempt, "begun");
        if run.attempt > 1 {
            metrics::counter!(name::RETRIES, &labels(&entry)).increment(1);
        }
        let (cancel, progress) = (CancellationToken::new(), Arc::new(ProgressTracker::new()));
        let order = Order {
            entry: entry.clone(),
            run: run.clone(),
            timeout,
            config,
            cancel: cancel.clone(),
            progress: Arc::clone(&progress),
        };
        let task = self.tasks.spawn(self.worker.work(order));
        let began = Instant::now();
        self.under_way.insert(task.id(), UnderWay { entry, run, began, cancel, progress });
    }

    fn cancel(&self, run: RunId) {
        for under_way in self.under_way.values().filter(|under_way| under_way.run.run == run) {
            tracing::info!(job = %under_way.entry.id, "cancelled for the next run");
            under_way.cancel.cancel();
        }
    }

    pub(super) async fn ended(&mut self, ended: Result<(Id, Report), JoinError>) {
        let (id, report) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let report =
                    Report { error: Some(error.to_string()), ..Report::new(Outcome::Failed) };
                (error.id(), report)
            }
        };
        let Some(under_way) = self.under_way.remove(&id) else { return };
        let UnderWay { entry, run, began, .. } = under_way;
        let now = self.timer.now();
        let next = self.agenda.finished(run.run, report.outcome, now);
        self.keep().await;
        let outcome = report.run_outcome();
        let record = Record {
            scheduled: run.scheduled,
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            attempt: run.attempt,
            run: number(&run),
            manual: run.manual,
            late: run.late,
            again: matches!(next, Next::Retry { .. }),
            ..report.record(&entry, run.at)
        };
        metrics::counter!(name::RUNS, &outcome_labels(&entry, outcome)).increment(1);
        metrics::histogram!(name::RUN_SECONDS, &labels(&entry))
            .record(began.elapsed().as_secs_f64());
        let job = &entry.id;
        match (&report.error, next) {
            (Some(error), Next::Retry { at, attempt }) => {
                tracing::warn!(%job, %error, attempt, %at, "failed, and is tried again");
            }
            (Some(error), _) => tracing::error!(%job, %error, "failed"),
            (None, _) => tracing::info!(%job, outcome = outcome.name(), "{}", report.summary),
        }
        for problem in &report.problems {
            tracing::error!(%job, problem, "done in part");
        }
        self.conclude(&entry, &report, &record, now).await;
    }

    /// Notes a run's end, and tells those who want to know.
    pub(super) async fn conclude(
        &mut self,
        entry: &Entry,
        report: &Report,
        record: &Record,
        now: DateTime<Utc>,
    ) {
        for notice in notices::of_full(report) {
            self.notifications.tell(&notice, now);
        }
        if record.decides() {
            // Of what somebody asked for once there is no next run that could put it right in the metrics.
            if self.roster.get(&entry.id).is_some() {
                show_end(record);
            }
            let was_failing = if record.outcome == RunOutcome::Done {
                self.failing.remove(&entry.id)
            } else {
                !self.failing.insert(entry.id.clone())
            };
            for notice in notices::of_end(entry, report, was_failing) {
                self.notifications.tell(&notice, now);
            }
        }
        self.note(vec![record.clone()]).await;
    }

    async fn obey(&mut self, command: Command) -> Answer {
        let now = self.timer.now();
        let name = match command {
            Command::Status => return Ok(self.describe()),
            Command::Quiet(databases) => return Ok(Value::Bool(self.is_quiet(&databases))),
            Command::Reload(config) => {
                self.roster =
                    arrange(&mut self.agenda, &config, now).map_err(|error| error.to_string())?;
                begin_to_count(&self.roster);
                self.notifications.replace(&config.notifications);
                self.config = config;
                self.watch();
                return Ok(json!({ "jobs": self.roster.iter().count() }));
            }
            Command::Cancel(name) => return self.cancel_by_hand(&name),
            #[cfg(feature = "dashboard")]
            Command::Once(action, repository) => return self.once(action, &repository),
            Command::Pause(ref name) | Command::Resume(ref name) | Command::RunNow(ref name) => {
                name
            }
        };
        let ids = self.roster.ids_of(name);
        if ids.is_empty() {
            return Err(self.why_there_is_none(name));
        }
        for id in &ids {
            let done = match &command {
                Command::Pause(_) => self.agenda.pause(id),
                Command::Resume(_) => self.agenda.resume(id, now),
                _ => self.agenda.run_now(id, now).map(|_| ()),
            };
            done.map_err(|error| error.to_string())?;
        }
        self.watch();
        self.keep().await;
        Ok(json!({ "jobs": ids }))
    }

    /// Cancels what runs of a schedule, or of one of its jobs; it is not tried again.
    fn cancel_by_hand(&self, name: &str) -> Answer {
        let of_it =
            |under_way: &&UnderWay| under_way.entry.id == name || under_way.entry.schedule == name;
        let mut ids = Vec::new();
        for under_way in self.under_way.values().filter(of_it) {
            tracing::warn!(job = %under_way.entry.id, "cancelled by hand");
            under_way.cancel.cancel();
            ids.push(&under_way.entry.id);
        }
        if ids.is_empty() {
            return Err(format!("nothing of {name:?} runs"));
        }
        Ok(json!({ "jobs": ids }))
    }

    /// Shows what is due, and that the loop turns.
    fn show(&self, now: DateTime<Utc>) {
        self.status.beat();
        systemd::beat();
        metrics::gauge!(name::RUNNING).set(self.under_way.len() as f64);
        metrics::gauge!(name::QUEUED).set(self.agenda.queued(now) as f64);
        for (job, state) in self.agenda.list() {
            let Some(entry) = self.roster.get(&job.id) else { continue };
            let next = if state.paused { None } else { job.cron.next_after(state.since, job.zone) };
            let next = next.map_or(f64::NAN, |next| next.timestamp() as f64);
            metrics::gauge!(name::NEXT_RUN, &labels(entry)).set(next);
            metrics::gauge!(name::PAUSED, &labels(entry)).set(if state.paused { 1.0 } else { 0.0 });
        }
    }
}
