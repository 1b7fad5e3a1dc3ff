//! Which page is in which frame of a WAL, up to one commit.
//!
//! Layout and checksum as in SQLite's "WAL-mode File Format", section 1: a header of 32 bytes, then
//! frames of a header of 24 bytes and a page. The checksum is cumulative from the first frame on, so
//! that its value at the last frame proves all of them.

use mantis_page::{PageNo, PageSize};

use super::header::u32_at;
use super::wal_index::WalMoment;
use super::wal_mark::Since;

/// The length of the WAL's header in bytes.
pub(crate) const WAL_HEADER_LEN: usize = 32;
/// The length of a frame's header in bytes.
pub(crate) const FRAME_HEADER_LEN: usize = 24;
/// Bytes read at once.
const BATCH_LEN: usize = 1 << 20;

/// The WAL is not what the wal-index says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScanFault {
    /// Someone began the WAL anew.
    Restarted,
    /// A checksum or a length does not match.
    Damaged(&'static str),
}

/// The pages of a WAL, each in the last frame that holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WalMap {
    /// Ascending by page.
    frames: Vec<(u32, u32)>,
}

fn add(sums: &mut [u32; 2], bytes: &[u8], big_endian: bool) {
    for pair in bytes.chunks_exact(8) {
        let word = |at: usize| {
            let bytes =
                pair.get(at..at + 4).and_then(|word| word.try_into().ok()).unwrap_or([0; 4]);
            if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        sums[0] = sums[0].wrapping_add(word(0)).wrapping_add(sums[1]);
        sums[1] = sums[1].wrapping_add(word(4)).wrapping_add(sums[0]);
    }
}

/// The salts in a WAL's header, or `None` where it is none.
pub(crate) fn header_salts(header: &[u8]) -> Option<[u32; 2]> {
    let magic = u32_at(header, 0)?;
    (magic & !1 == 0x377F_0682).then_some([u32_at(header, 16)?, u32_at(header, 20)?])
}

/// Where a frame's page begins in the WAL, in bytes; frames are counted from 1.
pub(crate) fn frame_page_offset(frame: u32, page_size: PageSize) -> u64 {
    let frame_len = u64::from(page_size.get()) + FRAME_HEADER_LEN as u64;
    WAL_HEADER_LEN as u64 + (u64::from(frame) - 1) * frame_len + FRAME_HEADER_LEN as u64
}

/// The cumulative checksum at the end of a frame, as the frame itself says.
pub(crate) fn sums_at<E>(
    frame: u32,
    salts: [u32; 2],
    page_size: PageSize,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Result<[u32; 2], ScanFault>, E> {
    let mut header = [0; FRAME_HEADER_LEN];
    read(frame_page_offset(frame, page_size) - FRAME_HEADER_LEN as u64, &mut header)?;
    let word = |at| u32_at(&header, at).unwrap_or(0);
    let ours = [word(8), word(12)] == salts;
    Ok(ours.then_some([word(16), word(20)]).ok_or(ScanFault::Restarted))
}

impl WalMap {
    /// Scans the frames behind frame `from` (0: all) up to the moment's last one; `since` sees each. Their checksums prove them: each
    /// adds to the one before, from what frame `from` says of itself to what the wal-index says of the last.
    pub(crate) fn scan<E>(
        from: u32,
        moment: &WalMoment,
        page_size: PageSize,
        mut since: Option<&mut Since>,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Result<Self, ScanFault>, E> {
        let mut header = [0; WAL_HEADER_LEN];
        read(0, &mut header)?;
        if header_salts(&header) != Some(moment.salts) {
            return Ok(Err(ScanFault::Restarted));
        }
        let big_endian = header[3] & 1 == 1;
        let mut sums = [0; 2];
        add(&mut sums, &header[..24], big_endian);
        if u32_at(&header, 24) != Some(sums[0]) || u32_at(&header, 28) != Some(sums[1]) {
            return Ok(Err(ScanFault::Damaged("the checksum of its header")));
        }
        let mut next = 1;
        if from > 0 {
            sums = match sums_at(from, moment.salts, page_size, &mut read)? {
                Ok(sums) => sums,
                Err(fault) => return Ok(Err(fault)),
            };
            next = from.saturating_add(1);
        }
        let frame_len = page_size.bytes() + FRAME_HEADER_LEN;
        let per_batch = (BATCH_LEN / frame_len).max(1) as u32;
        let mut buf = vec![0; per_batch as usize * frame_len];
        let mut frames = Vec::new();
        while next <= moment.last_frame {
            let count = per_batch.min(moment.last_frame - next + 1);
            let batch = &mut buf[..count as usize * frame_len];
            read(frame_page_offset(next, page_size) - FRAME_HEADER_LEN as u64, batch)?;
            for (frame, number) in batch.chunks_exact(frame_len).zip(next..) {
                if [u32_at(frame, 8), u32_at(frame, 12)] != moment.salts.map(Some) {
                    return Ok(Err(ScanFault::Restarted));
                }
                add(&mut sums, &frame[..8], big_endian);
                add(&mut sums, &frame[FRAME_HEADER_LEN..], big_endian);
                if [u32_at(frame, 16), u32_at(frame, 20)] != sums.map(Some) {
                    return Ok(Err(ScanFault::Damaged("the checksum of a frame")));
                }
                let page = u32_at(frame, 0).unwrap_or(0);
                frames.push((page, number));
                if let Some(since) = &mut since {
                    since.see(number, page);
                }
            }
            next += count;
        }
        if sums != moment.checksum {
            return Ok(Err(ScanFault::Damaged("the checksum of its last commit")));
        }
        // Of several frames of one page the last one counts.
        frames.sort_unstable_by_key(|(page, frame)| (*page, std::cmp::Reverse(*frame)));
        frames.dedup_by_key(|(page, _)| *page);
        Ok(Ok(Self { frames }))
    }

    /// Whether no page is in the WAL.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The pages from `first` on, fewer than `count` further, each with its frame.
    pub(crate) fn range(&self, first: PageNo, count: u64) -> &[(u32, u32)] {
        let start = self.frames.partition_point(|(page, _)| u64::from(*page) < first.get());
        let end = first.get().saturating_add(count);
        let len = self.frames[start..].partition_point(|(page, _)| u64::from(*page) < end);
        &self.frames[start..start + len]
    }
}
