//! A live redb database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mantis_cow::Sealed;
use mantis_page::{Lsn, PageNo, PageSize};
use mantis_snapshot::{
    Changed, ConsistencyPoint, Engine, FreezeRequest, FreezeWay, FrozenPages, Geometry, Outcome,
    SnapshotError, SnapshotToken, SourceInfo, Taken,
};
use redb::Database;

use super::backend::{FLAGS_AT, Freeze, RECOVERY_REQUIRED, Shared, SnapshotBackend};
use super::content::{Content, Savepoints, savepoints_of};

/// A live redb database on a [`SnapshotBackend`].
///
/// A freeze makes one empty commit with `quick_repair` and holds still the moment at which it is
/// durable: exactly the last commit, and a file that opens without a repair. Where that commit cannot
/// be made, the freeze is at the boundary between two transactions, and the restored file is repaired
/// by redb when it is first opened for writing.
pub struct RedbEngine {
    name: String,
    database: Arc<Database>,
    backend: SnapshotBackend,
    timeline: [u8; 16],
}

impl std::fmt::Debug for RedbEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbEngine").field("name", &self.name).finish_non_exhaustive()
    }
}

impl RedbEngine {
    /// The database, and the backend that it was opened on. `name` is what people know it by.
    #[must_use]
    pub fn new(name: impl Into<String>, database: Arc<Database>, backend: SnapshotBackend) -> Self {
        use std::hash::{BuildHasher, Hasher};
        let random =
            || std::collections::hash_map::RandomState::new().build_hasher().finish().to_le_bytes();
        let mut timeline = [0; 16];
        timeline[..8].copy_from_slice(&random());
        timeline[8..].copy_from_slice(&random());
        Self { name: name.into(), database, backend, timeline }
    }

    fn clean_freeze(&self) -> Option<(Freeze, Option<Savepoints>)> {
        let shared = &self.backend.0;
        let mut empty = self.database.begin_write().ok()?;
        let savepoints = savepoints_of(&empty);
        // No commit is under way: the flags last written are those of the last commit.
        empty.set_quick_repair(true);
        if !shared.arm() {
            let _ = empty.abort();
            return None;
        }
        let committed = empty.commit();
        let frozen = shared.disarm();
        committed.ok()?;
        Some((frozen?.ok()?, savepoints))
    }

    fn boundary_freeze(&self) -> Result<(Freeze, Option<Savepoints>), SnapshotError> {
        let held = self.database.begin_write();
        let held = held
            .map_err(|error| SnapshotError::engine("begin a transaction in", &self.name, error))?;
        let savepoints = savepoints_of(&held);
        let frozen = self.backend.0.freeze();
        let _ = held.abort();
        let frozen = frozen.map_err(|error| SnapshotError::engine("freeze", &self.name, error));
        Ok((frozen?, savepoints))
    }

    /// What is committed now: of what is not durable an empty commit makes that, as a freeze does. Not told where a transaction is under way.
    fn content(&self) -> Option<Content> {
        let mut empty = self.database.try_begin_write().ok()?;
        let savepoints = savepoints_of(&empty);
        // Where the application's own commits spare it a repair after a crash, this one does not take that away.
        empty.set_quick_repair(true);
        empty.commit().ok()?;
        Content::new(self.backend.0.root(), savepoints)
    }
}

impl Engine for RedbEngine {
    fn info(&self) -> Result<SourceInfo, SnapshotError> {
        Ok(SourceInfo { engine: "redb".into(), object: self.name.clone(), knows_changes: true })
    }

    fn freeze(&self, request: &FreezeRequest) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        request.check("freeze", &self.name)?;
        // Before the writer is kept out, not while it is.
        self.backend.0.cow.prepare();
        let started = Instant::now();
        // The header must have been written once for its flags to be known: the first commit does.
        let clean = self.clean_freeze().or_else(|| self.clean_freeze());
        let is_clean = clean.is_some();
        let (freeze, savepoints) = match clean {
            Some(frozen) => frozen,
            None => self.boundary_freeze()?,
        };
        let point = ConsistencyPoint {
            lsn: Lsn::new(freeze.commits),
            timeline: self.timeline,
            way: FreezeWay::CopyOnWrite,
            writers_held: started.elapsed().min(Duration::from_secs(3600)),
        };
        Ok(Box::new(FrozenRedb {
            name: self.name.clone(),
            shared: Arc::clone(&self.backend.0),
            geometry: Geometry::of_file(PageSize::DEFAULT, freeze.file.len()),
            file: freeze.file,
            sealed: Some(freeze.sealed),
            baseline: request.baseline.clone(),
            point,
            clean: is_clean,
            content: Content::new(freeze.root, savepoints),
        }))
    }

    fn unstored(&self, _: Option<&SnapshotToken>) {
        self.backend.0.note_backed_up(None);
    }

    /// As a backup of an idle database would have, it makes an empty commit each time: what was committed without being durable is in no file.
    fn is_idle(&self) -> Result<bool, SnapshotError> {
        let shared = &self.backend.0;
        let Some(last) = shared.backed_up() else { return Ok(false) };
        // What is durable tells most of the time, and without a commit.
        Ok(last.has_root(shared.root()) && self.content().is_some_and(|now| now == last))
    }
}

struct FrozenRedb {
    name: String,
    shared: Arc<Shared>,
    file: mantis_cow::FrozenFile,
    geometry: Geometry,
    sealed: Option<Sealed>,
    baseline: Option<SnapshotToken>,
    point: ConsistencyPoint,
    clean: bool,
    content: Option<Content>,
}

impl FrozenPages for FrozenRedb {
    fn point(&self) -> &ConsistencyPoint {
        &self.point
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_pages(&self, first: PageNo, buf: &mut [u8]) -> Result<(), SnapshotError> {
        let read = |source: mantis_snapshot::BoxError| SnapshotError::Read {
            object: self.name.clone(),
            first,
            source,
        };
        let offset = self.geometry.page_size.offset_of(first);
        let offset = offset.filter(|offset| *offset < self.geometry.byte_len);
        let offset = offset.ok_or_else(|| read("past the end of the snapshot".into()))?;
        let there = (self.geometry.byte_len - offset).min(buf.len() as u64) as usize;
        if buf.len() - there >= self.geometry.page_size.bytes() {
            return Err(read("past the end of the snapshot".into()));
        }
        let (head, tail) = buf.split_at_mut(there);
        tail.fill(0);
        self.file.read_at(&*self.shared, offset, head).map_err(|error| read(error.into()))?;
        if self.clean
            && first == PageNo::FIRST
            && let Some(flags) = head.get_mut(FLAGS_AT as usize)
        {
            *flags &= !RECOVERY_REQUIRED;
        }
        Ok(())
    }

    fn taken(&self) -> Taken {
        self.file.taken()
    }

    fn release_before(&self, first: PageNo) {
        if let Some(offset) = self.geometry.page_size.offset_of(first) {
            self.file.release_before(offset);
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
        if self.file.is_lost() {
            let reason = "a before-image could not be saved (is the temporary folder full?)".into();
            return Err(SnapshotError::Lost { object: self.name.clone(), reason });
        }
        Ok(())
    }

    fn finish(&mut self, outcome: Outcome) -> Result<Option<SnapshotToken>, SnapshotError> {
        self.health()?;
        let sealed = if outcome == Outcome::Committed { self.sealed.take() } else { None };
        if sealed.is_some() {
            self.shared.note_backed_up(self.content.take());
        }
        Ok(sealed.map(|sealed| SnapshotToken(self.shared.cow.dirty().commit(&sealed).to_vec())))
    }
}

impl Drop for FrozenRedb {
    fn drop(&mut self) {
        if let Some(sealed) = &self.sealed {
            self.shared.cow.dirty().abort(sealed);
        }
    }
}
