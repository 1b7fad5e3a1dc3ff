//! `mantis schedule`

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use mantis_retention::calendar_time;
use mantis_schedule::{Outcome, Run, RunId};
use serde_json::{Value, json};

use super::schedule_list::list;
use super::schedule_remote;
use crate::cli::args::{DaemonArgs, ScheduleCommand};
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::table;
use crate::cli::remote::Remote;
use crate::config::{Config, Found, Search, find, load};
use crate::daemon::control::{Request, ask};
use crate::daemon::{
    Entry, Freshness, History, Jobs, Order, Record, Roster, RunOutcome, StateDir, Worker,
};
use crate::when::format_seconds;
use crate::{Error, clock, local_zone};

pub(crate) async fn run(
    context: &Context,
    daemon: &DaemonArgs,
    what: ScheduleCommand,
) -> Result<Ending, Error> {
    if let Some(remote) = Remote::of(daemon)? {
        return schedule_remote::run(context, &remote, what).await;
    }
    match what {
        ScheduleCommand::Next { expression, tz, from, count } => {
            let zone = tz.unwrap_or_else(local_zone);
            let from = calendar_time(from.unwrap_or_else(clock::now).0);
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            // In the zone that was asked for: the offset shows which of two equal times of day is meant.
            let times: Vec<String> = expression
                .after(from, zone)
                .take(count)
                .map(|time| format_seconds(&time.with_timezone(&zone)))
                .collect();
            context.result(&json!(times))?;
            for time in &times {
                context.say(time)?;
            }
            if times.len() < count {
                context.say("then no more")?;
            }
            Ok(Ending::Done)
        }
        ScheduleCommand::List => list(context, &with_databases(configured(context)?)).await,
        ScheduleCommand::Run { name, detach: false } => {
            run_now(context, with_databases(configured(context)?), &name).await
        }
        ScheduleCommand::Run { name, detach: true } => have_run(context, name).await,
        ScheduleCommand::History { name, limit, failed } => {
            let dir = StateDir::of(Some(&configured(context)?))?;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            history(context, &dir.history(), (name.as_deref(), failed), limit)
        }
        ScheduleCommand::Pause { name } => pause(context, Request::Pause { name }).await,
        ScheduleCommand::Cancel { name } => cancel(context, name).await,
        ScheduleCommand::Resume { name } => pause(context, Request::Resume { name }).await,
    }
}

fn configured(context: &Context) -> Result<Config, Error> {
    let path: PathBuf = find(context.config())?;
    Ok(load(&path)?)
}

/// A configuration with the databases that its patterns mean now.
fn with_databases(config: Config) -> Config {
    let Search { found, problems } = config.search(&Found::default());
    crate::cli::decisions::warn(&problems);
    Config { found, ..config }
}

/// The error of those who name what is not there.
fn unknown(name: &str, roster: &Roster) -> Error {
    let known: Vec<&str> = roster.iter().map(|entry| &*entry.id).collect();
    Error::usage(
        format!("there is no schedule called {name:?} that is on"),
        if known.is_empty() {
            "add a [schedules.NAME] to the configuration".into()
        } else {
            format!("there are {}", known.join(", "))
        },
    )
}

async fn run_now(context: &Context, config: Config, name: &str) -> Result<Ending, Error> {
    let (roster, jobs) = Roster::of(&config);
    let ids = roster.ids_of(name);
    if ids.is_empty() {
        return Err(unknown(name, &roster));
    }
    let dir = StateDir::of(Some(&config))?;
    dir.make()?;
    // Not the daemon's own folder, which it empties when it starts.
    let scratch = match &config.temp_folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let scratch = scratch.map_err(|error| Error::io("make a temporary folder", error))?;
    let worker = Jobs::new(dir.clone(), scratch.path().to_owned(), Arc::new(Freshness::default()));
    let config = Arc::new(config);
    let (mut results, mut outcomes) = (Vec::new(), Vec::new());
    for id in ids {
        context.check()?;
        let Some(entry) = roster.get(&id).cloned() else { continue };
        let timeout = jobs.iter().find(|job| job.id == id).and_then(|job| job.timeout);
        let began = clock::calendar_now();
        let run = Run {
            run: RunId(0),
            scheduled: began,
            attempt: 1,
            at: began,
            manual: true,
            late: false,
            interruptions: 0,
        };
        let order = Order {
            entry: entry.clone(),
            run,
            timeout,
            config: Arc::clone(&config),
            cancel: context.cancel.clone(),
            progress: Arc::default(),
        };
        let report = worker.work(order).await;
        let outcome = report.run_outcome();
        let record = as_record(&entry, &report, began);
        dir.history().add(std::slice::from_ref(&record))?;
        match &report.error {
            Some(error) => eprintln!("error: {id}: {error}"),
            None => context.say(format!("{id}: {}", report.summary))?,
        }
        for problem in report.problems.iter().chain(&report.damage) {
            eprintln!("error: {id}: {problem}");
        }
        outcomes.push(outcome);
        results.push(record_json(&record));
        if report.outcome == Outcome::Cancelled {
            break;
        }
    }
    context.result(&Value::Array(results))?;
    let well = outcomes.iter().filter(|outcome| **outcome == RunOutcome::Done).count();
    Ok(if outcomes.contains(&RunOutcome::Cancelled) {
        Ending::Interrupted
    } else if well == outcomes.len() {
        Ending::Done
    } else if well > 0 || outcomes.contains(&RunOutcome::Part) {
        Ending::InPart
    } else {
        Ending::Failed
    })
}

fn as_record(entry: &Entry, report: &crate::daemon::Report, began: DateTime<Utc>) -> Record {
    let took = (clock::calendar_now() - began).num_milliseconds();
    Record {
        duration_ms: u64::try_from(took).unwrap_or(0),
        manual: true,
        ..report.record(entry, began)
    }
}

/// A record as JSON.
pub(super) fn record_json(record: &Record) -> Value {
    let mut value = json!(record);
    value["job"] = json!(record.job());
    value
}

fn history(
    context: &Context,
    history: &History,
    (name, failed): (Option<&str>, bool),
    limit: usize,
) -> Result<Ending, Error> {
    let records = history.newest(limit, |record| {
        let of_it = name.is_none_or(|name| record.is_of(name));
        of_it && !(failed && record.outcome == RunOutcome::Done)
    })?;
    context.result(&Value::Array(records.iter().map(record_json).collect()))?;
    if records.is_empty() {
        context.say("nothing was run")?;
        return Ok(Ending::Done);
    }
    let head = ["BEGAN", "JOB", "DO", "OUTCOME", "TRY", "TOOK", "WHAT"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    rows.extend(records.iter().map(|record| {
        let outcome = if record.again { "failed, again" } else { record.outcome.name() };
        vec![
            format_seconds(&record.began),
            record.job(),
            record.action.name().to_owned(),
            outcome.to_owned(),
            record.attempt.to_string(),
            crate::human::time(std::time::Duration::from_millis(record.duration_ms)),
            record.error.clone().unwrap_or_else(|| record.summary.clone()).replace('\n', " "),
        ]
    }));
    context.say(table(&rows).trim_end())?;
    Ok(Ending::Done)
}

/// Has the daemon run a schedule.
async fn have_run(context: &Context, name: String) -> Result<Ending, Error> {
    let dir = StateDir::of(Some(&configured(context)?))?;
    let asked = ask(&dir, &Request::Run { name }).await?;
    let answer = asked.ok_or_else(|| {
        Error::usage("no daemon runs", "start one with `mantis serve`, or leave --detach out")
    })?;
    context.result(&answer)?;
    context.say(format!("begun by the daemon: {}", jobs_of(&answer)))?;
    Ok(Ending::Done)
}

pub(super) fn jobs_of(answer: &Value) -> String {
    let jobs = answer["jobs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    jobs.collect::<Vec<&str>>().join(", ")
}

/// Has the daemon cancel what it runs of a schedule.
async fn cancel(context: &Context, name: String) -> Result<Ending, Error> {
    let dir = StateDir::of(Some(&configured(context)?))?;
    let asked = ask(&dir, &Request::Cancel { name }).await?;
    let answer =
        asked.ok_or_else(|| Error::usage("no daemon runs", "there is nothing to cancel"))?;
    context.result(&answer)?;
    context.say(format!("cancelled: {}", jobs_of(&answer)))?;
    Ok(Ending::Done)
}

/// Pauses or resumes a schedule: by the daemon where one runs, else in its state.
async fn pause(context: &Context, request: Request) -> Result<Ending, Error> {
    let config = configured(context)?;
    let dir = StateDir::of(Some(&config))?;
    let answered = match ask(&dir, &request).await? {
        Some(answer) => answer,
        None => pause_in_state(&dir, &with_databases(config), &request)?,
    };
    context.result(&answered)?;
    let done = if matches!(request, Request::Pause { .. }) { "paused" } else { "resumed" };
    context.say(format!("{done}: {}", jobs_of(&answered)))?;
    Ok(Ending::Done)
}

fn pause_in_state(dir: &StateDir, config: &Config, request: &Request) -> Result<Value, Error> {
    let _lock = dir.lock()?;
    let (mut agenda, roster) = dir.planned(config, clock::calendar_now())?;
    let failed = |error: mantis_schedule::ScheduleError| {
        Error::usage(error.to_string(), "`mantis schedule list` shows what there is")
    };
    let (Request::Pause { name }
    | Request::Resume { name }
    | Request::Run { name }
    | Request::Cancel { name }) = request
    else {
        return Ok(Value::Null);
    };
    let ids = roster.ids_of(name);
    if ids.is_empty() {
        return Err(unknown(name, &roster));
    }
    for id in &ids {
        match request {
            Request::Pause { .. } => agenda.pause(id),
            _ => agenda.resume(id, clock::calendar_now()),
        }
        .map_err(failed)?;
    }
    dir.keep_agenda(agenda.state())?;
    Ok(json!({ "jobs": ids }))
}
