//! A bank whose books prove themselves: every moment of it satisfies invariants that hardly any mixture
//! of two moments does.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use crate::Error;

const ACCOUNTS: i64 = 20_000;
const OPENING_BALANCE: i64 = 1_000;

pub(crate) fn failed(doing: &str) -> impl FnOnce(rusqlite::Error) -> Error {
    let doing = doing.to_owned();
    move |error| Error::Other { doing, source: error.into(), help: None }
}

/// A small generator of numbers; the same for the same seed.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, limit: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 1) as i64 % limit.max(1)
    }
}

/// One link of the checksum chain over all transactions.
fn link(chain: i64, seq: i64, from: i64, to: i64, amount: i64) -> i64 {
    [seq, from, to, amount]
        .into_iter()
        .fold(chain, |chain, part| (chain ^ part).wrapping_mul(0x0100_0000_01B3).rotate_left(23))
}

/// Makes the database.
pub(crate) fn create(path: &Path) -> Result<(), Error> {
    let fail = || failed("make the demo's database");
    let mut connection = Connection::open(path).map_err(fail())?;
    connection
        .execute_batch(
            "pragma journal_mode = wal;
             pragma synchronous = normal;
             create table account(id integer primary key, balance integer not null, about text);
             create table ledger(seq integer primary key, debit integer, credit integer, amount integer, note text);
             create index ledger_debit on ledger(debit);
             create table state(seq integer not null, chain integer not null);
             insert into state values(0, 0);",
        )
        .map_err(fail())?;
    let filling = connection.transaction().map_err(fail())?;
    {
        let mut insert = filling.prepare("insert into account values(?, ?, ?)").map_err(fail())?;
        let mut numbers = Numbers(42);
        for id in 0..ACCOUNTS {
            let about: String =
                (0..120).map(|_| format!("{:x} ", numbers.below(1 << 24))).collect();
            insert.execute(params![id, OPENING_BALANCE, about]).map_err(fail())?;
        }
    }
    filling.commit().map_err(fail())?;
    connection.execute_batch("pragma wal_checkpoint(truncate)").map_err(fail())
}

/// Opens the database as its writer.
pub(crate) fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute_batch("pragma synchronous = normal")?;
    Ok(connection)
}

/// One transaction: moves money between two accounts and writes it down.
pub(crate) fn transfer(
    connection: &mut Connection,
    numbers: &mut Numbers,
) -> Result<(), rusqlite::Error> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let (seq, chain): (i64, i64) = transaction
        .prepare_cached("select seq, chain from state")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (from, to, amount) = (numbers.below(ACCOUNTS), numbers.below(ACCOUNTS), numbers.below(100));
    let mut update =
        transaction.prepare_cached("update account set balance = balance + ? where id = ?")?;
    update.execute([-amount, from])?;
    update.execute([amount, to])?;
    drop(update);
    let seq = seq + 1;
    transaction.prepare_cached("insert into ledger values(?, ?, ?, ?, ?)")?.execute(params![
        seq,
        from,
        to,
        amount,
        format!("transfer {seq} of {amount}")
    ])?;
    transaction
        .prepare_cached("update state set seq = ?, chain = ?")?
        .execute([seq, link(chain, seq, from, to, amount)])?;
    transaction.commit()
}

/// The number of the last transaction, read beside the writer.
pub(crate) fn last_transaction(path: &Path) -> Result<u64, Error> {
    let fail = || failed("read the demo's database");
    let connection = open(path).map_err(fail())?;
    let seq: i64 =
        connection.query_row("select seq from state", [], |row| row.get(0)).map_err(fail())?;
    Ok(seq.unsigned_abs())
}

/// Proves that a restored database is one moment; the number of its last transaction.
pub(crate) fn prove(path: &Path) -> Result<u64, String> {
    let proved = || -> Result<Result<u64, String>, rusqlite::Error> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let check: String = connection.query_row("pragma integrity_check", [], |row| row.get(0))?;
        if check != "ok" {
            return Ok(Err(format!("integrity check: {check}")));
        }
        let (seq, chain): (i64, i64) =
            connection.query_row("select seq, chain from state", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let money: i64 =
            connection.query_row("select sum(balance) from account", [], |row| row.get(0))?;
        if money != ACCOUNTS * OPENING_BALANCE {
            return Ok(Err(format!("{money} in all accounts, not {}", ACCOUNTS * OPENING_BALANCE)));
        }
        let mut ledger =
            connection.prepare("select seq, debit, credit, amount from ledger order by seq")?;
        let mut rows = ledger.query([])?;
        let (mut due, mut sum) = (0, 0);
        while let Some(row) = rows.next()? {
            due += 1;
            let (number, from, to, amount) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            if number != due {
                return Ok(Err(format!("ledger entry {due} is missing")));
            }
            sum = link(sum, number, from, to, amount);
        }
        if (due, sum) != (seq, chain) {
            return Ok(Err(format!("the ledger ends at {due}, the state says {seq}")));
        }
        Ok(Ok(seq.unsigned_abs()))
    };
    proved().unwrap_or_else(|error| Err(error.to_string()))
}
