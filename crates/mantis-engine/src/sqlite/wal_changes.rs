//! Which pages the frames behind a mark hold, told from their headers.
//!
//! Whether the frames are what was written is not asked: what is read of them is proved when a snapshot reads it ([`super::wal_scan`]). That
//! they are the frames that came behind the mark is: by their salts, by the checksum that the mark's frame has, which is of all frames up to
//! it, and by that of the last one, which the wal-index has too. So a WAL that is written as fast as its checksums can be worked out is
//! followed all the same.

use mantis_page::{PageNo, PageSet, PageSize};

use super::header::u32_at;
use super::wal_index::WalMoment;
use super::wal_mark::WalMark;
use super::wal_scan::{FRAME_HEADER_LEN, WAL_HEADER_LEN, frame_page_offset, header_salts, sums_at};

/// Bytes read at once.
const BATCH_LEN: usize = 256 << 10;

/// The pages of the frames behind a mark, up to a moment's last one; none where any doubt is left. A mark of frame 0 means all of them.
pub(crate) fn pages_behind<E>(
    mark: &WalMark,
    moment: &WalMoment,
    page_size: PageSize,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Option<PageSet>, E> {
    let mut pages = PageSet::new();
    if mark.salts != moment.salts || mark.frame > moment.last_frame {
        return Ok(None);
    }
    if mark.frame == moment.last_frame {
        return Ok((mark.checksum == moment.checksum).then_some(pages));
    }
    let mut header = [0; WAL_HEADER_LEN];
    read(0, &mut header)?;
    if header_salts(&header) != Some(moment.salts) {
        return Ok(None);
    }
    if mark.frame > 0
        && sums_at(mark.frame, moment.salts, page_size, &mut read)? != Ok(mark.checksum)
    {
        return Ok(None);
    }
    let frame_len = page_size.bytes() + FRAME_HEADER_LEN;
    let per_batch = (BATCH_LEN / frame_len).max(1) as u32;
    let mut buf = vec![0; per_batch as usize * frame_len];
    let (mut next, mut sums) = (mark.frame.saturating_add(1), [None; 2]);
    while next <= moment.last_frame {
        let count = per_batch.min(moment.last_frame - next + 1);
        // Of the last frame the header is enough.
        let len = count as usize * frame_len - page_size.bytes();
        let batch = &mut buf[..len];
        read(frame_page_offset(next, page_size) - FRAME_HEADER_LEN as u64, batch)?;
        for frame in batch.chunks(frame_len) {
            if [u32_at(frame, 8), u32_at(frame, 12)] != moment.salts.map(Some) {
                return Ok(None);
            }
            let Some(page) = u32_at(frame, 0).and_then(|page| PageNo::new(page.into())) else {
                return Ok(None);
            };
            pages.insert(page);
            sums = [u32_at(frame, 16), u32_at(frame, 20)];
        }
        next += count;
    }
    Ok((sums == moment.checksum.map(Some)).then_some(pages))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: PageSize = PageSize::MIN;
    const SALTS: [u32; 2] = [7, 9];

    /// A WAL of frames of these pages, the checksum of each being its number, and the moment at its end.
    fn wal(pages: &[u32]) -> (Vec<u8>, WalMoment) {
        let mut bytes = vec![0; WAL_HEADER_LEN];
        bytes[..4].copy_from_slice(&0x377F_0682u32.to_be_bytes());
        bytes[16..20].copy_from_slice(&SALTS[0].to_be_bytes());
        bytes[20..24].copy_from_slice(&SALTS[1].to_be_bytes());
        for (page, number) in pages.iter().zip(1u32..) {
            for word in [*page, 0, SALTS[0], SALTS[1], number, number] {
                bytes.extend_from_slice(&word.to_be_bytes());
            }
            bytes.resize(bytes.len() + SIZE.bytes(), 0);
        }
        let last = pages.len() as u32;
        let moment = WalMoment {
            last_frame: last,
            page_count: 9,
            page_size: Some(SIZE),
            checksum: [last; 2],
            salts: SALTS,
            backfilled: 0,
        };
        (bytes, moment)
    }

    fn mark(frame: u32) -> WalMark {
        WalMark { identity: (1, 2), page_size: SIZE, salts: SALTS, frame, checksum: [frame; 2] }
    }

    fn found(bytes: &[u8], mark: &WalMark, moment: &WalMoment) -> Option<Vec<u64>> {
        let read = |offset: u64, buf: &mut [u8]| -> Result<(), ()> {
            let from = bytes.get(offset as usize..).unwrap_or_default();
            let len = from.len().min(buf.len());
            buf[..len].copy_from_slice(&from[..len]);
            buf[len..].fill(0);
            Ok(())
        };
        let pages = pages_behind(mark, moment, SIZE, read).unwrap();
        pages.map(|pages| pages.pages().map(PageNo::get).collect())
    }

    proptest! {
        #[test]
        fn all_pages_behind_a_mark_are_told(pages in prop::collection::vec(1u32..50, 1..1500), at in 0usize..1500) {
            let (bytes, moment) = wal(&pages);
            let at = at.min(pages.len());
            let mut wanted: Vec<u64> = pages[at..].iter().map(|page| u64::from(*page)).collect();
            wanted.sort_unstable();
            wanted.dedup();
            let mut mark = mark(at as u32);
            if at == pages.len() {
                mark.checksum = moment.checksum;
            }
            prop_assert_eq!(found(&bytes, &mark, &moment), Some(wanted));
        }

        /// Another life of the WAL, a frame that was overwritten, a hole, an end that is another one: nothing is told.
        #[test]
        fn any_doubt_tells_nothing(pages in prop::collection::vec(1u32..50, 2..300), at in 0usize..300, byte in 8usize..16) {
            let (bytes, moment) = wal(&pages);
            let at = at % (pages.len() - 1);
            let mut other = bytes.clone();
            let frame = WAL_HEADER_LEN + (at + 1) * (FRAME_HEADER_LEN + SIZE.bytes());
            other[frame + byte] ^= 1;
            prop_assert_eq!(found(&other, &mark(at as u32), &moment), None);
            other[frame..frame + 4].fill(0);
            prop_assert_eq!(found(&other, &mark(at as u32), &moment), None);
            let ended = WalMoment { checksum: [1000; 2], ..moment };
            prop_assert_eq!(found(&bytes, &mark(at as u32), &ended), None);
            let anew = WalMoment { salts: [8, 9], ..moment };
            prop_assert_eq!(found(&bytes, &mark(at as u32), &anew), None);
            let wrong = WalMark { checksum: [1000; 2], ..mark(at as u32 + 1) };
            prop_assert_eq!(found(&bytes, &wrong, &moment), None);
        }
    }
}
