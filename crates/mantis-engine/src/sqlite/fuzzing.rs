//! Decoders as functions of bytes, for fuzz targets, and for nothing else.

use mantis_page::PageNo;
use mantis_snapshot::SnapshotToken;

use super::header::{Header, u32_at};
use super::live_file::WAL_INDEX_LEN;
use super::wal_index::WalMoment;
use super::wal_mark::{Since, WalMark};
use super::wal_scan::{FRAME_HEADER_LEN, WAL_HEADER_LEN, WalMap};

/// Reads bytes as the beginning of a database.
pub fn header(bytes: &[u8]) {
    if let Some(header) = Header::read(bytes) {
        let _ = header.pages(bytes.len() as u64);
    }
}

/// Reads bytes as a wal-index, a token of an earlier backup, and a WAL, one after the other. With `mend` the checksums, salts and lengths
/// are made to agree, as a hostile writer makes them.
pub fn wal(bytes: &[u8], mend: bool) {
    let Some((index, rest)) = bytes.split_first_chunk::<WAL_INDEX_LEN>() else { return };
    let (token, wal) = rest.split_at(rest.len().min(44));
    let mut wal = wal.to_vec();
    let mark = WalMark::from_token(&SnapshotToken(token.to_vec()));
    let moment = if mend { mended(index, &mut wal) } else { WalMoment::read(index) };
    let Some(moment) = moment else { return };
    let page_size = moment.page_size.unwrap_or(mantis_page::PageSize::MIN);
    let read = |offset: u64, out: &mut [u8]| {
        let from = usize::try_from(offset).map_err(|_| ())?;
        let end = from.checked_add(out.len()).ok_or(())?;
        out.copy_from_slice(wal.get(from..end).ok_or(())?);
        Ok::<(), ()>(())
    };
    let mark = mark.filter(|mark| mark.may_precede(&moment, mark.identity, page_size));
    let mut since = mark.map(Since::new);
    let from = [0, moment.backfilled, mark.map_or(0, |mark| mark.frame)];
    for from in from.into_iter().filter(|from| *from <= moment.last_frame) {
        if let Ok(Ok(map)) = WalMap::scan(from, &moment, page_size, since.as_mut(), read) {
            let _ = (map.is_empty(), map.range(PageNo::FIRST, u64::MAX).len());
        }
    }
    let _ = since.map(Since::pages);
}

/// The moment of a WAL whose header and frames are given the checksums and salts that SQLite would.
fn mended(index: &[u8; WAL_INDEX_LEN], wal: &mut [u8]) -> Option<WalMoment> {
    let sizes = [512u64, 1024, 4096, 65536];
    let page_size =
        mantis_page::PageSize::new(*sizes.get(usize::from(index[0]) % sizes.len())?).ok()?;
    let (header, frames) = wal.split_at_mut_checked(WAL_HEADER_LEN)?;
    header[..4].copy_from_slice(&(0x377F_0682u32 | u32::from(index[1] & 1)).to_be_bytes());
    let big_endian = header[3] & 1 == 1;
    let mut sums = [0u32; 2];
    let mut add = |bytes: &[u8]| {
        for pair in bytes.chunks_exact(8) {
            let word = |at: usize| {
                let word = u32_at(pair, at).unwrap_or(0);
                if big_endian { word } else { word.swap_bytes() }
            };
            sums[0] = sums[0].wrapping_add(word(0)).wrapping_add(sums[1]);
            sums[1] = sums[1].wrapping_add(word(4)).wrapping_add(sums[0]);
        }
        sums
    };
    let put = |at: &mut [u8], sums: [u32; 2]| {
        at[..4].copy_from_slice(&sums[0].to_be_bytes());
        at[4..8].copy_from_slice(&sums[1].to_be_bytes());
    };
    let checksum = add(&header[..24]);
    put(&mut header[24..], checksum);
    let salts = [u32_at(header, 16)?, u32_at(header, 20)?];
    let (mut last_frame, mut checksum) = (0, [0, 0]);
    for frame in frames.chunks_exact_mut(page_size.bytes() + FRAME_HEADER_LEN) {
        put(&mut frame[8..], salts);
        add(&frame[..8]);
        checksum = add(&frame[FRAME_HEADER_LEN..]);
        put(&mut frame[16..], checksum);
        last_frame += 1;
    }
    let page_count = u32_at(index, 4)?;
    let backfilled = u32_at(index, 8)?;
    Some(WalMoment {
        last_frame,
        page_count,
        page_size: Some(page_size),
        checksum,
        salts,
        backfilled,
    })
}
