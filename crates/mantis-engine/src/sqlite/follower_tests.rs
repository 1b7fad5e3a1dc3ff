//! What a follower says of changed pages is proved against the pages themselves.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use mantis_page::PageNo;
use mantis_snapshot::{Changed, Outcome};

use super::*;

fn writer(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=40;
             CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, v BLOB)",
        )
        .unwrap();
    connection
}

fn update(connection: &Connection, id: u64) {
    connection
        .execute("INSERT OR REPLACE INTO t VALUES (?1, randomblob(700))", [id as i64])
        .unwrap();
}

/// The pages of a snapshot, and those that it says changed.
struct Seen {
    token: SnapshotToken,
    image: Vec<u8>,
}

/// Takes a snapshot on top of the one before, and proves what it says of the pages that changed.
struct Watcher {
    follower: SqliteFollower,
    last: Option<Seen>,
    unknown: u64,
}

impl Watcher {
    fn new(path: &Path) -> Self {
        let follower = SqliteFollower::new(SqliteEngine::open(path).unwrap());
        Self { follower, last: None, unknown: 0 }
    }

    fn tick(&mut self, outcome: Outcome) -> u64 {
        let baseline = self.last.as_ref().map(|seen| seen.token.clone());
        let request = FreezeRequest { baseline, ..FreezeRequest::default() };
        let mut frozen = self.follower.freeze(&request).unwrap();
        let geometry = frozen.geometry();
        let size = geometry.page_size.bytes();
        let mut image = vec![0; geometry.page_count as usize * size];
        frozen.read_pages(PageNo::FIRST, &mut image).unwrap();
        let mut changed = 0;
        match (frozen.changed(), &self.last) {
            (Changed::Pages(pages), Some(last)) => {
                let mut built = last.image.clone();
                // What is past the end counts as changed.
                built.resize(image.len(), 0);
                let past = last.image.len().min(image.len());
                built[past..].copy_from_slice(&image[past..]);
                for page in pages.pages().filter(|page| page.get() <= geometry.page_count) {
                    let at = page.index() as usize * size;
                    built[at..at + size].copy_from_slice(&image[at..at + size]);
                    changed += 1;
                }
                assert!(built == image, "a page changed and was not told of");
            }
            (Changed::Unknown, Some(_)) => self.unknown += 1,
            (_, None) => {}
        }
        let token = frozen.finish(outcome).unwrap();
        if let Some(token) = token {
            self.last = Some(Seen { token, image });
        }
        changed
    }
}

fn database() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let connection = writer(&path);
    (0..200).for_each(|id| update(&connection, id));
    (folder, path)
}

fn wal_len(path: &Path) -> u64 {
    std::fs::metadata(path.with_extension("db-wal")).map_or(0, |wal| wal.len())
}

#[test]
fn what_changed_is_known_however_often_the_wal_is_begun_anew() {
    let (_folder, path) = database();
    let connection = writer(&path);
    let mut watcher = Watcher::new(&path);
    watcher.tick(Outcome::Committed);
    let mut begun_anew = 0;
    let mut salts = None;
    for round in 0..60u64 {
        (0..20).for_each(|n| update(&connection, (round * 31 + n) % 200));
        let changed = watcher.tick(Outcome::Committed);
        assert!((1..200).contains(&changed), "{changed}");
        let relief = watcher.follower.relieve(100 * 4096).unwrap();
        assert_eq!(relief.writers_held, Duration::ZERO, "nobody writes: nobody is to wait");
        let now = locked(&watcher.follower.state).guard.as_ref().unwrap().view.moment.salts;
        begun_anew += u64::from(salts.replace(now).is_some_and(|before| before != now));
        assert!(wal_len(&path) < 300 * 4096, "{}", wal_len(&path));
    }
    assert!(begun_anew > 5, "{begun_anew}");
    assert_eq!((watcher.unknown, watcher.follower.gaps()), (0, 0));
    assert!(watcher.follower.is_idle().unwrap());
    update(&connection, 1);
    assert!(!watcher.follower.is_idle().unwrap());
    watcher.tick(Outcome::Aborted);
    assert!(!watcher.follower.is_idle().unwrap(), "it is in no backup yet");
    watcher.tick(Outcome::Committed);
    assert!(watcher.follower.is_idle().unwrap());
}

#[test]
fn a_writer_that_never_pauses_is_followed_and_its_wal_stays_bounded() {
    let (_folder, path) = database();
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let connection = writer(&path);
            while !stop.load(Ordering::Relaxed) {
                update(&connection, written.fetch_add(1, Ordering::Relaxed) % 200);
                // A build for tests reads a WAL more slowly than a writer without any pause writes it.
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        let mut watcher = Watcher::new(&path);
        watcher.tick(Outcome::Committed);
        let limit = 200 * 4096;
        let (mut relieved, mut held) = (0, Duration::ZERO);
        for _ in 0..120 {
            std::thread::sleep(Duration::from_millis(5));
            watcher.tick(Outcome::Committed);
            let relief = watcher.follower.relieve(limit).unwrap();
            held = held.max(relief.writers_held);
            relieved += u64::from(relief.relieved);
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!((watcher.unknown, watcher.follower.gaps()), (0, 0));
        assert!(relieved > 3, "{relieved}");
        assert!(held > Duration::ZERO, "writers that never pause have to be held");
        let len = wal_len(&path);
        assert!(
            len < 60 * limit,
            "{len} of a WAL after {} commits",
            written.load(Ordering::Relaxed)
        );
    });
}

#[test]
fn checkpoints_that_wait_for_every_reader_get_through_in_the_end() {
    let (_folder, path) = database();
    let connection = writer(&path);
    connection.busy_timeout(Duration::ZERO).unwrap();
    let mut watcher = Watcher::new(&path);
    let truncated = || -> bool {
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
            .unwrap()
            == 0
    };
    for round in 0..5 {
        update(&connection, round);
        watcher.tick(Outcome::Committed);
        assert!(!truncated(), "the guard is in its way");
        let limit = 1 << 30;
        assert_eq!(watcher.follower.relieve(limit).unwrap(), Relief::default());
        assert!(truncated());
        assert_eq!(wal_len(&path), 0);
    }
    assert_eq!(watcher.follower.gaps(), watcher.unknown);
}

#[test]
fn a_replaced_file_and_another_journal_mode_are_gaps_that_the_next_snapshot_heals() {
    let (folder, path) = database();
    let connection = writer(&path);
    let mut watcher = Watcher::new(&path);
    watcher.tick(Outcome::Committed);
    update(&connection, 5);
    watcher.tick(Outcome::Committed);
    assert_eq!(watcher.unknown, 0);
    let other = folder.path().join("other.db");
    drop(connection);
    let made = writer(&other);
    (0..300).for_each(|id| update(&made, id));
    made.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(made);
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.path().join(format!("a.db{end}")));
    }
    std::fs::rename(&other, &path).unwrap();
    assert!(!watcher.follower.is_idle().unwrap());
    watcher.tick(Outcome::Committed);
    assert_eq!((watcher.unknown, watcher.follower.gaps()), (1, 1));
    let connection = writer(&path);
    update(&connection, 6);
    watcher.tick(Outcome::Committed);
    assert_eq!(watcher.unknown, 1, "it is followed again");
}

/// Copies over a file as people do, who ask for no lock: from another process, since closing a file here would end this one's locks.
fn copy_over(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").args([from, to]).status().unwrap().success());
}

#[test]
fn a_database_copied_over_the_file_is_a_gap_that_the_next_snapshot_heals() {
    let (_folder, path) = database();
    let (_other_folder, other) = database();
    let connection = writer(&other);
    (0..300).for_each(|id| update(&connection, id));
    drop(connection);
    let mut watcher = Watcher::new(&path);
    watcher.tick(Outcome::Committed);
    assert!(watcher.follower.is_idle().unwrap());
    copy_over(&other, &path);
    assert!(!watcher.follower.is_idle().unwrap());
    watcher.tick(Outcome::Committed);
    assert_eq!((watcher.unknown, watcher.follower.gaps()), (1, 1));
    assert!(watcher.last.unwrap().image == std::fs::read(&other).unwrap());
}

#[test]
fn a_database_copied_over_the_file_while_it_is_read_is_no_snapshot() {
    let (_folder, path) = database();
    let (_other_folder, other) = database();
    let engine = SqliteEngine::open(&path).unwrap();
    let follower = SqliteFollower::new(engine.clone());
    let engines: [&dyn Engine; 2] = [&engine, &follower];
    for engine in engines {
        let mut frozen = engine.freeze(&FreezeRequest::default()).unwrap();
        frozen.health().unwrap();
        copy_over(&other, &path);
        let error = frozen.finish(Outcome::Committed).unwrap_err().to_string();
        assert!(error.contains("past SQLite's locks"), "{error}");
    }
}

#[test]
fn a_database_that_cannot_be_relieved_is_let_go_of_before_the_disk_is_full() {
    let (_folder, path) = database();
    let connection = writer(&path);
    let mut watcher = Watcher::new(&path);
    watcher.tick(Outcome::Committed);
    // Another reader that stays keeps every checkpoint from going on.
    let reader = Connection::open(&path).unwrap();
    update(&connection, 0);
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
    let limit = 20 * 4096;
    for round in 0..20 {
        (0..40).for_each(|n| update(&connection, (round * 40 + n) % 200));
        let _ = watcher.follower.relieve(limit).unwrap();
    }
    assert!(watcher.follower.gaps() > 0);
    drop(reader);
    watcher.tick(Outcome::Committed);
    assert_eq!(watcher.unknown, 1);
    update(&connection, 3);
    watcher.tick(Outcome::Committed);
    assert_eq!(watcher.unknown, 1);
}

#[derive(Debug, Clone)]
enum Step {
    Write(u64, u64),
    Checkpoint(&'static str),
    Tick(bool),
    Relieve(u64),
    Shrink,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..200, 1u64..60).prop_map(|(first, count)| Step::Write(first, count)),
        2 => prop::sample::select(vec!["PASSIVE", "FULL", "RESTART", "TRUNCATE"]).prop_map(Step::Checkpoint),
        4 => prop::bool::weighted(0.8).prop_map(Step::Tick),
        2 => (60u64..300).prop_map(Step::Relieve),
        1 => Just(Step::Shrink),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Whatever the application does with its WAL, no changed page is missed; and nothing is lost sight of, but where the application
    /// truncated a WAL that it had begun anew.
    #[test]
    fn no_changed_page_is_missed(steps in prop::collection::vec(any_step(), 1..60)) {
        let (_folder, path) = database();
        let connection = writer(&path);
        connection.busy_timeout(Duration::ZERO).unwrap();
        let mut watcher = Watcher::new(&path);
        let mut truncated = false;
        for step in steps {
            match step {
                Step::Write(first, count) => (first..first + count).for_each(|id| update(&connection, id)),
                Step::Checkpoint(how) => {
                    truncated |= how == "TRUNCATE";
                    let _ = connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()));
                }
                Step::Tick(committed) => {
                    watcher.tick(if committed { Outcome::Committed } else { Outcome::Aborted });
                }
                Step::Relieve(frames) => {
                    let _ = watcher.follower.relieve(frames * 4096).unwrap();
                }
                Step::Shrink => connection.execute_batch("DELETE FROM t WHERE id > 30; VACUUM").unwrap(),
            }
        }
        watcher.tick(Outcome::Committed);
        prop_assert!(truncated || watcher.unknown == 0, "{} gaps", watcher.unknown);
    }
}
