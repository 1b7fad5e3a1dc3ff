//! A place in one life of a WAL, kept with a backup: which pages changed since is in the frames behind it.
//!
//! # Why that is exact
//! The WAL's checksum is cumulative: a WAL that has the mark's salts, and at the mark's frame the mark's
//! checksum, begins with the very frames that were there at the mark. What a reader sees at the end of frame
//! `n` is the file with frames 1 to `n` over it, whatever checkpoints copied into the file meanwhile; so between
//! the mark and a later frame nothing changed but the pages of the frames in between. A WAL that was begun anew
//! has other salts, and then nothing is known.

use mantis_page::{PageNo, PageSet, PageSize};
use mantis_snapshot::SnapshotToken;

use super::header::u32_at;
use super::wal_index::WalMoment;
use crate::source_file::Identity;

/// The first bytes of a token: what it is, and its version.
const MAGIC: &[u8; 4] = b"WAL1";
const TOKEN_LEN: usize = 4 + 16 + 4 * 6;

/// A place in one life of a WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WalMark {
    pub(crate) identity: Identity,
    pub(crate) page_size: PageSize,
    pub(crate) salts: [u32; 2],
    pub(crate) frame: u32,
    pub(crate) checksum: [u32; 2],
}

impl WalMark {
    /// The mark of a moment; none where the WAL holds nothing.
    pub(crate) fn of(moment: &WalMoment, identity: Identity, page_size: PageSize) -> Option<Self> {
        Some(Self::at(moment, identity, page_size)).filter(|mark| mark.frame > 0)
    }

    /// The mark of a moment; one of frame 0, where the WAL holds nothing, is of use only to who held the moment since.
    pub(crate) fn at(moment: &WalMoment, identity: Identity, page_size: PageSize) -> Self {
        let WalMoment { salts, last_frame: frame, checksum, .. } = *moment;
        Self { identity, page_size, salts, frame, checksum }
    }

    pub(crate) fn to_token(self) -> SnapshotToken {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.identity.0.to_be_bytes());
        bytes.extend_from_slice(&self.identity.1.to_be_bytes());
        let [salt_0, salt_1] = self.salts;
        let [sum_0, sum_1] = self.checksum;
        for word in [self.page_size.get(), salt_0, salt_1, self.frame, sum_0, sum_1] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        SnapshotToken(bytes)
    }

    /// Reads a token; none where it is another engine's, or of another time.
    pub(crate) fn from_token(token: &SnapshotToken) -> Option<Self> {
        let bytes = &token.0[..];
        if bytes.len() != TOKEN_LEN || !bytes.starts_with(MAGIC) {
            return None;
        }
        let long = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let word = |at: usize| u32_at(bytes, at);
        let mark = Self {
            identity: (long(4)?, long(12)?),
            page_size: PageSize::new(word(20)?.into()).ok()?,
            salts: [word(24)?, word(28)?],
            frame: word(32)?,
            checksum: [word(36)?, word(40)?],
        };
        (mark.frame > 0).then_some(mark)
    }

    /// Whether a moment of a file may be a later one of the same life of its WAL.
    pub(crate) fn may_precede(
        &self,
        moment: &WalMoment,
        identity: Identity,
        page_size: PageSize,
    ) -> bool {
        self.identity == identity
            && self.page_size == page_size
            && self.salts == moment.salts
            && self.frame <= moment.last_frame
    }
}

/// Collects the pages of the frames behind a mark whose checksum is the WAL's at its frame, during a scan that proves the frames.
#[derive(Debug)]
pub(crate) struct Since {
    mark: WalMark,
    pages: PageSet,
}

impl Since {
    pub(crate) const fn new(mark: WalMark) -> Self {
        Self { mark, pages: PageSet::new() }
    }

    /// A frame was scanned.
    pub(crate) fn see(&mut self, frame: u32, page: u32) {
        if frame > self.mark.frame
            && let Some(page) = PageNo::new(page.into())
        {
            self.pages.insert(page);
        }
    }

    /// The pages.
    pub(crate) fn pages(self) -> PageSet {
        self.pages
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tokens_come_back_and_others_are_refused(
            identity: (u64, u64), salts: [u32; 2], frame in 1u32.., checksum: [u32; 2], cut in 0usize..44,
        ) {
            let mark = WalMark { identity, page_size: PageSize::MIN, salts, frame, checksum };
            let token = mark.to_token();
            prop_assert_eq!(WalMark::from_token(&token), Some(mark));
            prop_assert_eq!(WalMark::from_token(&SnapshotToken(token.0[..cut].to_vec())), None);
        }

        #[test]
        fn hostile_tokens_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = WalMark::from_token(&SnapshotToken(bytes));
        }
    }
}
