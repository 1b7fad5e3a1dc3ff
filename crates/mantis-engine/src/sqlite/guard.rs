//! A read transaction that is kept between two backups, so that nothing in the WAL after its moment is overwritten unseen.

use mantis_page::PageSet;
use rusqlite::Connection;

use super::live_file::Handle;
use super::outside::WalView;
use super::tidy::Tidy;
use super::wal_changes::pages_behind;
use super::wal_index::WalMoment;
use super::wal_mark::WalMark;
use super::wal_scan::{FRAME_HEADER_LEN, WAL_HEADER_LEN};
use crate::source_file::Stamp;

/// A read transaction that is kept.
pub(super) struct Guard {
    pub(super) connection: Connection,
    pub(super) view: WalView,
    /// Removes what opening the database left beside it, once the connection is closed.
    pub(super) _tidy: Option<Tidy>,
}

impl Guard {
    /// The WAL's length that its moment tells, in bytes.
    pub(super) fn wal_len(&self) -> u64 {
        wal_len(&self.view, self.view.moment.last_frame)
    }

    /// The pages that changed from its moment to a later one, which another read transaction sees; none where that cannot be told.
    pub(super) fn changed_until(
        &self,
        later: &WalView,
        connection: &Connection,
    ) -> Result<Option<PageSet>, rusqlite::Error> {
        let Some(mark) = self.mark(later) else { return Ok(None) };
        let log = Handle::log(connection);
        // Without a frame there may be no WAL at all.
        pages_behind(&mark, &later.moment, later.page_size, |offset, buf| match &log {
            Ok(log) => log.read_at(offset, buf),
            Err(_) => Err(rusqlite::Error::InvalidQuery),
        })
    }

    /// Whether the file is what it was, as far as that can be told: while the moment's frames are put into it, it changes.
    pub(super) fn is_still(&self, now: Stamp) -> bool {
        now == self.view.stamp || !self.view.moment.is_in_file()
    }

    /// Where in the WAL of a later moment the frames begin that came after this one's; none where that cannot be told.
    fn mark(&self, later: &WalView) -> Option<WalMark> {
        if !self.is_still(later.stamp) {
            return None;
        }
        let (old, new, identity) = (&self.view.moment, &later.moment, later.stamp.identity);
        let mark = WalMark::at(old, self.view.stamp.identity, self.view.page_size);
        if mark.may_precede(new, identity, later.page_size) {
            return Some(mark);
        }
        let same = identity == self.view.stamp.identity && later.page_size == self.view.page_size;
        // A WAL that never held a frame has no salts yet; one that is begun anew counts the first of them up.
        let anew = old.last_frame == 0 || new.salts[0] == old.salts[0].wrapping_add(1);
        let WalMoment { salts, checksum, .. } = *new;
        let mark = WalMark { identity, page_size: later.page_size, salts, frame: 0, checksum };
        (same && old.is_in_file() && anew && new.backfilled == 0).then_some(mark)
    }
}

/// The length of a WAL with so many frames, in bytes.
pub(super) fn wal_len(view: &WalView, frames: u32) -> u64 {
    let frame = u64::from(view.page_size.get()) + FRAME_HEADER_LEN as u64;
    WAL_HEADER_LEN as u64 + u64::from(frames) * frame
}
