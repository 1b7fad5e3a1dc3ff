//! Bring your own engine: a small key-value store with a write-ahead log and checkpoints of its own,
//! made ready for hot backups by about sixty lines.
//!
//! Run it with `cargo run -p mantis-engine --example own_engine`. What an engine owes, step by step:
//!
//! 1. **Tell of every change before it happens.** [`CowFile::before_write`] saves the old page for open
//!    snapshots and marks it changed; with no snapshot it costs a few nanoseconds. See `Store::put_page`.
//! 2. **Know a moment without a transaction under way.** Here the commit lock gives it. See
//!    `Engine::freeze`.
//! 3. **Bring the log to a point.** `Engine::checkpoint` is called before the freeze; this store applies
//!    its log to the pages there, so that a backup needs no log.
//! 4. **Read a frozen page from anywhere.** [`FrozenFile::read_at`] does it. See `Frozen::read_pages`.
//! 5. **Say honestly what changed, and whether all went well**: `changed`, `health`, `finish`.
//!
//! The checks at the end are the suite that every engine of this crate passes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "an example shows the road, not the ditches"
)]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mantis_cow::{CowFile, CowLimits, FrozenFile, Sealed};
use mantis_page::{Lsn, PageNo, PageSize};
use mantis_snapshot::conformance::{Subject, check_engine};
use mantis_snapshot::{
    Changed, ConsistencyPoint, Engine, FreezeRequest, FreezeWay, FrozenPages, Geometry, Outcome,
    SnapshotError, SnapshotToken, SourceInfo,
};

const PAGE: PageSize = PageSize::MIN;
const SLOTS: usize = 60;

/// Pages of 60 eight-byte slots; page 1 begins with the number of the last commit that is applied.
/// The log holds commits that are not: length, then (page, slot, value) each.
struct Store {
    pages: File,
    log: File,
    cow: Arc<CowFile>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    commits: u64,
    log_len: u64,
    waiting: Vec<(u64, usize, u64)>,
}

impl Store {
    fn open(folder: &Path) -> Arc<Self> {
        let file = |name| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(folder.join(name))
        };
        Arc::new(Self {
            pages: file("pages").unwrap(),
            log: file("log").unwrap(),
            cow: Arc::new(CowFile::new(PAGE, CowLimits::default())),
            state: Mutex::default(),
        })
    }

    /// One commit: into the log, synced; the pages follow at a checkpoint.
    fn commit(&self, changes: &[(u64, usize, u64)]) -> u64 {
        let mut state = self.state.lock().unwrap();
        let mut record = (changes.len() as u64).to_le_bytes().to_vec();
        for (page, slot, value) in changes {
            [*page, *slot as u64, *value].iter().for_each(|word| record.extend(word.to_le_bytes()));
        }
        self.log.write_all_at(&record, state.log_len).unwrap();
        self.log.sync_data().unwrap();
        state.log_len += record.len() as u64;
        state.waiting.extend_from_slice(changes);
        state.commits += 1;
        state.commits
    }

    /// Applies the log to the pages and empties it.
    fn checkpoint(&self, state: &mut State) {
        for (page, slot, value) in state.waiting.drain(..) {
            self.put_page(page * u64::from(PAGE.get()) + 16 + slot as u64 * 8, value);
        }
        self.put_page(0, state.commits);
        self.pages.sync_data().unwrap();
        self.log.set_len(0).unwrap();
        state.log_len = 0;
    }

    /// Step 1: the table hears of a write before it happens.
    fn put_page(&self, offset: u64, value: u64) {
        self.cow.before_write(&self.pages, offset, 8);
        self.pages.write_all_at(&value.to_le_bytes(), offset).unwrap();
        let end = (offset / u64::from(PAGE.get()) + 1) * u64::from(PAGE.get());
        if self.pages.metadata().unwrap().len() < end {
            self.pages.set_len(end).unwrap();
        }
    }
}

/// The store as the coordinator sees it.
struct StoreEngine(Arc<Store>);

impl Engine for StoreEngine {
    fn info(&self) -> Result<SourceInfo, SnapshotError> {
        Ok(SourceInfo {
            engine: "slots".into(),
            object: "the example's store".into(),
            knows_changes: true,
        })
    }

    fn checkpoint(&self, _: &FreezeRequest) -> Result<(), SnapshotError> {
        // The long part happens here, while nothing is frozen yet.
        self.0.checkpoint(&mut self.0.state.lock().unwrap());
        Ok(())
    }

    fn freeze(&self, request: &FreezeRequest) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        // Step 2: no commit is under way while the lock is held; what came since the checkpoint is applied.
        let mut state = self.0.state.lock().unwrap();
        let held = Instant::now();
        self.0.checkpoint(&mut state);
        let store = &self.0;
        let mut sealed = None;
        let frozen = store.cow.freeze_with(|| {
            sealed = Some(store.cow.dirty().seal());
            store.pages.metadata().map(|metadata| metadata.len())
        });
        let frozen = frozen.map_err(|error| SnapshotError::engine("freeze", "the store", error))?;
        let point = ConsistencyPoint {
            lsn: Lsn::new(state.commits),
            timeline: [0; 16],
            way: FreezeWay::CopyOnWrite,
            writers_held: held.elapsed().min(Duration::from_secs(60)),
        };
        Ok(Box::new(Frozen {
            store: Arc::clone(store),
            geometry: Geometry::of_file(PAGE, frozen.len()),
            frozen,
            sealed,
            baseline: request.baseline.clone(),
            point,
        }))
    }
}

struct Frozen {
    store: Arc<Store>,
    frozen: FrozenFile,
    geometry: Geometry,
    sealed: Option<Sealed>,
    baseline: Option<SnapshotToken>,
    point: ConsistencyPoint,
}

impl FrozenPages for Frozen {
    fn point(&self) -> &ConsistencyPoint {
        &self.point
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_pages(&self, first: PageNo, buf: &mut [u8]) -> Result<(), SnapshotError> {
        // Step 4: the before-image where there is one, the live page where there is none.
        let offset = PAGE.offset_of(first).unwrap_or(u64::MAX);
        self.frozen.read_at(&self.store.pages, offset, buf).map_err(|error| SnapshotError::Read {
            object: "the store".into(),
            first,
            source: error.into(),
        })
    }

    fn release_before(&self, first: PageNo) {
        // What was read is held no longer: writers save half as many pages, and those go as soon as they were read.
        if let Some(offset) = PAGE.offset_of(first) {
            self.frozen.release_before(offset);
        }
    }

    fn changed(&self) -> Changed<'_> {
        let token = self.baseline.as_ref().map_or(&[][..], |token| &token.0);
        self.sealed
            .as_ref()
            .and_then(|sealed| sealed.since(token))
            .map_or(Changed::Unknown, Changed::Pages)
    }

    fn health(&self) -> Result<(), SnapshotError> {
        // Step 5: an image that could not be saved is said, not guessed around.
        if self.frozen.is_lost() {
            return Err(SnapshotError::Lost {
                object: "the store".into(),
                reason: "no room for a page".into(),
            });
        }
        Ok(())
    }

    fn finish(&mut self, outcome: Outcome) -> Result<Option<SnapshotToken>, SnapshotError> {
        self.health()?;
        let sealed = if outcome == Outcome::Committed { self.sealed.take() } else { None };
        Ok(sealed.map(|sealed| SnapshotToken(self.store.cow.dirty().commit(&sealed).to_vec())))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(sealed) = &self.sealed {
            self.store.cow.dirty().abort(sealed);
        }
    }
}

/// The conformance suite's view: each commit writes its number to slots all over the store.
struct Subjected(Arc<Store>, u64);

impl Subject for Subjected {
    fn engine(&self) -> Box<dyn Engine> {
        Box::new(StoreEngine(Arc::clone(&self.0)))
    }

    fn commit(&mut self) -> u64 {
        self.1 += 1;
        let change = |page: u64| (page, (self.1 as usize + page as usize) % SLOTS, self.1);
        self.0.commit(&(0..8 + self.1 % 5).map(change).collect::<Vec<_>>())
    }

    fn commit_of(&self, image: &[u8]) -> Result<u64, String> {
        let word = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().unwrap());
        let commit = word(0);
        for page in 0..8u64 {
            let slot = (commit as usize + page as usize) % SLOTS;
            let found = word(page as usize * PAGE.bytes() + 16 + slot * 8);
            if found != commit {
                return Err(format!("page {page} is of commit {found}, not {commit}"));
            }
        }
        Ok(commit)
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    check_engine(&mut Subjected(Arc::clone(&store), 0));
    println!("{} commits, every snapshot one moment", store.state.lock().unwrap().commits);
}

#[test]
fn passes_the_conformance_suite() {
    main();
}
