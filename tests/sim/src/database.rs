//! Live databases: what is written to them, and their moments.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mantis_cow::CowLimits;
use mantis_page::PageNo;
use mantis_sink::Chance;
use mantis_snapshot::{
    CancelFlag, Coordinator, MemoryEngine, Snapshot, SnapshotConfig, SnapshotError, SnapshotToken,
    WhenFull,
};

use crate::world::{SIZE, content};

/// Their names.
pub(crate) const NAMES: [&str; 2] = ["a", "b"];
/// Pages of the smallest, and of the largest.
const PAGES: (u64, u64) = (8, 90);
/// Before-images in memory, and in the spill file: where more is written while a snapshot lives, it is lost.
const LIMITS: CowLimits = CowLimits { memory: 4 * 512, spill: 4 * 512, spill_folder: None };

/// A database that somebody writes.
#[derive(Debug)]
pub(crate) struct Database {
    engine: MemoryEngine,
    coordinator: Coordinator,
    /// What its file holds now.
    image: Vec<u8>,
    /// The engine's tokens, by the number that a backup has for one: those of an engine are never the same twice, and a history is to be.
    tokens: BTreeMap<u64, SnapshotToken>,
}

pub(crate) type Databases = Arc<Mutex<Vec<Database>>>;

/// The databases as a history finds them.
pub(crate) fn all(chance: &mut Chance) -> Databases {
    let databases = NAMES.map(|_| {
        let image = content(chance.next(), 20 + chance.below(40));
        let (engine, coordinator) = process(&image);
        Database { engine, coordinator, image, tokens: BTreeMap::new() }
    });
    Arc::new(Mutex::new(databases.into()))
}

/// A process that has the database open: what changed before it, it does not know.
fn process(image: &[u8]) -> (MemoryEngine, Coordinator) {
    let engine = MemoryEngine::with_limits(SIZE, 0, LIMITS);
    engine.commit(|pages| {
        for (page, bytes) in (1..).zip(image.chunks(SIZE.bytes())) {
            pages.write(PageNo::new(page).unwrap(), bytes);
        }
    });
    let (max_concurrent, when_full) = (2, WhenFull::Refuse);
    let config = SnapshotConfig { max_concurrent, when_full, ..SnapshotConfig::default() };
    (engine, Coordinator::new(config))
}

impl Database {
    fn pages(&self) -> u64 {
        SIZE.pages_for(self.image.len() as u64)
    }

    /// A commit: some pages are written, now and then past the end; or some are cut off.
    pub(crate) fn commit(&mut self, chance: &mut Chance) {
        let pages = self.pages();
        if chance.of_thousand(50) {
            let left = pages - chance.below(pages / 4);
            if left >= PAGES.0 {
                self.engine.commit(|commit| commit.truncate(left));
                self.image.truncate(left as usize * SIZE.bytes());
            }
            return;
        }
        let end = if pages < PAGES.1 && chance.of_thousand(100) { pages + 3 } else { pages };
        let writes = 1 + chance.below(4);
        let writes: Vec<(u64, u8)> =
            (0..writes).map(|_| (chance.below(end), chance.below(256) as u8)).collect();
        self.engine.commit(|commit| {
            for (index, with) in &writes {
                commit.write(PageNo::from_index(*index).unwrap(), &vec![*with; SIZE.bytes()]);
            }
        });
        for (index, with) in writes {
            let at = index as usize * SIZE.bytes();
            let end = at + SIZE.bytes();
            if self.image.len() < end {
                self.image.resize(end, 0);
            }
            self.image[at..end].fill(with);
        }
    }

    /// Its process ends, and another one opens it; now and then it is another database altogether by then.
    pub(crate) fn restart(&mut self, chance: &mut Chance) {
        if chance.of_thousand(300) {
            self.image = content(chance.next(), 20 + chance.below(40));
        }
        (self.engine, self.coordinator) = process(&self.image);
    }

    /// A moment of it, and what its file holds then.
    pub(crate) fn freeze(
        &self,
        name: &str,
        baseline: Option<&[u8]>,
    ) -> Result<(Snapshot, Vec<u8>), SnapshotError> {
        let number = baseline.and_then(|token| token.try_into().ok()).map(u64::from_le_bytes);
        let baseline = number.and_then(|number| self.tokens.get(&number)).cloned();
        let snapshot = self.coordinator.begin(name, &self.engine, baseline, &CancelFlag::new())?;
        Ok((snapshot, self.image.clone()))
    }

    /// What a backup has for a token of the engine.
    pub(crate) fn remember(&mut self, token: SnapshotToken) -> Vec<u8> {
        let number = self.tokens.len() as u64;
        self.tokens.insert(number, token);
        number.to_le_bytes().to_vec()
    }

    /// Whether somebody holds a moment of it.
    pub(crate) fn is_held(&self) -> bool {
        self.engine.open_snapshots() > 0
    }
}
