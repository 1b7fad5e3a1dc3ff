//! The coordinator under many interleavings, by shuttle: at most N snapshots are open, whoever waits is woken, and a snapshot that is
//! finished, failed, dropped or given up by its watchdog releases the engine exactly once. Run with
//! `RUSTFLAGS="--cfg shuttle" cargo test -p mantis-snapshot --test shuttle --release`, or `cargo xtask loom`.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::time::Duration;

use mantis_page::{Lsn, PageNo, PageSize};
use mantis_snapshot::{
    CancelFlag, ConsistencyPoint, Coordinator, Engine, FreezeRequest, FreezeWay, FrozenPages,
    Geometry, Outcome, Snapshot, SnapshotConfig, SnapshotError, SnapshotToken, SourceInfo,
};
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

/// Interleavings tried of each test, by chance and by PCT.
const TRIES: usize = 25_000;

/// Counts what is open.
#[derive(Clone, Default)]
struct Counting {
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    frozen: Arc<AtomicUsize>,
    finished: Arc<AtomicUsize>,
}

struct Moment {
    counts: Counting,
    point: ConsistencyPoint,
}

impl Engine for Counting {
    fn info(&self) -> Result<SourceInfo, SnapshotError> {
        Ok(SourceInfo { engine: "count".into(), object: "memory".into(), knows_changes: false })
    }

    fn freeze(&self, _: &FreezeRequest) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(open, Ordering::SeqCst);
        self.frozen.fetch_add(1, Ordering::SeqCst);
        let point = ConsistencyPoint {
            lsn: Lsn::new(7),
            timeline: [0; 16],
            way: FreezeWay::CopyOnWrite,
            writers_held: Duration::ZERO,
        };
        Ok(Box::new(Moment { counts: self.clone(), point }))
    }
}

impl FrozenPages for Moment {
    fn point(&self) -> &ConsistencyPoint {
        &self.point
    }

    fn geometry(&self) -> Geometry {
        Geometry::of_file(PageSize::MIN, 512)
    }

    fn read_pages(&self, _: PageNo, buf: &mut [u8]) -> Result<(), SnapshotError> {
        thread::yield_now();
        // Nobody releases the engine under a reader's hands.
        assert!(self.counts.open.load(Ordering::SeqCst) > 0);
        buf.fill(1);
        Ok(())
    }

    fn finish(&mut self, _: Outcome) -> Result<Option<SnapshotToken>, SnapshotError> {
        self.counts.finished.fetch_add(1, Ordering::SeqCst);
        Ok(Some(SnapshotToken(vec![1])))
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        let open = self.counts.open.fetch_sub(1, Ordering::SeqCst);
        assert!(open > 0, "released twice");
    }
}

fn begin(coordinator: &Coordinator, engine: &Counting) -> Snapshot {
    coordinator.begin("memory", engine, None, &CancelFlag::new()).unwrap()
}

fn all_ended(coordinator: &Coordinator, engine: &Counting) {
    assert_eq!(engine.open.load(Ordering::SeqCst), 0, "the engine is not released");
    assert!(coordinator.list().iter().all(|status| status.state.is_final()));
}

fn tries(test: fn()) {
    shuttle::check_random(test, TRIES);
    shuttle::check_pct(test, TRIES, 3);
}

#[test]
fn at_most_n_are_open_and_everyone_who_waits_has_a_turn() {
    tries(|| {
        let config = SnapshotConfig { max_concurrent: 2, ..SnapshotConfig::default() };
        let (coordinator, engine) = (Coordinator::new(config), Counting::default());
        let threads: Vec<_> = (0..4)
            .map(|way| {
                let (coordinator, engine) = (coordinator.clone(), engine.clone());
                thread::spawn(move || {
                    let snapshot = begin(&coordinator, &engine);
                    match way {
                        0 => drop(snapshot.finish(Outcome::Committed).unwrap()),
                        1 => drop(snapshot.finish(Outcome::Aborted).unwrap()),
                        2 => snapshot.fail(),
                        _ => drop(snapshot),
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(engine.most.load(Ordering::SeqCst) <= 2, "more were open than allowed");
        assert_eq!(engine.frozen.load(Ordering::SeqCst), 4);
        all_ended(&coordinator, &engine);
    });
}

#[test]
fn a_watchdog_beside_a_reader_releases_once_and_tells_the_truth() {
    tries(|| {
        let timeout = Some(Duration::from_secs(1));
        let config = SnapshotConfig { max_concurrent: 1, timeout, ..SnapshotConfig::default() };
        let (coordinator, engine) = (Coordinator::new(config), Counting::default());
        let snapshot = Arc::new(begin(&coordinator, &engine));
        let reader = {
            let snapshot = Arc::clone(&snapshot);
            thread::spawn(move || {
                for _ in 0..2 {
                    match snapshot.read_pages(PageNo::FIRST, &mut [0; 512]) {
                        Ok(()) | Err(SnapshotError::TimedOut { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        };
        reader.join().unwrap();
        let ended = Arc::into_inner(snapshot).unwrap().finish(Outcome::Committed);
        let finished = engine.finished.load(Ordering::SeqCst);
        match ended {
            Ok(token) => assert!(token.is_some() && finished == 1),
            Err(SnapshotError::TimedOut { .. }) => assert_eq!(finished, 0),
            Err(error) => panic!("{error}"),
        }
        // Its place is free for the next one, whoever ended it.
        drop(begin(&coordinator, &engine));
        assert_eq!(engine.frozen.load(Ordering::SeqCst), 2);
        assert_eq!(engine.open.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_forgotten_snapshot_lets_the_next_one_in() {
    tries(|| {
        let timeout = Some(Duration::from_secs(1));
        let config = SnapshotConfig { max_concurrent: 1, timeout, ..SnapshotConfig::default() };
        let (coordinator, engine) = (Coordinator::new(config), Counting::default());
        let first = begin(&coordinator, &engine);
        let next = {
            let (coordinator, engine) = (coordinator.clone(), engine.clone());
            thread::spawn(move || drop(begin(&coordinator, &engine)))
        };
        // Dropped, or given up by the watchdog before: the one that waits must not wait for ever.
        thread::yield_now();
        drop(first);
        next.join().unwrap();
        all_ended(&coordinator, &engine);
    });
}
