//! `mantis schedule list`

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::schedule::record_json;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::table;
use crate::config::{Config, ScheduleConfig};
use crate::daemon::control::{Request, ask};
use crate::daemon::{Entry, StateDir};
use crate::human::time;
use crate::when::format_seconds;
use crate::{Error, clock};

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn row(job: &Value) -> Vec<String> {
    let at_stake = job["watched"]["exposed_ms"].as_u64().map(Duration::from_millis);
    let state = if job["elsewhere"] == true {
        "elsewhere".to_owned()
    } else if job["running"] == true {
        "running".to_owned()
    } else if job["paused"] == true {
        "paused".to_owned()
    } else if let Some(at_stake) = at_stake {
        format!("watched, {} at stake", time(at_stake))
    } else {
        "waiting".to_owned()
    };
    let watch = job["watch"].as_str().map(|every| format!(", watched every {every}"));
    vec![
        text(&job["job"]),
        text(&job["do"]),
        text(&job["cron"]) + &watch.unwrap_or_default(),
        text(&job["next"]),
        state,
        text(&job["last"]["outcome"]),
        text(&job["last"]["began"]),
    ]
}

pub(super) async fn list(context: &Context, config: &Config) -> Result<Ending, Error> {
    let dir = StateDir::of(Some(config))?;
    let now = clock::calendar_now();
    let (agenda, roster) = dir.planned(config, now)?;
    let last = dir.history().last()?;
    // What the state has as running is so only if there is a daemon to run it.
    let daemon = ask(&dir, &Request::Status).await.ok().flatten();
    let watched = daemon.as_ref().and_then(|status| status["watched"].as_array());
    let watched = watched.map(Vec::as_slice).unwrap_or_default();
    let elsewhere = daemon.as_ref().and_then(|status| status["elsewhere"].as_array());
    let elsewhere: HashSet<&str> =
        elsewhere.into_iter().flatten().filter_map(Value::as_str).collect();
    let is_elsewhere =
        |entry: &Entry| entry.source.as_deref().is_some_and(|source| elsewhere.contains(source));
    let jobs: Vec<Value> = agenda
        .list()
        .filter_map(|(job, state)| {
            let entry = roster.get(&job.id)?;
            let next = if state.paused { None } else { job.cron.next_after(now, job.zone) };
            let next = next.map(|next| format_seconds(&next.with_timezone(&job.zone)));
            Some(json!({
                "job": job.id,
                "schedule": entry.schedule,
                "source": entry.source,
                "do": entry.action.name(),
                "cron": job.cron.to_string(),
                "timezone": job.zone.name(),
                "next": next,
                "paused": state.paused,
                "running": daemon.is_some() && !state.running.is_empty(),
                "elsewhere": is_elsewhere(entry),
                "watch": config.schedules.get(&entry.schedule).and_then(ScheduleConfig::watched_every),
                "watched": watched.iter().find(|watch| watch["job"] == *job.id),
                "waiting": state.waiting.len(),
                "last": last.get(&job.id).map(record_json),
            }))
        })
        .collect();
    let ending = show(context, &Value::Array(jobs))?;
    if daemon.is_none() {
        context.say("no daemon runs: start one with `mantis serve`")?;
    }
    Ok(ending)
}

/// Shows jobs.
pub(super) fn show(context: &Context, jobs: &Value) -> Result<Ending, Error> {
    context.result(jobs)?;
    let head = ["JOB", "DO", "CRON", "NEXT", "STATE", "LAST", "WHEN"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    rows.extend(jobs.as_array().into_iter().flatten().map(row));
    if rows.len() == 1 {
        context.say("no schedules that are on")?;
    } else {
        context.say(table(&rows).trim_end())?;
    }
    Ok(Ending::Done)
}
