//! Rows that differ are among those that may, whatever was done to the table in between.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;

/// A database file, as it was read once.
struct Bytes(Vec<u8>);

impl DatabasePages for Bytes {
    fn byte_len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let bytes = self.0.get(at..at + buf.len()).ok_or_else(|| damaged("past the end"))?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

type Rows = BTreeMap<i64, Vec<u8>>;

/// The file, the table's root and its rows.
fn moment(path: &Path, connection: &Connection) -> (Bytes, u32, Rows) {
    let root = connection
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 't'", [], |row| row.get(0))
        .unwrap();
    let mut statement = connection.prepare("SELECT id, v FROM t").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let rows = rows.collect::<Result<Rows, _>>().unwrap();
    (Bytes(std::fs::read(path).unwrap()), root, rows)
}

fn pages_that_differ(a: &Bytes, b: &Bytes, page_len: usize) -> PageSet {
    let mut changed = PageSet::new();
    for (at, (a, b)) in a.0.chunks(page_len).zip(b.0.chunks(page_len)).enumerate() {
        if a != b {
            changed.insert(PageNo::from_index(at as u64).unwrap());
        }
    }
    changed
}

/// The rowids of rows that differ.
fn differing(a: &Rows, b: &Rows) -> Vec<i64> {
    let ids = a.keys().chain(b.keys());
    let mut ids: Vec<i64> = ids.filter(|id| a.get(id) != b.get(id)).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn make(path: &Path, vacuum: u8, rows: i64) -> Connection {
    let connection = Connection::open(path).unwrap();
    let set_up = format!(
        "PRAGMA page_size = 512; PRAGMA auto_vacuum = {vacuum}; CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB);
         CREATE TABLE other(id INTEGER PRIMARY KEY, v BLOB); CREATE INDEX by_v ON other(v); BEGIN;"
    );
    connection.execute_batch(&set_up).unwrap();
    for id in 0..rows {
        let sql = "INSERT INTO t VALUES(?1, randomblob(20 + abs(random()) % 60))";
        connection.execute(sql, [id * 3]).unwrap();
        connection.execute("INSERT INTO other VALUES(?1, randomblob(40))", [id]).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
    connection
}

fn compare(before: &(Bytes, u32, Rows), after: &(Bytes, u32, Rows)) -> (ChangedRows, Vec<i64>) {
    let changed = pages_that_differ(&before.0, &after.0, 512);
    let found = changed_rows((&before.0, &after.0), (before.1, after.1), &changed).unwrap();
    (found, differing(&before.2, &after.2))
}

#[test]
fn a_row_that_differs_is_found_by_its_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let connection = make(&path, 0, 2000);
    let before = moment(&path, &connection);
    connection
        .execute_batch("UPDATE t SET v = randomblob(length(v)) WHERE id = 3000; UPDATE other SET v = randomblob(40) WHERE id < 20")
        .unwrap();
    let after = moment(&path, &connection);
    let (found, differing) = compare(&before, &after);
    assert_eq!(differing, [3000]);
    let ChangedRows::Within(ranges) = found else { panic!("{found:?}") };
    assert_eq!(ranges.len(), 1, "another table's pages are not this one's: {ranges:?}");
    assert!(ranges[0].contains(&3000) && ranges[0].end() - ranges[0].start() < 100, "{ranges:?}");
    assert_eq!(compare(&after, &after).0, ChangedRows::Within(Vec::new()));
}

#[test]
fn a_value_over_several_pages_makes_any_row_differ() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let connection = make(&path, 0, 500);
    connection.execute("INSERT INTO t VALUES(7, zeroblob(5000))", []).unwrap();
    let before = moment(&path, &connection);
    // As long as it was: SQLite writes it in place, and nothing but an overflow page changes.
    let mut value = vec![0; 5000];
    value[3000] = 1;
    connection.execute("UPDATE t SET v = ?1 WHERE id = 7", [value]).unwrap();
    let after = moment(&path, &connection);
    let (found, differing) = compare(&before, &after);
    assert_eq!((found, differing), (ChangedRows::Any, vec![7]));
}

#[test]
fn a_tree_that_is_none_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let connection = make(&path, 0, 2000);
    let before = moment(&path, &connection);
    connection.execute("UPDATE t SET v = x'00' WHERE id = 3000", []).unwrap();
    let mut after = moment(&path, &connection);
    let root = (after.1 as usize - 1) * 512;
    after.0.0[root..root + 512].fill(0xff);
    let mut changed = PageSet::new();
    let all = pages_that_differ(&before.0, &after.0, 512);
    for page in all.pages().filter(|page| page.get() != u64::from(after.1)) {
        changed.insert(page);
    }
    let found = changed_rows((&before.0, &after.0), (before.1, after.1), &changed);
    assert_eq!(found.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

/// What is done to the table in between.
#[derive(Debug, Clone)]
enum Step {
    Insert(i64, usize),
    Delete(i64, i64),
    Update(i64, usize),
    Other(i64),
    Vacuum,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (-50i64..3000, 0usize..900).prop_map(|(id, len)| Step::Insert(id, len)),
        3 => (0i64..2500, 1i64..200).prop_map(|(id, count)| Step::Delete(id, count)),
        4 => (0i64..2000, 0usize..100).prop_map(|(id, len)| Step::Update(id, len)),
        3 => (0i64..600).prop_map(Step::Other),
        1 => Just(Step::Vacuum),
    ]
}

fn apply(connection: &Connection, step: &Step) {
    let done = match *step {
        Step::Insert(id, len) => {
            connection.execute("REPLACE INTO t VALUES(?1, randomblob(?2))", (id, len as i64))
        }
        Step::Delete(id, count) => {
            connection.execute("DELETE FROM t WHERE id BETWEEN ?1 AND ?2", [id, id + count])
        }
        Step::Update(id, len) => connection.execute(
            "UPDATE t SET v = randomblob(?2) WHERE id BETWEEN ?1 AND ?1 + 5",
            (id, len as i64),
        ),
        Step::Other(id) => connection.execute("DELETE FROM other WHERE id = ?1", [id]),
        Step::Vacuum => connection.execute_batch("PRAGMA incremental_vacuum(3)").map(|()| 0),
    };
    done.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_row_that_differs_is_missed(
        vacuum in 0u8..3,
        first in prop::collection::vec(step(), 0..12),
        then in prop::collection::vec(step(), 0..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let connection = make(&path, vacuum, 600);
        first.iter().for_each(|step| apply(&connection, step));
        let before = moment(&path, &connection);
        then.iter().for_each(|step| apply(&connection, step));
        let after = moment(&path, &connection);
        let (found, differing) = compare(&before, &after);
        if let ChangedRows::Within(ranges) = found {
            prop_assert!(ranges.windows(2).all(|two| two[0].end() < two[1].start()), "{ranges:?}");
            for id in differing {
                prop_assert!(ranges.iter().any(|range| range.contains(&id)), "{id} not in {ranges:?}");
            }
        }
    }

    /// Whatever bytes stand where trees were, it ends, and with an answer or an error.
    #[test]
    fn no_bytes_are_too_much(seed in any::<u64>(), count in 1usize..40) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let connection = make(&path, 0, 300);
        let before = moment(&path, &connection);
        let mut after = Bytes(before.0.0.clone());
        let mut random = seed | 1;
        for _ in 0..count {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = 100 + (random >> 20) as usize % (after.0.len() - 100);
            after.0[at] = (random >> 8) as u8;
        }
        let changed = pages_that_differ(&before.0, &after, 512);
        let _ = changed_rows((&before.0, &after), (before.1, before.1), &changed);
    }
}
