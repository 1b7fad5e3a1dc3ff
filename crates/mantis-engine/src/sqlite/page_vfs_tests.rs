//! The tests of [`super`].

use std::io;

use super::*;

/// A database in memory that counts what is read of it, and fails past a place.
struct Counted {
    bytes: Vec<u8>,
    reads: AtomicU64,
    fails_from: AtomicU64,
}

impl DatabasePages for Counted {
    fn byte_len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if offset >= self.fails_from.load(Ordering::Relaxed) {
            return Err(io::Error::other("gone"));
        }
        let at = offset as usize;
        buf.copy_from_slice(&self.bytes[at..at + buf.len()]);
        Ok(())
    }
}

fn database(mode: &str) -> Arc<Counted> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let connection = Connection::open(&path).unwrap();
    let _: String =
        connection.query_row(&format!("PRAGMA journal_mode={mode}"), [], |row| row.get(0)).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<20000)
             INSERT INTO t SELECT i, 'row ' || i FROM n;",
        )
        .unwrap();
    connection.close().unwrap();
    let (reads, fails_from) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    Arc::new(Counted { bytes: std::fs::read(path).unwrap(), reads, fails_from })
}

fn one(connection: &Connection, sql: &str) -> rusqlite::Result<String> {
    connection
        .query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0))
        .map(|value| format!("{value:?}"))
}

#[test]
fn a_row_is_found_by_few_reads_and_nothing_can_be_written() {
    for mode in ["DELETE", "WAL"] {
        let pages = database(mode);
        let connection = open_pages(pages.clone()).unwrap();
        let row = one(&connection, "SELECT a FROM t WHERE id = 12345").unwrap();
        assert_eq!(row, "Text(\"row 12345\")");
        let reads = pages.reads.load(Ordering::Relaxed);
        assert!(reads < 10, "{reads}");
        assert_eq!(one(&connection, "SELECT count(*) FROM t").unwrap(), "Integer(20000)");
        assert_eq!(one(&connection, "PRAGMA integrity_check").unwrap(), "Text(\"ok\")");
        let sorted = "SELECT a FROM t ORDER BY a DESC LIMIT 1";
        assert_eq!(one(&connection, sorted).unwrap(), "Text(\"row 9999\")");
        for write in ["DELETE FROM t", "CREATE TABLE u(a)", "PRAGMA user_version = 7", "VACUUM"] {
            assert!(connection.execute_batch(write).is_err(), "{write}");
        }
        connection.execute_batch("CREATE TEMP TABLE u AS SELECT * FROM t LIMIT 5").unwrap();
        drop(connection);
        assert_eq!(Arc::strong_count(&pages), 1, "it is let go of");
    }
}

#[test]
fn it_can_stand_beside_a_database_that_is_written() {
    let live = Connection::open_in_memory().unwrap();
    let pages = database("WAL");
    attach_pages(&live, "past", pages.clone()).unwrap();
    live.execute_batch("CREATE TABLE t AS SELECT * FROM past.t WHERE id < 4").unwrap();
    assert_eq!(one(&live, "SELECT count(*) FROM main.t").unwrap(), "Integer(3)");
    assert!(live.execute_batch("DELETE FROM past.t").is_err());
    live.execute_batch("DETACH past").unwrap();
    assert_eq!(Arc::strong_count(&pages), 1, "it is let go of");
}

#[test]
fn what_cannot_be_read_is_an_error_and_does_no_harm() {
    let pages = database("WAL");
    pages.fails_from.store(8192, Ordering::Relaxed);
    let connection = open_pages(pages.clone()).unwrap();
    assert!(one(&connection, "SELECT count(*) FROM t").is_err());
    pages.fails_from.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(one(&connection, "SELECT count(*) FROM t").unwrap(), "Integer(20000)");
    // One that ends in the middle of a page, and one that is none.
    for len in [0, 50, 5000] {
        let bytes = pages.bytes[..len].to_vec();
        let (reads, fails_from) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let cut = open_pages(Arc::new(Counted { bytes, reads, fails_from })).unwrap();
        assert!(one(&cut, "SELECT count(*) FROM t").is_err(), "{len}");
    }
}

#[test]
fn names_lead_to_nothing_but_what_is_being_opened() {
    let first = open_pages(database("WAL")).unwrap();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    assert!(Connection::open_with_flags_and_vfs("mantis-pages:0", flags, VFS).is_err());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE b(x); INSERT INTO b VALUES(3)")
        .unwrap();
    first.execute("ATTACH ? AS other", [path.to_str().unwrap()]).unwrap();
    assert_eq!(one(&first, "SELECT x FROM other.b").unwrap(), "Integer(3)");
    assert!(first.execute_batch("DELETE FROM other.b").is_err(), "it cannot be written either");
}
