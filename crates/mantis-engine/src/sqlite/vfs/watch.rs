//! Whether every change of a database was ours: a state machine over what locks show.
//!
//! Whoever writes a WAL takes its write lock, and whoever checkpoints it the checkpoint lock. When one
//! of our connections takes one, the wal-index must say what it said when the last of ours let go of it;
//! if it says more, another process was at work in between. The same with the change counter in
//! rollback-journal mode. At any other time the two are compared by whoever asks.

use crate::sqlite::wal_index::WalMoment;

/// What of the WAL only a writer changes.
type Written = (u32, [u32; 2], [u32; 2]);

const fn written(moment: &WalMoment) -> Written {
    (moment.last_frame, moment.checksum, moment.salts)
}

/// What our connections left, and whether anyone else was seen.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    wal: Option<Written>,
    backfilled: Option<u32>,
    /// What a checkpoint of ours left of the new WAL, while the writer of ours that began it is at work.
    backfilled_anew: u32,
    /// The WAL was begun anew, by a writer of ours at work, before the checkpoint of ours that is at work.
    anew_first: bool,
    counter: Option<u32>,
    writing: bool,
    checkpointing: bool,
    foreign: bool,
}

impl Watch {
    /// Whether the WAL was begun anew since one of ours told of it last.
    fn is_anew(&self, moment: &WalMoment) -> bool {
        self.wal.is_some_and(|(_, _, salts)| salts != moment.salts)
    }

    fn compare(&mut self, moment: &WalMoment) {
        if !self.writing && self.wal.is_some_and(|left| left != written(moment)) {
            self.foreign = true;
        }
        if !self.checkpointing
            && !self.is_anew(moment)
            && self.backfilled.is_some_and(|left| left != moment.backfilled)
        {
            self.foreign = true;
        }
    }

    /// One of ours took the WAL's write lock.
    pub(crate) fn write_begins(&mut self, moment: &WalMoment) {
        self.compare(moment);
        self.wal = Some(written(moment));
        self.backfilled.get_or_insert(moment.backfilled);
        self.backfilled_anew = 0;
        self.writing = true;
    }

    /// One of ours is about to let go of the WAL's write lock.
    pub(crate) fn write_ends(&mut self, moment: &WalMoment) {
        if self.is_anew(moment) {
            // Only a WAL that is in the file whole can be begun anew: if we did not bring it there,
            // someone else did.
            let last_frame = self.wal.map_or(0, |(last_frame, ..)| last_frame);
            if !self.checkpointing && self.backfilled.is_some_and(|left| left < last_frame) {
                self.foreign = true;
            }
            self.backfilled = Some(self.backfilled_anew);
        }
        self.wal = Some(written(moment));
        self.writing = false;
    }

    /// One of ours took the checkpoint lock.
    pub(crate) fn checkpoint_begins(&mut self, moment: &WalMoment) {
        self.compare(moment);
        self.anew_first = self.writing && self.is_anew(moment);
        self.checkpointing = true;
    }

    /// One of ours is about to let go of the checkpoint lock.
    pub(crate) fn checkpoint_ends(&mut self, moment: &WalMoment) {
        if self.writing && self.is_anew(moment) {
            // Of the old WAL there is no more to be seen. If it was there when this checkpoint began, it was
            // this one, perhaps, that brought the rest of it to the file.
            if !self.anew_first {
                self.backfilled = self.wal.map(|(last_frame, ..)| last_frame);
            }
            self.backfilled_anew = moment.backfilled;
        } else {
            self.backfilled = Some(moment.backfilled);
        }
        if !self.writing {
            self.wal = Some(written(moment));
        }
        self.checkpointing = false;
    }

    /// Looks at the WAL at any time.
    pub(crate) fn look(&mut self, moment: &WalMoment) {
        self.compare(moment);
    }

    /// One of ours took the right to write the file, in rollback-journal mode.
    pub(crate) fn file_write_begins(&mut self, counter: u32) {
        self.look_at_counter(counter);
        self.writing = true;
    }

    /// One of ours is about to give up the right to write the file.
    pub(crate) fn file_write_ends(&mut self, counter: u32) {
        self.counter = Some(counter);
        self.writing = false;
    }

    /// Looks at the change counter at any time.
    pub(crate) fn look_at_counter(&mut self, counter: u32) {
        if !self.writing && self.counter.is_some_and(|left| left != counter) {
            self.foreign = true;
        }
        self.counter.get_or_insert(counter);
    }

    /// Whether anyone else was seen.
    pub(crate) const fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Someone else was at work: what is there now is what is compared with from here on.
    pub(crate) fn start_anew(&mut self) {
        *self =
            Self { writing: self.writing, checkpointing: self.checkpointing, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(last_frame: u32, salt: u32, backfilled: u32) -> WalMoment {
        WalMoment {
            last_frame,
            page_count: 9,
            page_size: None,
            checksum: [last_frame * 7, salt],
            salts: [salt, 1],
            backfilled,
        }
    }

    fn ours(watch: &mut Watch, before: &WalMoment, after: &WalMoment) {
        watch.write_begins(before);
        watch.write_ends(after);
    }

    #[test]
    fn our_own_work_raises_no_alarm() {
        let mut watch = Watch::default();
        ours(&mut watch, &moment(0, 5, 0), &moment(3, 5, 0));
        watch.checkpoint_begins(&moment(3, 5, 0));
        ours(&mut watch, &moment(3, 5, 0), &moment(4, 5, 2));
        watch.checkpoint_ends(&moment(4, 5, 3));
        watch.look(&moment(4, 5, 3));
        watch.checkpoint_begins(&moment(4, 5, 3));
        watch.checkpoint_ends(&moment(4, 5, 4));
        ours(&mut watch, &moment(4, 5, 4), &moment(2, 6, 0));
        watch.look(&moment(2, 6, 0));
        assert!(!watch.is_foreign());
    }

    #[test]
    fn a_checkpoint_beside_the_writer_that_begins_the_wal_anew_raises_no_alarm() {
        let begun = || {
            let mut watch = Watch::default();
            ours(&mut watch, &moment(0, 5, 0), &moment(4, 5, 0));
            watch
        };
        // The whole checkpoint falls between the new beginning and the commit, or after the commit.
        for (inside, left) in [(moment(0, 6, 0), 0), (moment(2, 6, 2), 2)] {
            let mut watch = begun();
            watch.checkpoint_begins(&moment(4, 5, 0));
            watch.checkpoint_ends(&moment(4, 5, 4));
            watch.write_begins(&moment(4, 5, 4));
            watch.checkpoint_begins(&moment(0, 6, 0));
            watch.checkpoint_ends(&inside);
            watch.look(&inside);
            watch.write_ends(&moment(2, 6, left));
            watch.look(&moment(2, 6, left));
            ours(&mut watch, &moment(2, 6, left), &moment(3, 6, left));
            assert!(!watch.is_foreign());
        }
        // It brings the rest to the file, and is at work still when the WAL is begun anew.
        let mut watch = begun();
        watch.checkpoint_begins(&moment(4, 5, 0));
        watch.write_begins(&moment(4, 5, 4));
        watch.checkpoint_ends(&moment(0, 6, 0));
        watch.write_ends(&moment(1, 6, 0));
        watch.look(&moment(1, 6, 0));
        assert!(!watch.is_foreign());
        // The same, but a stranger brought the rest to the file, before ours.
        let mut watch = begun();
        watch.write_begins(&moment(4, 5, 0));
        watch.checkpoint_begins(&moment(0, 6, 0));
        watch.checkpoint_ends(&moment(0, 6, 0));
        watch.write_ends(&moment(1, 6, 0));
        assert!(watch.is_foreign());
    }

    #[test]
    fn a_foreign_commit_is_seen_at_our_next_one_or_when_asked() {
        let mut watch = Watch::default();
        ours(&mut watch, &moment(0, 5, 0), &moment(3, 5, 0));
        watch.write_begins(&moment(4, 5, 0));
        assert!(watch.is_foreign());
        watch.write_ends(&moment(5, 5, 0));
        watch.start_anew();
        watch.look(&moment(5, 5, 0));
        assert!(!watch.is_foreign());
        let mut watch = Watch::default();
        ours(&mut watch, &moment(0, 5, 0), &moment(3, 5, 0));
        watch.look(&moment(4, 5, 0));
        assert!(watch.is_foreign());
    }

    #[test]
    fn a_foreign_checkpoint_is_seen_even_if_we_begin_the_wal_anew_after_it() {
        let mut watch = Watch::default();
        ours(&mut watch, &moment(0, 5, 0), &moment(3, 5, 0));
        watch.look(&moment(3, 5, 3));
        assert!(watch.is_foreign());
        let mut watch = Watch::default();
        ours(&mut watch, &moment(0, 5, 0), &moment(3, 5, 0));
        watch.write_begins(&moment(3, 5, 3));
        watch.write_ends(&moment(1, 6, 0));
        assert!(watch.is_foreign());
    }

    #[test]
    fn a_foreign_commit_in_rollback_mode_is_seen() {
        let mut watch = Watch::default();
        watch.file_write_begins(7);
        watch.file_write_ends(8);
        watch.look_at_counter(8);
        assert!(!watch.is_foreign());
        watch.file_write_begins(9);
        assert!(watch.is_foreign());
    }
}
