//! `mantis query`

use mantis_repo::Selector;
use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement};
use serde_json::{Map, Value, json};

use crate::cli::args::QueryArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::{count, counted, size, table, write_out};
use crate::{Error, OpenSnapshot, open_snapshot};

/// Rows that are laid out as one table, and written as one piece.
const BATCH: usize = 500;

pub(crate) async fn run(context: &Context, args: QueryArgs) -> Result<Ending, Error> {
    let repo = context.open().await?;
    let catalogue = repo.catalogue().await?;
    let selector =
        Selector { id: Some(args.id), source: args.source, at: args.at, ..Selector::default() };
    let snapshot = open_snapshot(&repo, catalogue.find(&selector)?).await?;
    let interrupt = snapshot.get_interrupt_handle();
    let (json, quiet, sql) = (context.json, context.quiet, args.sql);
    let mut asked = tokio::task::spawn_blocking(move || {
        let asked = ask(&snapshot, &sql, json);
        (asked, snapshot.fetched())
    });
    let (asked, fetched) = tokio::select! {
        ended = &mut asked => ended,
        () = context.cancel.cancelled() => {
            interrupt.interrupt();
            asked.await
        }
    }
    .map_err(|error| Error::Other {
        doing: "ask the backup".into(),
        source: error.into(),
        help: None,
    })?;
    context.check()?;
    let rows = asked?;
    if !json && !quiet {
        // Not among the rows: these may be on their way to another program.
        eprintln!(
            "{}; {} pages fetched in {} reads, {}",
            rows_of(rows),
            count(fetched.pages),
            count(fetched.requests),
            size(fetched.bytes)
        );
    }
    Ok(Ending::Done)
}

/// So many rows, in words.
pub(super) fn rows_of(number: u64) -> String {
    counted(number, "row", "rows")
}

/// Runs the statement and writes its rows; how many they are.
fn ask(snapshot: &OpenSnapshot, sql: &str, json: bool) -> Result<u64, Error> {
    let failed = |error| snapshot.explain(error);
    let mut statement = snapshot.prepare(sql).map_err(failed)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    if json {
        as_list(snapshot, &mut statement, &names)
    } else {
        as_table(snapshot, &mut statement, names)
    }
}

fn as_table(
    snapshot: &OpenSnapshot,
    statement: &mut Statement<'_>,
    names: Vec<String>,
) -> Result<u64, Error> {
    let columns = names.len();
    let mut batch = vec![names];
    let mut rows = statement.query([]).map_err(|error| snapshot.explain(error))?;
    let mut found = 0;
    while let Some(row) = rows.next().map_err(|error| snapshot.explain(error))? {
        found += 1;
        let cells = (0..columns).map(|at| row.get_ref(at).map(text));
        let cells = cells.collect::<rusqlite::Result<Vec<String>>>();
        batch.push(cells.map_err(|error| snapshot.explain(error))?);
        if batch.len() > BATCH {
            let head = batch.first().cloned().unwrap_or_default();
            write_out(table(&batch).as_bytes())?;
            batch = vec![head];
        }
    }
    // A statement without columns has nothing to show, one without rows its head.
    if columns > 0 && (batch.len() > 1 || found == 0) {
        write_out(table(&batch).as_bytes())?;
    }
    Ok(found)
}

/// Each row as an object, all of them in one list, written as they come.
fn as_list(
    snapshot: &OpenSnapshot,
    statement: &mut Statement<'_>,
    names: &[String],
) -> Result<u64, Error> {
    let mut rows = statement.query([]).map_err(|error| snapshot.explain(error))?;
    let (mut found, mut out) = (0u64, String::from("["));
    while let Some(row) = rows.next().map_err(|error| snapshot.explain(error))? {
        let object = object(row, names).map_err(|error| snapshot.explain(error))?;
        out.push_str(if found == 0 { "\n" } else { ",\n" });
        out.push_str(&object.to_string());
        found += 1;
        if found.is_multiple_of(BATCH as u64) {
            write_out(std::mem::take(&mut out).as_bytes())?;
        }
    }
    out.push_str("\n]\n");
    write_out(out.as_bytes())?;
    Ok(found)
}

fn object(row: &Row<'_>, names: &[String]) -> rusqlite::Result<Value> {
    let mut object = Map::new();
    for (at, name) in names.iter().enumerate() {
        object.insert(name.clone(), as_json(row.get_ref(at)?));
    }
    Ok(Value::Object(object))
}

/// A row as an object.
pub(super) fn object_of(columns: &[String], values: &[rusqlite::types::Value]) -> Value {
    let cells = columns.iter().zip(values);
    cells.map(|(name, value)| (name.clone(), as_json(value.into()))).collect::<Map<_, _>>().into()
}

/// A value as JSON.
fn as_json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => json!(number),
        // What no number of JSON can be is text.
        ValueRef::Real(number) if number.is_finite() => json!(number),
        ValueRef::Real(number) => json!(number.to_string()),
        ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => json!(hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A value as a cell of a table.
pub(super) fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".into(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:?}"),
        // What would move the cursor or break the line is shown, not done.
        ValueRef::Text(text) => {
            let mut shown = String::with_capacity(text.len());
            for c in String::from_utf8_lossy(text).chars() {
                if c.is_control() {
                    shown.extend(c.escape_default());
                } else {
                    shown.push(c);
                }
            }
            shown
        }
        ValueRef::Blob(bytes) => format!("x'{}'", hex(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_and_do_nothing() {
        assert_eq!(
            text(ValueRef::Text("a\nb\u{1b}[31m\u{fc}".as_bytes())),
            "a\\nb\\u{1b}[31m\u{fc}"
        );
        assert_eq!(text(ValueRef::Blob(&[0, 255])), "x'00ff'");
        assert_eq!(text(ValueRef::Null), "NULL");
        assert_eq!(text(ValueRef::Real(970.0)), "970.0", "no whole number");
    }
}
