//! A table as a backup and a live database have it, and what is asked of its rows.

use rusqlite::Connection;

use super::rescue::{Failure, THEN, optional_text};
use crate::Error;

/// How a row of the backup stands in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// It is not there.
    Missing,
    /// It is there, and is another one.
    Different,
}

impl RowState {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Different => "different",
        }
    }
}

/// A table; `m` are its rows in the database, `w` those of the backup.
#[derive(Debug)]
pub(super) struct Table {
    table: String,
    /// Whether the database has it.
    pub(super) is_there: bool,
    /// Those that can be written.
    pub(super) columns: Vec<String>,
    /// What tells a row from others: the primary key, or all columns where there is none.
    key: Vec<String>,
}

/// A name, as it stands in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn refused(message: String, help: &str) -> Failure {
    Failure::Job(Error::usage(message, help))
}

/// The columns that can be written, with whether they are part of the primary key; none where there is no such table.
pub(super) fn columns_of(
    connection: &Connection,
    schema: &str,
    table: &str,
) -> rusqlite::Result<Vec<(String, bool)>> {
    // Those that are not 0 are generated, or of a virtual table and hidden.
    let sql = "SELECT name, pk > 0 FROM pragma_table_xinfo(?, ?) WHERE hidden = 0";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([table, schema], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

impl Table {
    /// The table of that name.
    pub(super) fn find(connection: &Connection, table: &str) -> Result<Self, Failure> {
        let sql = |schema| {
            format!(
                "SELECT sql FROM {schema}.sqlite_schema WHERE type = 'table' AND name = ? COLLATE NOCASE"
            )
        };
        let Some(made_by) = optional_text(connection, &sql(THEN), table)? else {
            return Err(refused(
                format!("the backup has no table called {table:?}"),
                "`mantis query ID 'select name from sqlite_schema'` shows what it has",
            ));
        };
        let is_virtual = |sql: &str| sql.to_ascii_uppercase().starts_with("CREATE VIRTUAL");
        let is_sqlites = table.to_ascii_lowercase().starts_with("sqlite_");
        if is_virtual(&made_by) || is_sqlites {
            return Err(refused(
                format!("{table} is no table whose rows could be brought back by themselves"),
                "name the table that they are kept in",
            ));
        }
        let there = optional_text(connection, &sql("main"), table)?;
        let then = columns_of(connection, THEN, table)?;
        let now = columns_of(connection, "main", table)?;
        if !now.is_empty() && there.is_none_or(|sql| is_virtual(&sql)) {
            let help = "bring the rows back by hand: `mantis query` shows them";
            return Err(refused(format!("{table} is no table any more"), help));
        }
        let has = |all: &[(String, bool)], column: &str| {
            all.iter().any(|(other, _)| other.eq_ignore_ascii_case(column))
        };
        let keys = if now.is_empty() { &then } else { &now };
        let key: Vec<String> =
            keys.iter().filter(|(_, is_key)| *is_key).map(|(column, _)| column.clone()).collect();
        let lost =
            then.iter().map(|(column, _)| column).filter(|it| !now.is_empty() && !has(&now, it));
        let lost: Vec<&str> =
            lost.chain(key.iter().filter(|it| !has(&then, it))).map(|it| &**it).collect();
        if !lost.is_empty() {
            return Err(refused(
                format!("{table} had other columns than it has now: {}", lost.join(", ")),
                "bring the rows back by hand: `mantis query` shows them",
            ));
        }
        let columns: Vec<String> = then.iter().map(|(column, _)| column.clone()).collect();
        let key = if key.is_empty() { columns.clone() } else { key };
        Ok(Self { table: table.to_owned(), is_there: !now.is_empty(), columns, key })
    }

    /// Its name, as it stands in a statement.
    pub(super) fn name(&self) -> String {
        quoted(&self.table)
    }

    /// Its columns, each with something before it.
    pub(super) fn list(&self, before: &str) -> String {
        let all: Vec<String> =
            self.columns.iter().map(|name| format!("{before}{}", quoted(name))).collect();
        all.join(", ")
    }

    /// The columns that are no part of what tells rows apart.
    fn rest(&self) -> impl Iterator<Item = &String> {
        let is_key = |name: &str| self.key.iter().any(|key| key.eq_ignore_ascii_case(name));
        self.columns.iter().filter(move |name| !is_key(name))
    }

    /// That a row of the database is the one of the backup.
    pub(super) fn is_it(&self) -> String {
        let same = |name: &String| format!("m.{0} IS w.{0}", quoted(name));
        self.key.iter().map(same).collect::<Vec<_>>().join(" AND ")
    }

    /// That the two differ, to the letter, whatever the column's own order takes for the same.
    pub(super) fn differs(&self) -> String {
        let other = |name: &String| format!("m.{0} IS NOT w.{0} COLLATE BINARY", quoted(name));
        let all: Vec<String> = self.rest().map(other).collect();
        if all.is_empty() { "0".into() } else { all.join(" OR ") }
    }

    /// What makes the one of the database that of the backup.
    pub(super) fn assignments(&self) -> String {
        let set = |name: &String| format!("{0} = w.{0}", quoted(name));
        self.rest().map(set).collect::<Vec<_>>().join(", ")
    }

    /// The condition on a row of the backup.
    pub(super) fn condition(&self, state: RowState) -> String {
        let (table, is_it) = (self.name(), self.is_it());
        match state {
            RowState::Missing if !self.is_there => "1".into(),
            RowState::Different if !self.is_there => "0".into(),
            RowState::Missing => {
                format!("NOT EXISTS (SELECT 1 FROM main.{table} AS m WHERE {is_it})")
            }
            RowState::Different => {
                let differs = self.differs();
                format!("EXISTS (SELECT 1 FROM main.{table} AS m WHERE {is_it} AND ({differs}))")
            }
        }
    }

    /// What makes it, and its indexes, as in the backup.
    pub(super) fn schema(&self, connection: &Connection) -> rusqlite::Result<Vec<String>> {
        let sql = format!(
            "SELECT sql FROM {THEN}.sqlite_schema WHERE tbl_name = ? COLLATE NOCASE AND type IN ('table', 'index') AND sql IS NOT NULL ORDER BY type DESC"
        );
        let mut statement = connection.prepare(&sql)?;
        let rows = statement.query_map([&self.table], |row| row.get::<_, String>(0))?;
        rows.collect()
    }
}
