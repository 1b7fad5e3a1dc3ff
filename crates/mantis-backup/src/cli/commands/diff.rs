//! `mantis diff`

use mantis_repo::Selector;
use serde_json::{Value, json};

use super::query::{object_of, rows_of, text};
use crate::Error;
use crate::cli::args::DiffArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::{count, size, table};
use crate::jobs::{DiffRowsJob, DifferentRow, DifferentRows, diff_rows};

/// Ranges of pages in the result, at most.
const MAX_RANGES: usize = 10_000;

pub(crate) async fn run(context: &Context, args: DiffArgs) -> Result<Ending, Error> {
    let repo = context.open().await?;
    let catalogue = repo.catalogue().await?;
    let find = |id: &str| {
        catalogue.find(&Selector { id: Some(id.to_owned()), ..Selector::default() }).cloned()
    };
    let (a, b) = (find(&args.a)?, find(&args.b)?);
    let difference = repo.diff(&a, &b).await?;
    let ranges: Vec<Value> = difference
        .changed
        .ranges()
        .take(MAX_RANGES)
        .map(|range| json!({ "first": range.first().get(), "last": range.last().get() }))
        .collect();
    let rows = match &args.rows {
        Some(table) => {
            let job = DiffRowsJob {
                table: table.clone(),
                changed: Some(difference.changed.clone()),
                examples: args.limit,
                cancel: context.cancel.clone(),
            };
            Some(diff_rows(&repo, (&a, &b), job).await?)
        }
        None => None,
    };
    let total = difference.changed.len() + difference.added + difference.removed;
    let mut result = json!({
        "a": a.id.to_string(),
        "b": b.id.to_string(),
        "page_size": b.meta.page_size,
        "pages_changed": difference.changed.len(),
        "pages_added": difference.added,
        "pages_removed": difference.removed,
        "bytes_changed": difference.changed.len() * u64::from(b.meta.page_size),
        "identical": a.fingerprint == b.fingerprint,
        "ranges_truncated": difference.changed.ranges().nth(MAX_RANGES).is_some(),
        "ranges": ranges,
    });
    if let (Some(table), Some(rows)) = (&args.rows, &rows)
        && let Some(result) = result.as_object_mut()
    {
        result.insert("rows".into(), rows_json(table, rows));
    }
    context.result(&result)?;
    context.say(format!(
        "{} to {}: {} pages changed, {} added, {} removed ({})",
        a.id.short(),
        b.id.short(),
        count(difference.changed.len()),
        count(difference.added),
        count(difference.removed),
        size(total * u64::from(b.meta.page_size)),
    ))?;
    if let (Some(table), Some(rows)) = (&args.rows, &rows) {
        show_rows(context, table, rows)?;
    }
    Ok(Ending::Done)
}

fn rows_json(table: &str, rows: &DifferentRows) -> Value {
    let row = |row: &DifferentRow| match row {
        DifferentRow::Added(is) => json!({ "state": "added", "is": object_of(&rows.columns, is) }),
        DifferentRow::Removed(was) => {
            json!({ "state": "removed", "was": object_of(&rows.columns, was) })
        }
        DifferentRow::Changed(was, is) => json!({
            "state": "changed", "was": object_of(&rows.columns, was), "is": object_of(&rows.columns, is),
        }),
    };
    json!({
        "table": table,
        "added": rows.added,
        "removed": rows.removed,
        "changed": rows.changed,
        "other_columns": rows.other_columns,
        "all_compared": rows.all_compared,
        "examples": rows.examples.iter().map(row).collect::<Vec<Value>>(),
    })
}

/// The rows, those that changed as they were and as they are, and how many there are.
fn show_rows(context: &Context, name: &str, rows: &DifferentRows) -> Result<(), Error> {
    let head = std::iter::once("ROW".to_owned()).chain(rows.columns.iter().cloned());
    let mut lines = vec![head.collect::<Vec<String>>()];
    let mut line = |state: &str, values: &[rusqlite::types::Value]| {
        let cells = values.iter().map(|value| text(value.into()));
        lines.push(std::iter::once(state.to_owned()).chain(cells).collect());
    };
    for row in &rows.examples {
        match row {
            DifferentRow::Added(is) => line("added", is),
            DifferentRow::Removed(was) => line("removed", was),
            DifferentRow::Changed(was, is) => {
                line("was", was);
                line("is", is);
            }
        }
    }
    if lines.len() > 1 {
        context.say(table(&lines).trim_end())?;
    }
    let all = rows.added.saturating_add(rows.removed).saturating_add(rows.changed);
    let shown = rows.examples.len() as u64;
    let more = if all > shown {
        format!("; {} are not shown: --limit", count(all - shown))
    } else {
        String::new()
    };
    context.say(format!(
        "{name}: {} added, {} removed, {} changed{more}",
        rows_of(rows.added),
        count(rows.removed),
        count(rows.changed)
    ))?;
    if !rows.other_columns.is_empty() {
        let columns = rows.other_columns.join(", ");
        context.say(format!("not compared, as one of them alone has it: {columns}"))?;
    }
    Ok(())
}
