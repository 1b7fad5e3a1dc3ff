//! `mantis schedule --daemon URL`: the same, of a daemon elsewhere.

use std::time::Duration;

use serde_json::{Value, json};

use super::schedule::jobs_of;
use super::schedule_list::show;
use crate::Error;
use crate::cli::args::ScheduleCommand;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::table;
use crate::cli::remote::Remote;

async fn act(
    context: &Context,
    remote: &Remote,
    (what, said): (&str, &str),
    name: &str,
) -> Result<Ending, Error> {
    let done = remote.post("actions", &json!({ "do": what, "name": name })).await?;
    context.result(&done)?;
    context.say(format!("{said}: {}", jobs_of(&done)))?;
    Ok(Ending::Done)
}

async fn list(context: &Context, remote: &Remote) -> Result<Ending, Error> {
    let mut jobs = remote.get("jobs", &[]).await?;
    for job in jobs.as_array_mut().into_iter().flatten() {
        // The daemon tells five, or none; a list shows the first.
        let next = job.get("next").and_then(|next| next.get(0)).cloned().unwrap_or_default();
        job.as_object_mut().and_then(|job| job.insert("next".into(), next));
    }
    show(context, &jobs)
}

fn run_row(run: &Value) -> Vec<String> {
    let text = |key: &str| run[key].as_str().unwrap_or_default().replace('\n', " ");
    let what = if run["error"].is_string() { text("error") } else { text("summary") };
    let took = Duration::from_millis(run["duration_ms"].as_u64().unwrap_or(0));
    vec![
        text("began"),
        text("job"),
        text("do"),
        text("outcome"),
        run["attempt"].to_string(),
        crate::human::time(took),
        what,
    ]
}

async fn history(
    context: &Context,
    remote: &Remote,
    (name, failed): (Option<&str>, bool),
    limit: u32,
) -> Result<Ending, Error> {
    let limit = limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend(name.map(|name| ("job", name)));
    if failed {
        query.push(("outcome", "failed"));
    }
    let mut runs = remote.get("runs", &query).await?;
    // Oldest first, as everywhere on the command line.
    if let Some(runs) = runs.as_array_mut() {
        runs.reverse();
    }
    context.result(&runs)?;
    let head = ["BEGAN", "JOB", "DO", "OUTCOME", "TRY", "TOOK", "WHAT"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    rows.extend(runs.as_array().into_iter().flatten().map(run_row));
    if rows.len() == 1 {
        context.say("nothing was run")?;
    } else {
        context.say(table(&rows).trim_end())?;
    }
    Ok(Ending::Done)
}

pub(super) async fn run(
    context: &Context,
    remote: &Remote,
    what: ScheduleCommand,
) -> Result<Ending, Error> {
    match what {
        ScheduleCommand::List => list(context, remote).await,
        ScheduleCommand::Run { name, .. } => {
            act(context, remote, ("run", "begun by the daemon"), &name).await
        }
        ScheduleCommand::Cancel { name } => {
            act(context, remote, ("cancel", "cancelled"), &name).await
        }
        ScheduleCommand::Pause { name } => act(context, remote, ("pause", "paused"), &name).await,
        ScheduleCommand::Resume { name } => {
            act(context, remote, ("resume", "resumed"), &name).await
        }
        ScheduleCommand::History { name, limit, failed } => {
            history(context, remote, (name.as_deref(), failed), limit).await
        }
        ScheduleCommand::Next { .. } => {
            Err(Error::usage("`schedule next` needs no daemon", "leave --daemon out"))
        }
    }
}
