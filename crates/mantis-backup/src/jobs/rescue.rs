//! Rows of a backup brought back into a live database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mantis_engine::EngineKind;
use mantis_engine::sqlite::attach_pages;
use mantis_repo::{BackupInfo, Repository};
use mantis_stream::CancellationToken;
use rusqlite::types::Value;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior,
};

use super::interruptible::interruptible;
use super::rescue_table::{RowState, Table};
use crate::Error;
use crate::backup_pages::BackupPages;

/// What the backup is called beside the live database.
pub(super) const THEN: &str = "mantis_then";
/// Where its rows wait, so that nobody waits for the store while the database is being written.
const WAITING: &str = "temp.mantis_waiting";

/// Which rows go where.
#[derive(Debug, Clone)]
pub struct RescueJob {
    /// The live database, which others may write.
    pub into: PathBuf,
    /// The table, in the backup and in the database.
    pub table: String,
    /// Which of its rows: an expression of SQL over the backup's columns. All without one.
    pub only: Option<String>,
    /// Rows that are in the database, and differ, become what they were.
    pub overwrite: bool,
    /// Whether it is done; else only looked at.
    pub apply: bool,
    /// How long others are waited for.
    pub patience: Duration,
    /// Rows that are looked at in full, at most.
    pub examples: usize,
    /// Ends it, as long as nothing was changed.
    pub cancel: CancellationToken,
}

/// What was found, and done.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rescued {
    /// The columns.
    pub columns: Vec<String>,
    /// Rows of the backup that are not in the database.
    pub missing: u64,
    /// Rows that are there and differ.
    pub different: u64,
    /// Rows that are there as they were.
    pub same: u64,
    /// Rows that were put in.
    pub inserted: u64,
    /// Rows that became what they were.
    pub overwritten: u64,
    /// The table is not there, or was not before it was made.
    pub without_table: bool,
    /// Some rows that are missing or differ, as they were.
    pub examples: Vec<(RowState, Vec<Value>)>,
}

/// Why a rescue failed.
pub(super) enum Failure {
    /// It cannot be done.
    Job(Error),
    /// SQLite says no.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Looks at the rows of a backup that are missing in a live database, or differ there, and brings them back where that is asked for: all of
/// them in one transaction, which others see as a whole or not at all. The rows are fetched before it begins.
///
/// Rows are told apart by the table's primary key; of a table without one, a row is there where all of it is. A table that is not there is made,
/// with its indexes. Triggers of the database fire, and foreign keys are enforced, as for any row that is written. Without
/// [`RescueJob::apply`], nothing is changed.
///
/// # Errors
/// A backup of another engine; a table that the backup does not have, or whose columns the database has no more; what the repository and
/// SQLite report. Nothing is changed then.
pub async fn rescue(
    repo: &Repository,
    backup: &BackupInfo,
    job: RescueJob,
) -> Result<Rescued, Error> {
    let pages = BackupPages::of(repo, backup, EngineKind::Sqlite).await?;
    let cancel = job.cancel.clone();
    interruptible(&cancel, "bring rows back", move |sender| {
        let begun = Rescue::begin(&pages, &job).inspect(|rescue| {
            let _ = sender.send(rescue.live.get_interrupt_handle());
        });
        begun.and_then(Rescue::run).map_err(|failure| match failure {
            Failure::Job(error) => error,
            Failure::Sqlite(error) => {
                let what = format!("bring rows back into {}", job.into.display());
                pages.explain(&what, error)
            }
        })
    })
    .await
}

struct Rescue<'a> {
    job: &'a RescueJob,
    live: Connection,
}

impl<'a> Rescue<'a> {
    fn begin(pages: &Arc<BackupPages>, job: &'a RescueJob) -> Result<Self, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        let live = Connection::open_with_flags(&job.into, flags)?;
        live.busy_timeout(job.patience)?;
        live.pragma_update(None, "foreign_keys", true)?;
        // The backup's schema may be anybody's.
        live.pragma_update(None, "trusted_schema", false)?;
        attach_pages(&live, THEN, pages.clone())
            .map_err(|error| Failure::Job(pages.or_failure(error.into())))?;
        Ok(Self { job, live })
    }

    fn run(self) -> Result<Rescued, Failure> {
        let table = Table::find(&self.live, &self.job.table)?;
        let only = self.job.only.as_deref().unwrap_or("1");
        let (list, name) = (table.list(""), table.name());
        // One statement and no more, whatever the expression says; the line's end ends a comment that it may end with.
        let sql =
            format!("CREATE TABLE {WAITING} AS SELECT {list} FROM {THEN}.{name} WHERE ({only}\n)");
        self.live.execute(&sql, [])?;
        let tx = if self.job.apply {
            begin_write(&self.live, self.job.patience)?
        } else {
            Transaction::new_unchecked(&self.live, TransactionBehavior::Deferred)?
        };
        let count = |condition: &str| {
            let sql = format!("SELECT count(*) FROM {WAITING} AS w WHERE {condition}");
            tx.query_row(&sql, [], |row| row.get::<_, i64>(0).map(i64::unsigned_abs))
        };
        let missing = count(&table.condition(RowState::Missing))?;
        let different = count(&table.condition(RowState::Different))?;
        let mut rescued = Rescued {
            columns: table.columns.clone(),
            missing,
            different,
            same: count("1")?.saturating_sub(missing.saturating_add(different)),
            without_table: !table.is_there,
            examples: examples(&tx, &table, self.job.examples)?,
            ..Rescued::default()
        };
        if !self.job.apply {
            tx.rollback()?;
            return Ok(rescued);
        }
        if !table.is_there {
            table.schema(&tx)?.iter().try_for_each(|sql| tx.execute_batch(sql))?;
        }
        if self.job.overwrite && different > 0 {
            // Not by REPLACE, which deletes rows first, and with them what refers to them.
            let sql = format!(
                "UPDATE main.{name} AS m SET {} FROM {WAITING} AS w WHERE {} AND ({})",
                table.assignments(),
                table.is_it(),
                table.differs()
            );
            rescued.overwritten = tx.execute(&sql, [])? as u64;
        }
        let sql = format!(
            "INSERT INTO main.{name} ({list}) SELECT {} FROM {WAITING} AS w WHERE {}",
            table.list("w."),
            table.condition(RowState::Missing)
        );
        rescued.inserted = tx.execute(&sql, [])? as u64;
        tx.commit()?;
        Ok(rescued)
    }
}

/// Begins to write. SQLite's own waiting looks again ever more rarely, and beside a writer that never pauses may find it at work each time.
fn begin_write(live: &Connection, patience: Duration) -> rusqlite::Result<Transaction<'_>> {
    live.busy_timeout(Duration::ZERO)?;
    let began = Instant::now();
    let tx = loop {
        match Transaction::new_unchecked(live, TransactionBehavior::Immediate) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && began.elapsed() < patience =>
            {
                std::thread::sleep(Duration::from_micros(300));
            }
            begun => break begun?,
        }
    };
    live.busy_timeout(patience)?;
    Ok(tx)
}

/// Some rows that are missing or differ.
fn examples(
    connection: &Connection,
    table: &Table,
    most: usize,
) -> rusqlite::Result<Vec<(RowState, Vec<Value>)>> {
    let mut found = Vec::new();
    for state in [RowState::Missing, RowState::Different] {
        let sql = format!(
            "SELECT {} FROM {WAITING} AS w WHERE {} LIMIT {}",
            table.list("w."),
            table.condition(state),
            most.saturating_sub(found.len())
        );
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let values = (0..table.columns.len()).map(|at| row.get(at));
            found.push((state, values.collect::<rusqlite::Result<_>>()?));
        }
    }
    Ok(found)
}

/// A value of one row and one column, if there is such a row.
pub(super) fn optional_text(
    connection: &Connection,
    sql: &str,
    with: &str,
) -> rusqlite::Result<Option<String>> {
    connection.query_row(sql, [with], |row| row.get(0)).optional()
}
