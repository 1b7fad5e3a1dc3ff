//! The rows of a table that differ between two backups, found through the pages that differ.

use std::ops::RangeInclusive;
use std::sync::Arc;

use mantis_engine::EngineKind;
use mantis_engine::sqlite::{ChangedRows, attach_pages, changed_rows, open_pages};
use mantis_page::PageSet;
use mantis_repo::{BackupInfo, Repository};
use mantis_stream::CancellationToken;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row};

use super::interruptible::interruptible;
use super::rescue_table::{columns_of, quoted};
use crate::Error;
use crate::backup_pages::BackupPages;

/// What the second backup is called beside the first.
const OTHER: &str = "mantis_other";

/// Which rows to compare, and how many to keep.
#[derive(Debug, Clone)]
pub struct DiffRowsJob {
    /// The table, in both backups.
    pub table: String,
    /// The pages that both have and that differ ([`Repository::diff`]); without them, every row is compared.
    pub changed: Option<PageSet>,
    /// Rows that are kept, at most; all are counted.
    pub examples: usize,
    /// Ends it.
    pub cancel: CancellationToken,
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq)]
pub enum DifferentRow {
    /// The second backup alone has it.
    Added(Vec<Value>),
    /// The first one alone has it.
    Removed(Vec<Value>),
    /// Both have it: as it was, and as it is.
    Changed(Vec<Value>, Vec<Value>),
}

/// The rows of a table that differ.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DifferentRows {
    /// The columns that both have.
    pub columns: Vec<String>,
    /// Columns that one alone has; rows are not compared by them.
    pub other_columns: Vec<String>,
    /// Rows that the second backup alone has.
    pub added: u64,
    /// Rows that the first one alone has.
    pub removed: u64,
    /// Rows that both have and that differ.
    pub changed: u64,
    /// Every row was compared, as pages did not tell which may differ.
    pub all_compared: bool,
    /// Some of the rows.
    pub examples: Vec<DifferentRow>,
}

/// Compares the rows of a table in two backups of a SQLite database. Rows are told apart by their rowid, those of a table without one by its primary
/// key. Only pages that differ are fetched, and those on the way to them, where they tell which rows may differ; else all of the table is.
///
/// # Errors
/// Backups of another engine; a table that one does not have; what the repository and SQLite report.
pub async fn diff_rows(
    repo: &Repository,
    (a, b): (&BackupInfo, &BackupInfo),
    job: DiffRowsJob,
) -> Result<DifferentRows, Error> {
    let (a, b) = (
        BackupPages::of(repo, a, EngineKind::Sqlite).await?,
        BackupPages::of(repo, b, EngineKind::Sqlite).await?,
    );
    let cancel = job.cancel.clone();
    interruptible(&cancel, "compare rows", move |sender| {
        let explain = |error: rusqlite::Error| {
            // Which of the two could not be read is in its own words.
            let error = a.explain("compare rows", error);
            b.or_failure(error)
        };
        let opened = open_pages(a.clone()).map_err(|error| a.or_failure(error.into()))?;
        let _ = sender.send(opened.get_interrupt_handle());
        attach_pages(&opened, OTHER, b.clone()).map_err(|error| b.or_failure(error.into()))?;
        let table = Table::find(&opened, &job.table).map_err(explain)??;
        let ranges = match (&table.rowid, &job.changed) {
            (Some(_), Some(changed)) => table.ranges((&a, &b), changed)?,
            _ => None,
        };
        table.compare(&opened, ranges, job.examples).map_err(explain)
    })
    .await
}

/// A table of both backups.
struct Table {
    name: String,
    roots: (u32, u32),
    /// What a row's rowid is called; none of a table without.
    rowid: Option<&'static str>,
    /// What tells rows apart without a rowid.
    key: Vec<String>,
    columns: Vec<String>,
    other_columns: Vec<String>,
}

fn refused(message: String, help: &str) -> Error {
    Error::usage(message, help)
}

/// The root page of a table, 0 for a virtual one.
fn root_of(connection: &Connection, schema: &str, table: &str) -> rusqlite::Result<Option<u32>> {
    let sql = format!(
        "SELECT rootpage FROM {schema}.sqlite_schema WHERE type = 'table' AND name = ? COLLATE NOCASE"
    );
    connection.query_row(&sql, [table], |row| row.get(0)).optional()
}

fn is_without_rowid(connection: &Connection, schema: &str, table: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT wr FROM pragma_table_list WHERE schema = ? AND name = ? COLLATE NOCASE";
    let found = connection.query_row(sql, [schema, table], |row| row.get(0)).optional();
    found.map(|found| found.unwrap_or(false))
}

impl Table {
    fn find(connection: &Connection, name: &str) -> rusqlite::Result<Result<Self, Error>> {
        let mut roots = [0; 2];
        let both = [("main", "the first backup"), (OTHER, "the second backup")];
        for (root, (schema, which)) in roots.iter_mut().zip(both) {
            *root = match root_of(connection, schema, name)? {
                Some(root) if root > 0 => root,
                Some(_) => {
                    let message = format!("{name} keeps its rows in other tables");
                    return Ok(Err(refused(message, "name one of those")));
                }
                None => {
                    return Ok(Err(refused(
                        format!("{which} has no table called {name:?}"),
                        "`mantis query ID 'select name from sqlite_schema'` shows what it has",
                    )));
                }
            };
        }
        let (was, is) =
            (columns_of(connection, "main", name)?, columns_of(connection, OTHER, name)?);
        let has = |all: &[(String, bool)], column: &str| {
            all.iter().any(|(other, _)| other.eq_ignore_ascii_case(column))
        };
        let of_both = |(column, _): &&(String, bool)| has(&was, column) && has(&is, column);
        let columns: Vec<String> =
            is.iter().filter(of_both).map(|(column, _)| column.clone()).collect();
        let others = was.iter().chain(&is).filter(|column| !of_both(column));
        let other_columns = others.map(|(column, _)| column.clone()).collect();
        let without = is_without_rowid(connection, "main", name)?;
        if without != is_without_rowid(connection, OTHER, name)? {
            let message = format!("{name} tells its rows apart in another way than it did");
            return Ok(Err(refused(message, "ask both backups by `mantis query`")));
        }
        let is_free = |rowid: &&&str| !has(&was, rowid) && !has(&is, rowid);
        let rowid = ["rowid", "_rowid_", "oid"].iter().find(is_free).copied();
        let keys = |all: &[(String, bool)]| -> Vec<String> {
            let keys = all.iter().filter(|(_, is_key)| *is_key);
            keys.map(|(column, _)| column.to_ascii_lowercase()).collect()
        };
        let key = keys(&is);
        let cannot = if without { keys(&was) != key || key.is_empty() } else { rowid.is_none() };
        if cannot {
            let message = format!("nothing tells the rows of {name} apart at both moments");
            return Ok(Err(refused(message, "ask both backups by `mantis query`")));
        }
        let rowid = rowid.filter(|_| !without);
        let name = name.to_owned();
        Ok(Ok(Self { name, roots: roots.into(), rowid, key, columns, other_columns }))
    }

    /// The rows that may differ; none where any may.
    fn ranges(
        &self,
        (a, b): (&Arc<BackupPages>, &Arc<BackupPages>),
        changed: &PageSet,
    ) -> Result<Option<Vec<RangeInclusive<i64>>>, Error> {
        match changed_rows((&**a, &**b), self.roots, changed) {
            Ok(ChangedRows::Within(ranges)) => Ok(Some(ranges)),
            Ok(ChangedRows::Any) => Ok(None),
            Err(error) => {
                let error = Error::Other {
                    doing: format!("find the rows of {} that differ", self.name),
                    source: error.into(),
                    help: Some(
                        "the database was so when it was backed up, as each page is proved".into(),
                    ),
                };
                Err(b.or_failure(a.or_failure(error)))
            }
        }
    }

    /// Columns of one side.
    fn list(&self, side: &str) -> String {
        let all: Vec<String> =
            self.columns.iter().map(|column| format!("{side}.{}", quoted(column))).collect();
        if all.is_empty() { "NULL".into() } else { all.join(", ") }
    }

    /// That a row of one side is that of the other.
    fn is_it(&self) -> String {
        match self.rowid {
            Some(rowid) => format!("x.{rowid} = y.{rowid}"),
            None => {
                let same = |column: &String| format!("x.{0} = y.{0}", quoted(column));
                self.key.iter().map(same).collect::<Vec<_>>().join(" AND ")
            }
        }
    }

    /// That a row of `x` may differ, by the range that is bound.
    fn is_in_range(&self) -> String {
        self.rowid.map_or("?1 <= ?2".into(), |rowid| format!("x.{rowid} BETWEEN ?1 AND ?2"))
    }

    /// Rows that one side has and the other has not.
    fn alone(&self, one: &str, other: &str) -> String {
        let (table, list) = (quoted(&self.name), self.list("x"));
        let (is_in_range, is_it) = (self.is_in_range(), self.is_it());
        format!(
            "SELECT {list} FROM {one}.{table} AS x WHERE {is_in_range} AND NOT EXISTS (SELECT 1 FROM {other}.{table} AS y WHERE {is_it})"
        )
    }

    /// Rows that both sides have and that differ, to the letter.
    fn changed(&self) -> String {
        let other = |column: &String| format!("x.{0} IS NOT y.{0} COLLATE BINARY", quoted(column));
        let differs: Vec<String> = self.columns.iter().map(other).collect();
        let differs = if differs.is_empty() { "0".into() } else { differs.join(" OR ") };
        let (table, was, is) = (quoted(&self.name), self.list("x"), self.list("y"));
        let (is_in_range, is_it) = (self.is_in_range(), self.is_it());
        // Rows of the range first, each looked up on the other side.
        format!(
            "SELECT {was}, {is} FROM main.{table} AS x CROSS JOIN {OTHER}.{table} AS y ON {is_it} WHERE {is_in_range} AND ({differs})"
        )
    }

    fn compare(
        &self,
        connection: &Connection,
        ranges: Option<Vec<RangeInclusive<i64>>>,
        most: usize,
    ) -> rusqlite::Result<DifferentRows> {
        let mut found = DifferentRows {
            columns: self.columns.clone(),
            other_columns: self.other_columns.clone(),
            all_compared: ranges.is_none(),
            ..DifferentRows::default()
        };
        let width = self.columns.len();
        let mut removed = connection.prepare(&self.alone("main", OTHER))?;
        let mut changed = connection.prepare(&self.changed())?;
        let mut added = connection.prepare(&self.alone(OTHER, "main"))?;
        for range in ranges.unwrap_or_else(|| vec![i64::MIN..=i64::MAX]) {
            let bound = [*range.start(), *range.end()];
            let mut rows = removed.query(bound)?;
            while let Some(row) = rows.next()? {
                found.removed += 1;
                if found.examples.len() < most {
                    found.examples.push(DifferentRow::Removed(values(row, 0..width)?));
                }
            }
            let mut rows = changed.query(bound)?;
            while let Some(row) = rows.next()? {
                found.changed += 1;
                if found.examples.len() < most {
                    let (was, is) = (values(row, 0..width)?, values(row, width..2 * width)?);
                    found.examples.push(DifferentRow::Changed(was, is));
                }
            }
            let mut rows = added.query(bound)?;
            while let Some(row) = rows.next()? {
                found.added += 1;
                if found.examples.len() < most {
                    found.examples.push(DifferentRow::Added(values(row, 0..width)?));
                }
            }
        }
        Ok(found)
    }
}

fn values(row: &Row<'_>, columns: std::ops::Range<usize>) -> rusqlite::Result<Vec<Value>> {
    columns.map(|at| row.get(at)).collect()
}
