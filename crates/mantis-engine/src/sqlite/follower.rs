//! A database in WAL mode that is followed: between snapshots a read mark is held, so that every one of them knows which pages changed.
//!
//! # Why nothing is overwritten unseen
//! A guard is a read transaction: that of the last snapshot, which is kept when the snapshot ends.
//!
//! - Where its moment has frames that are not in the file, or its read mark is not 0, it keeps the WAL from being begun anew: what
//!   changed since is in the frames behind it ([`super::wal_mark`]).
//! - Where everything was in the file, SQLite may have given it mark 0. Then a writer may begin the WAL anew, once; but no checkpoint can
//!   write to the file, and a WAL of which something is not in the file cannot be begun anew. So what changed since is in all frames of
//!   the WAL as it is now.
//!
//! While a guard is held whose moment is all in the file, nothing of SQLite's writes to the file, so the time of its last change stays.
//! Where it does not, someone copied another database over it, which asks for no lock: that is a gap as well.
//!
//! All of that holds for the `-wal` and `-shm` files that are open: each time they are looked for by their names ([`super::beside`]).
//!
//! The salts and checksums are compared all the same. Where they do not fit, which they do not when another program let go of the locks
//! of this process, or the file was replaced, that is a gap: nothing is said to be known, and the next backup compares all pages.
//!
//! # Why the WAL stays bounded
//! A guard that stays keeps checkpoints from going past it, so that the WAL grows. [`Engine::relieve`] moves it: a guard of a later
//! moment is taken before the one in hand is let go of, and the pages that changed in between are noted, not their contents, which are
//! read with the next snapshot. Once a checkpoint has put the whole WAL into the file, a guard with mark 0 lets the next writer begin it anew.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mantis_page::PageSet;
use mantis_snapshot::{
    Engine, FreezeRequest, FrozenPages, Relief, SnapshotError, SnapshotToken, SourceInfo,
};
use rusqlite::Connection;

use super::at_rest::{AtRest, FollowedRest};
use super::beside::Beside;
use super::checkpointer::Checkpointer;
use super::connection::sqlite_error;
use super::followed_wal::FollowedWal;
use super::frozen_wal::read_moment;
use super::guard::{Guard, wal_len};
use super::live_file::has_moved;
use super::outside::{Begun, SqliteEngine, WalView};
use super::wal_index::WalMoment;
use crate::source_file::Stamp;

/// What is said of a gap.
const UNSEEN: &str = "the WAL was begun anew unseen, or the file replaced";
/// Snapshots since which changed pages are known: the one that was stored last, and some behind it that perhaps were.
const MARKS: usize = 4;
/// How long a guard of a later moment is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Checkpoints beside writers that are tried, one after another, before writers are asked to wait.
const TRIES: usize = 3;
/// Frames that are put into the file while writers wait, at most: as many as SQLite's own checkpoints usually are of, for which the writer
/// waits as well.
const LITTLE: u32 = 1000;
/// The WAL may be so many times as long as asked for before the database is let go of.
const TOO_LONG: u64 = 16;

/// What is known of the database since the guard's moment.
#[derive(Default)]
pub(super) struct Followed {
    guard: Option<Guard>,
    /// Snapshots, oldest first, each with the pages that changed from its moment to the guard's.
    marks: Vec<(SnapshotToken, PageSet)>,
    /// Which files `-wal` and `-shm` were when the first connection of those that are open opened them.
    beside: Option<Beside>,
    /// What it was like in rollback-journal mode when it was backed up last.
    pub(super) at_rest: Option<AtRest>,
    /// Snapshots that have not ended.
    pub(super) open: usize,
    gaps: u64,
}

impl Followed {
    fn carried(&self, token: &SnapshotToken) -> Option<&PageSet> {
        self.marks.iter().find(|(known, _)| known == token).map(|(_, pages)| pages)
    }

    fn is_too_long(&self, limit: u64) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.wal_len() > limit.saturating_mul(TOO_LONG))
    }

    fn gap(&mut self, object: &str, what: &str) {
        tracing::warn!(source = %object, "{what}: the next backup compares all pages");
        self.gaps += 1;
        self.marks.clear();
    }

    /// A snapshot ended, whose moment is the guard's.
    pub(super) fn note(&mut self, token: SnapshotToken) {
        self.marks.push((token, PageSet::new()));
        let old = self.marks.len().saturating_sub(MARKS);
        self.marks.drain(..old);
    }

    /// Lets go of a database whose `-wal` or `-shm` file is not the one that is open, or whose file was written to past SQLite's locks.
    fn check_files(&mut self, path: &Path) {
        let what = match (&self.guard, self.beside) {
            (Some(guard), Some(beside)) if beside.is_exchanged(&guard.connection, path) => {
                "its -wal or -shm file was removed or replaced"
            }
            (Some(guard), _) if Stamp::of(path).is_ok_and(|now| !guard.is_still(now)) => {
                "the file was written to past SQLite's locks"
            }
            (Some(_), _) => return,
            (None, _) => {
                self.note_files(None);
                return;
            }
        };
        // Only once the last connection is closed does SQLite open the files anew.
        self.let_go(path, what);
    }

    /// Ends the guard, after which nothing is known.
    fn let_go(&mut self, path: &Path, what: &str) {
        self.guard = None;
        self.note_files(None);
        self.gap(&path.display().to_string(), what);
    }

    /// Notes which files are beside the database, where no connection has them open from before.
    fn note_files(&mut self, now: Option<Beside>) {
        if self.guard.is_none() && self.open == 0 {
            self.beside = now;
        }
    }

    /// Puts a later guard in the place of the one in hand. `since`: the pages that changed in between.
    pub(super) fn advance(&mut self, guard: Guard, since: Option<&PageSet>) {
        match since {
            Some(pages) => self.marks.iter_mut().for_each(|(_, known)| known.union_with(pages)),
            None => self.marks.clear(),
        }
        self.guard = Some(guard);
    }
}

/// A SQLite database from outside that is backed up again and again. Held open from its first snapshot on.
///
/// Unlike [`SqliteEngine`], it may write: [`Engine::relieve`] has SQLite put the WAL into the database file, as the application's own
/// checkpoints do.
pub struct SqliteFollower {
    engine: SqliteEngine,
    state: Arc<Mutex<Followed>>,
}

impl std::fmt::Debug for SqliteFollower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteFollower").field("engine", &self.engine).finish_non_exhaustive()
    }
}

pub(super) fn locked(state: &Mutex<Followed>) -> MutexGuard<'_, Followed> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SqliteFollower {
    /// Follows a database.
    #[must_use]
    pub fn new(engine: SqliteEngine) -> Self {
        Self { engine, state: Arc::default() }
    }

    fn object(&self) -> String {
        self.engine.path().display().to_string()
    }

    /// Takes a guard of the moment that is now.
    fn move_on(&self, state: &mut Followed) -> Result<(), SnapshotError> {
        let deadline = Some(Instant::now() + PATIENCE);
        let request = FreezeRequest { deadline, patience: PATIENCE, ..FreezeRequest::default() };
        let Begun::Wal(connection, tidy) = self.engine.begin(&request)? else {
            state.let_go(self.engine.path(), "the database is not in WAL mode any more");
            return Ok(());
        };
        state.note_files(Some(Beside::now(self.engine.path())));
        let view = self.engine.wal_view(&connection)?;
        let since = self.since_guard(state, &view, &connection)?;
        if since.is_none() && !state.marks.is_empty() {
            state.gap(&self.object(), UNSEEN);
        }
        let guard = Guard { connection, view, _tidy: tidy };
        state.advance(guard, since.as_ref());
        Ok(())
    }

    /// The pages that changed since the guard's moment.
    fn since_guard(
        &self,
        state: &Followed,
        view: &WalView,
        connection: &Connection,
    ) -> Result<Option<PageSet>, SnapshotError> {
        let Some(guard) = &state.guard else { return Ok(None) };
        guard
            .changed_until(view, connection)
            .map_err(|error| sqlite_error("read the WAL of", self.engine.path(), error))
    }

    /// Has the WAL put into the file up to the guard's moment, and takes a later guard; whether all of the WAL was in the file then.
    fn checkpoint_and_move_on(
        &self,
        state: &mut Followed,
        checkpointer: &Checkpointer,
    ) -> Result<bool, SnapshotError> {
        if !checkpointer.checkpoint()? {
            // Whatever it has open, the guard has: only without either does SQLite open the files anew.
            state.let_go(self.engine.path(), "its -wal and -shm files do not belong together");
            return Ok(false);
        }
        self.move_on(state)?;
        Ok(state.guard.as_ref().is_none_or(|guard| guard.view.moment.is_in_file()))
    }

    fn put_into_file(&self, state: &mut Followed, limit: u64) -> Result<Relief, SnapshotError> {
        let checkpointer = Checkpointer::open(self.engine.path())?;
        // Writers that never pause always are some frames ahead. They may go on being so for a while, and are held only where little
        // is left to do.
        let may_hold = |guard: &Guard| {
            guard.wal_len() >= limit.saturating_mul(2) && guard.view.moment.not_in_file() <= LITTLE
        };
        // Each try has less to do than the one before, as it takes less time.
        for nth in 0..TRIES {
            if self.checkpoint_and_move_on(state, &checkpointer)? {
                return Ok(Relief { relieved: true, writers_held: Duration::ZERO });
            }
            if state.guard.is_none() {
                return Ok(Relief::default());
            }
            // The first try only moves a guard on that keeps checkpoints out.
            if nth > 0 && state.is_too_long(limit) {
                return Ok(Relief::default());
            }
        }
        if !state.guard.as_ref().is_some_and(may_hold) {
            return Ok(Relief::default());
        }
        let Some(held) = checkpointer.hold_writers()? else { return Ok(Relief::default()) };
        let relieved =
            self.move_on(state).and_then(|()| self.checkpoint_and_move_on(state, &checkpointer));
        let writers_held = held.release()?;
        Ok(Relief { relieved: relieved?, writers_held })
    }
}

impl Engine for SqliteFollower {
    fn info(&self) -> Result<SourceInfo, SnapshotError> {
        self.engine.info()
    }

    fn freeze(&self, request: &FreezeRequest) -> Result<Box<dyn FrozenPages>, SnapshotError> {
        let mut state = locked(&self.state);
        state.check_files(self.engine.path());
        state.at_rest = None;
        let (connection, tidy) = match self.engine.begin(request)? {
            Begun::Wal(connection, tidy) => (connection, tidy),
            begun => {
                state.guard = None;
                state.marks.clear();
                let at_rest = AtRest::during(&begun, self.engine.path());
                let (frozen, state) = (self.engine.freeze_begun(begun, request)?, &self.state);
                return Ok(Box::new(FollowedRest { frozen, at_rest, state: Arc::clone(state) }));
            }
        };
        state.note_files(Some(Beside::now(self.engine.path())));
        let view = self.engine.wal_view(&connection)?;
        let baseline = request.baseline.as_ref();
        let carried = baseline.and_then(|token| state.carried(token)).cloned();
        let (mut since_guard, mut mark) = (None, None);
        if carried.is_some() {
            since_guard = self.since_guard(&state, &view, &connection)?;
            if since_guard.is_none() {
                state.gap(&self.object(), UNSEEN);
            }
        } else {
            // What the token itself tells, as without a follower.
            mark = baseline.and_then(|token| view.mark(token));
        }
        let mut frozen = self.engine.freeze_wal(connection, view, mark, tidy)?;
        if let (Some(mut pages), Some(since)) = (carried, &since_guard) {
            pages.union_with(since);
            frozen.changed = Some(pages);
        }
        state.open += 1;
        drop(state);
        let (point, geometry) = (frozen.point.clone(), frozen.geometry);
        let state = Arc::clone(&self.state);
        Ok(Box::new(FollowedWal {
            point,
            geometry,
            view,
            frozen: Some(frozen),
            since_guard,
            state,
        }))
    }

    /// Nothing is built on it, so that what is idle is told by the one before.
    fn unstored(&self, token: Option<&SnapshotToken>) {
        let mut state = locked(&self.state);
        state.at_rest = None;
        if let Some(at) = state.marks.iter().rposition(|(known, _)| Some(known) == token) {
            state.marks.remove(at);
        }
    }

    fn is_idle(&self) -> Result<bool, SnapshotError> {
        let mut state = locked(&self.state);
        state.check_files(self.engine.path());
        if state.guard.is_none() && state.at_rest.is_some() {
            return Ok(state.at_rest == AtRest::of(self.engine.path()));
        }
        let (Some(guard), Some((_, changed))) = (&state.guard, state.marks.last()) else {
            return Ok(false);
        };
        let fail = |error| sqlite_error("look after", self.engine.path(), error);
        if !changed.is_empty() || has_moved(&guard.connection).map_err(fail)? {
            return Ok(false);
        }
        let now = read_moment(&guard.connection).map_err(fail)?;
        Ok(now.is_some_and(|now| now.is_same_commit(&guard.view.moment)))
    }

    fn relieve(&self, limit: u64) -> Result<Relief, SnapshotError> {
        let mut state = locked(&self.state);
        state.check_files(self.engine.path());
        let Some(guard) = state.guard.as_ref().filter(|_| state.open == 0) else {
            return Ok(Relief::default());
        };
        let fail = |error| sqlite_error("look after", self.engine.path(), error);
        let now = read_moment(&guard.connection).map_err(fail)?;
        let was = guard.view.moment;
        let frames = now.map_or(0, |now| now.last_frame.max(was.last_frame));
        // The application put the last frames into the file itself: with mark 0 the WAL can be begun anew, and who waits for that, as a
        // checkpoint of the kind TRUNCATE does, can go on.
        let put = |now: &WalMoment| now.is_in_file() && now.last_frame == was.last_frame;
        if !was.is_in_file() && now.as_ref().is_some_and(put) {
            self.move_on(&mut state)?;
            return Ok(Relief::default());
        }
        let Some(guard) = &state.guard else { return Ok(Relief::default()) };
        let len = wal_len(&guard.view, frames);
        // Nothing to be gained where all of it is in the file: the next writer begins it anew.
        if len <= limit || guard.view.moment.is_in_file() && now == Some(guard.view.moment) {
            return Ok(Relief::default());
        }
        let relief = self.put_into_file(&mut state, limit);
        if state.is_too_long(limit) && !matches!(&relief, Ok(Relief { relieved: true, .. })) {
            // The disk must not fill up for the sake of a backup.
            let what = "the WAL grows and cannot be put into the file, so it is let go of";
            state.let_go(self.engine.path(), what);
        }
        relief
    }

    fn gaps(&self) -> u64 {
        locked(&self.state).gaps
    }
}

#[cfg(test)]
#[path = "follower_tests.rs"]
mod tests;
