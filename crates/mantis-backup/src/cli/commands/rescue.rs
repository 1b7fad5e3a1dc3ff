//! `mantis rescue`

use mantis_repo::Selector;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};

use super::query::{object_of, rows_of, text};
use crate::Error;
use crate::cli::args::RescueArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::{count, table};
use crate::format_time;
use crate::jobs::{RescueJob, Rescued, rescue};

/// Rows that are shown.
const EXAMPLES: usize = 20;

pub(crate) async fn run(context: &Context, args: RescueArgs) -> Result<Ending, Error> {
    let repo = context.open().await?;
    let catalogue = repo.catalogue().await?;
    let selector =
        Selector { id: Some(args.id), source: args.source, at: args.at, ..Selector::default() };
    let backup = catalogue.find(&selector)?.clone();
    let job = RescueJob {
        into: args.into.clone(),
        table: args.table.clone(),
        only: args.only,
        overwrite: args.overwrite,
        apply: args.apply,
        patience: args.busy_timeout,
        examples: EXAMPLES,
        cancel: context.cancel.clone(),
    };
    let rescued = rescue(&repo, &backup, job).await?;
    context.result(&json!({
        "id": backup.id.to_string(),
        "source": backup.meta.source,
        "table": args.table,
        "into": args.into,
        "applied": args.apply,
        "without_table": rescued.without_table,
        "missing": rescued.missing,
        "different": rescued.different,
        "same": rescued.same,
        "inserted": rescued.inserted,
        "overwritten": rescued.overwritten,
        "examples": examples_json(&rescued),
    }))?;
    if !rescued.examples.is_empty() {
        context.say(shown(&rescued).trim_end())?;
    }
    let there = args.into.display();
    let of = format!("{} of {}", backup.id.short(), format_time(backup.meta.created_at));
    context.say(format!(
        "of backup {of}: {} missing in {there}, {} different, {} the same",
        rows_of(rescued.missing),
        count(rescued.different),
        count(rescued.same)
    ))?;
    let done = if args.apply {
        let left = if rescued.different > rescued.overwritten {
            "; those that differ stay as they are without --overwrite"
        } else {
            ""
        };
        let made = if rescued.without_table { "the table was made; " } else { "" };
        format!(
            "{made}{} put in, {} made what they were{left}",
            rows_of(rescued.inserted),
            count(rescued.overwritten)
        )
    } else {
        "nothing was changed: --apply does it".to_owned()
    };
    context.say(done)?;
    Ok(Ending::Done)
}

fn examples_json(rescued: &Rescued) -> Value {
    let row = |values: &[rusqlite::types::Value]| object_of(&rescued.columns, values);
    let examples = rescued.examples.iter();
    examples.map(|(state, values)| json!({ "state": state.name(), "row": row(values) })).collect()
}

/// Some of the rows, for people.
fn shown(rescued: &Rescued) -> String {
    let head = std::iter::once("STATE".to_owned()).chain(rescued.columns.iter().cloned());
    let mut rows = vec![head.collect::<Vec<String>>()];
    for (state, values) in &rescued.examples {
        let cells = values.iter().map(|value| text(ValueRef::from(value)));
        rows.push(std::iter::once(state.name().to_owned()).chain(cells).collect());
    }
    table(&rows)
}
