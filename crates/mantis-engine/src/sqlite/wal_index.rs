//! The header of the wal-index: where the WAL ends for a reader that begins now.
//!
//! Layout as in SQLite's "WAL-mode File Format", section 2: two copies of 48 bytes, each with a
//! checksum over its first 40, in the machine's byte order; then the checkpoint information.

use mantis_page::PageSize;

use super::header::stored_page_size;
use super::live_file::WAL_INDEX_LEN;

/// Bytes of each of the two copies of the header.
pub(crate) const HEADER_LEN: usize = 48;

impl WalMoment {
    /// Whether both see the same last commit. That more of the WAL is in the file changes nothing.
    pub(crate) fn is_same_commit(&self, other: &Self) -> bool {
        let of = |moment: &Self| (moment.last_frame, moment.salts, moment.checksum);
        of(self) == of(other)
    }
}

/// A moment of the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WalMoment {
    /// The last frame of the last commit; 0: the WAL holds nothing.
    pub(crate) last_frame: u32,
    /// The number of pages after that commit; 0 where the WAL holds nothing.
    pub(crate) page_count: u32,
    pub(crate) page_size: Option<PageSize>,
    /// The cumulative checksum of the last frame.
    pub(crate) checksum: [u32; 2],
    /// What the WAL's header and all its frames carry.
    pub(crate) salts: [u32; 2],
    /// Frames that are in the database file already.
    pub(crate) backfilled: u32,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// A salt: the four bytes as they stand in the WAL's header.
fn salt(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// SQLite's WAL checksum over words in the machine's order.
fn checksum(bytes: &[u8]) -> [u32; 2] {
    let (mut s0, mut s1) = (0u32, 0u32);
    for pair in bytes.chunks_exact(8) {
        s0 = s0.wrapping_add(word(pair, 0)).wrapping_add(s1);
        s1 = s1.wrapping_add(word(pair, 4)).wrapping_add(s0);
    }
    [s0, s1]
}

impl WalMoment {
    /// Reads a moment; `None` while someone is writing the header, or where its format is unknown.
    pub(crate) fn read(bytes: &[u8; WAL_INDEX_LEN]) -> Option<Self> {
        let (first, second) = (&bytes[..HEADER_LEN], &bytes[HEADER_LEN..2 * HEADER_LEN]);
        let initialised = first[12] == 1;
        if first != second || !initialised || word(first, 0) != 3_007_000 {
            return None;
        }
        if checksum(&first[..40]) != [word(first, 40), word(first, 44)] {
            return None;
        }
        let size = u16::from_ne_bytes([first[14], first[15]]);
        Some(Self {
            last_frame: word(first, 16),
            page_count: word(first, 20),
            page_size: stored_page_size(size),
            checksum: [word(first, 24), word(first, 28)],
            salts: [salt(first, 32), salt(first, 36)],
            backfilled: word(bytes, 96),
        })
    }

    /// Whether every frame is in the database file already: the file alone is the moment then, and a
    /// writer may begin the WAL anew at any time.
    pub(crate) const fn is_in_file(&self) -> bool {
        self.backfilled >= self.last_frame
    }

    /// How many frames are not in the database file yet.
    pub(crate) const fn not_in_file(&self) -> u32 {
        self.last_frame.saturating_sub(self.backfilled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> [u8; WAL_INDEX_LEN] {
        let mut header = [0u8; 48];
        header[..4].copy_from_slice(&3_007_000u32.to_ne_bytes());
        header[12] = 1;
        header[14..16].copy_from_slice(&1u16.to_ne_bytes());
        header[16..20].copy_from_slice(&9u32.to_ne_bytes());
        header[20..24].copy_from_slice(&5u32.to_ne_bytes());
        let [s0, s1] = checksum(&header[..40]);
        header[40..44].copy_from_slice(&s0.to_ne_bytes());
        header[44..].copy_from_slice(&s1.to_ne_bytes());
        let mut bytes = [0; WAL_INDEX_LEN];
        bytes[..48].copy_from_slice(&header);
        bytes[48..96].copy_from_slice(&header);
        bytes[96..100].copy_from_slice(&8u32.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_torn_header_is_not_believed() {
        let whole = index();
        let moment = WalMoment::read(&whole).unwrap();
        assert_eq!((moment.last_frame, moment.page_count, moment.backfilled), (9, 5, 8));
        assert_eq!(moment.page_size, Some(PageSize::MAX));
        assert!(!moment.is_in_file());
        for at in 0..96 {
            let mut torn = whole;
            torn[at] ^= 1;
            assert_eq!(WalMoment::read(&torn), None, "byte {at}");
        }
    }
}
