//! A snapshot of a database that is followed.

use std::sync::{Arc, Mutex};

use mantis_page::{PageNo, PageSet};
use mantis_snapshot::{
    Changed, ConsistencyPoint, FrozenPages, Geometry, Outcome, SnapshotError, SnapshotToken,
};

use super::follower::{Followed, locked};
use super::frozen_wal::FrozenWal;
use super::guard::Guard;
use super::outside::WalView;
use super::wal_mark::WalMark;

/// A snapshot whose read transaction becomes the guard.
pub(super) struct FollowedWal {
    pub(super) point: ConsistencyPoint,
    pub(super) geometry: Geometry,
    pub(super) view: WalView,
    /// None once it has ended.
    pub(super) frozen: Option<FrozenWal>,
    /// The pages that changed since the guard's moment, where that is known.
    pub(super) since_guard: Option<PageSet>,
    pub(super) state: Arc<Mutex<Followed>>,
}

impl FollowedWal {
    fn frozen(&self) -> Result<&FrozenWal, SnapshotError> {
        self.frozen.as_ref().ok_or(SnapshotError::Cancelled)
    }
}

impl FrozenPages for FollowedWal {
    fn point(&self) -> &ConsistencyPoint {
        &self.point
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_pages(&self, first: PageNo, buf: &mut [u8]) -> Result<(), SnapshotError> {
        self.frozen()?.read_pages(first, buf)
    }

    fn changed(&self) -> Changed<'_> {
        self.frozen.as_ref().map_or(Changed::Unknown, FrozenWal::changed)
    }

    fn health(&self) -> Result<(), SnapshotError> {
        self.frozen()?.health()
    }

    fn finish(&mut self, outcome: Outcome) -> Result<Option<SnapshotToken>, SnapshotError> {
        let Some(mut frozen) = self.frozen.take() else { return Err(SnapshotError::Cancelled) };
        let mut state = locked(&self.state);
        state.open -= 1;
        frozen.health()?;
        if outcome != Outcome::Committed {
            return Ok(None);
        }
        let (view, tidy) = (self.view, frozen.tidy.take());
        let Some(connection) = frozen.take_connection() else { return Ok(None) };
        let token = WalMark::at(&view.moment, view.stamp.identity, view.page_size).to_token();
        let guard = Guard { connection, view, _tidy: tidy };
        state.advance(guard, self.since_guard.as_ref());
        state.note(token.clone());
        Ok(Some(token))
    }
}

impl Drop for FollowedWal {
    fn drop(&mut self) {
        if self.frozen.take().is_some() {
            locked(&self.state).open -= 1;
        }
    }
}
