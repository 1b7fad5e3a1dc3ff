//! Writing past the page cache (`O_DIRECT`): what is read again on another day, if ever, need not be copied into it, written back by
//! the kernel's own threads, and pushed out again. It saves the processor for compression, and the cache for the database.
//!
//! Where a file system wants another alignment, the same bytes go through the cache.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::Payload;

/// What addresses, lengths and offsets must be multiples of: the largest logical block in use. Whoever wants more says so, and gets
/// the bytes through the page cache.
const ALIGNED: usize = 4096;
/// Bytes written at once. Measured, 1 GiB uncompressed: 128 KiB take 1.0 s, 256 KiB to 512 KiB 0.87 s; 2 MiB no less, and 10 MiB more memory.
const STAGE: usize = 512 << 10;

/// Whether what is written to a file goes past the page cache.
fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    let flags = fcntl_getfl(file)?;
    Ok(fcntl_setfl(file, if direct { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT })?)
}

/// Writes all of it; past the page cache while `direct` is true, which it no longer is where that does not work.
fn write_all(file: &mut File, mut bytes: &[u8], direct: &mut bool) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if *direct && error.kind() == io::ErrorKind::InvalidInput => {
                *direct = false;
                set_direct(file, false)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes an object to a new file; `false`, and nothing is written, where the file system has no way past the cache. Nothing of it is durable
/// before the file is synced, as with any other write.
pub(crate) fn write(file: &mut File, payload: &Payload) -> io::Result<bool> {
    let mut direct = set_direct(file, true).is_ok();
    if !direct {
        return Ok(false);
    }
    let mut buffer = vec![0; STAGE + ALIGNED];
    let start = buffer.as_ptr().align_offset(ALIGNED).min(ALIGNED);
    let stage = &mut buffer[start..start + STAGE];
    let mut filled = 0;
    for piece in payload.pieces() {
        let mut piece = &piece[..];
        while !piece.is_empty() {
            let (now, rest) = piece.split_at(piece.len().min(STAGE - filled));
            stage[filled..filled + now.len()].copy_from_slice(now);
            (filled, piece) = (filled + now.len(), rest);
            if filled == STAGE {
                write_all(file, stage, &mut direct)?;
                filled = 0;
            }
        }
    }
    let (whole, end) = stage[..filled].split_at(filled - filled % ALIGNED);
    write_all(file, whole, &mut direct)?;
    if direct {
        set_direct(file, false)?;
    }
    write_all(file, end, &mut false)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn payload(lens: &[usize]) -> (Payload, Vec<u8>) {
        let mut all = Payload::new();
        let mut expected = Vec::new();
        for (number, len) in lens.iter().enumerate() {
            let piece: Vec<u8> = (0..*len).map(|at| (at * 7 + number) as u8).collect();
            expected.extend_from_slice(&piece);
            all.push(Bytes::from(piece));
        }
        (all, expected)
    }

    /// On a disk, where there is one beside this crate's build, rather than in memory.
    fn file() -> File {
        tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).or_else(|_| tempfile::tempfile()).unwrap()
    }

    fn content(mut file: File) -> Vec<u8> {
        let mut found = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut found).unwrap();
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_byte_arrives_in_its_place(
            lens in prop::collection::vec(prop_oneof![0usize..10_000, Just(ALIGNED), Just(STAGE), STAGE - 5000..STAGE + 5000], 0..6),
        ) {
            let (payload, expected) = payload(&lens);
            let mut direct = file();
            let written = write(&mut direct, &payload).unwrap();
            prop_assert!(!fcntl_getfl(&direct).unwrap().contains(OFlags::DIRECT));
            let expected = if written { expected } else { Vec::new() };
            prop_assert!(content(direct) == expected);
        }
    }

    #[test]
    fn what_cannot_go_past_the_cache_goes_through_it() {
        let (payload, expected) = payload(&[STAGE + 100, 5]);
        let mut file = file();
        // From an odd place on, no whole block can be written.
        file.write_all(b"x").unwrap();
        let written = write(&mut file, &payload).unwrap();
        assert!(content(file)[1..] == *if written { &expected[..] } else { &[] });
    }

    #[test]
    fn a_full_disk_is_told() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        for mut direct in [true, false] {
            let error = write_all(&mut full, &[0; STAGE], &mut direct).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }
}
