//! `mantis schedule`

use chrono::SecondsFormat;
use mantis_retention::calendar_time;
use serde_json::json;

use crate::cli::args::ScheduleCommand;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::{Error, clock, local_zone};

pub(crate) fn run(context: &Context, what: ScheduleCommand) -> Result<Ending, Error> {
    let ScheduleCommand::Next { expression, tz, from, count } = what;
    let zone = tz.unwrap_or_else(local_zone);
    let from = calendar_time(from.unwrap_or_else(clock::now).0);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    // In the zone that was asked for: the offset shows which of two equal times of day is meant.
    let times: Vec<String> = expression
        .after(from, zone)
        .take(count)
        .map(|time| time.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, true))
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
