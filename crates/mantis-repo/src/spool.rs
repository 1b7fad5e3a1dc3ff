//! Where segments wait for a store that is slower than the source: a bounded file on the local disk.
//!
//! What is in it is as it will be stored: compressed, and sealed where the repository is encrypted. A source is held as long as it is
//! read, not as long as its pages are on their way; a source with a WAL keeps it short, one with before-images keeps fewer of them. The
//! file has no name: whatever becomes of this process, nothing of it stays. Nothing is synced, as a backup that is not committed is
//! worth nothing after a crash. What comes back is proved by its hash before it is sent.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use mantis_sink::Payload;

use crate::{ObjectHash, RepoError, SegmentRef};

/// A bounded file for what waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolOptions {
    /// The folder of the file, which gets no name there.
    pub folder: PathBuf,
    /// Bytes that wait at once, at most.
    pub limit: u64,
}

/// A segment that waits.
#[derive(Debug, Clone)]
struct Waiting {
    at: u64,
    reference: SegmentRef,
}

/// Segments that wait, the oldest first, one after another in a file whose end is followed by its begin.
#[derive(Debug)]
pub(crate) struct Spool {
    options: SpoolOptions,
    file: Option<File>,
    /// What could not be written once is not tried again.
    broken: bool,
    waiting: VecDeque<Waiting>,
}

/// Where `len` bytes have room, behind the newest of what waits, which goes from `oldest` to `newest`'s end and may go on at the file's
/// begin.
fn place(oldest: u64, newest: std::ops::Range<u64>, len: u64, limit: u64) -> Option<u64> {
    let fits = |at: u64, before: u64| at.checked_add(len).is_some_and(|end| end <= before);
    if newest.start < oldest {
        return fits(newest.end, oldest).then_some(newest.end);
    }
    if fits(newest.end, limit) {
        return Some(newest.end);
    }
    fits(0, oldest).then_some(0)
}

fn write(file: &File, mut at: u64, payload: &Payload) -> io::Result<()> {
    for piece in payload.pieces() {
        file.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(())
}

impl Spool {
    pub(crate) const fn new(options: SpoolOptions) -> Self {
        Self { options, file: None, broken: false, waiting: VecDeque::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn room_for(&self, len: u64) -> Option<u64> {
        let (Some(oldest), Some(newest)) = (self.waiting.front(), self.waiting.back()) else {
            return (len <= self.options.limit).then_some(0);
        };
        let end = newest.at + newest.reference.len;
        place(oldest.at, newest.at..end, len, self.options.limit)
    }

    fn write(&mut self, payload: &Payload, at: u64) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.options.folder)?,
        };
        let written = write(&file, at, payload);
        self.file = Some(file);
        written
    }

    /// Keeps a segment; `false` where there is no room for it now, or the disk does not take it. Blocks.
    pub(crate) fn keep(&mut self, payload: &Payload, reference: &SegmentRef) -> bool {
        if self.broken {
            return false;
        }
        let Some(at) = self.room_for(reference.len) else { return false };
        match self.write(payload, at) {
            Ok(()) => {
                self.waiting.push_back(Waiting { at, reference: reference.clone() });
                true
            }
            Err(error) => {
                let folder = self.options.folder.display();
                tracing::warn!(%folder, %error, "segments wait in memory: the source is held until the store has taken more of them");
                self.broken = true;
                // A disk that may be full gets back what it took of this one.
                if self.waiting.is_empty() {
                    self.file = None;
                }
                false
            }
        }
    }

    fn failed(&self, source: io::Error) -> RepoError {
        RepoError::Spool { folder: self.options.folder.display().to_string(), source }
    }

    fn read(&self, Waiting { at, reference }: Waiting) -> Result<(Payload, SegmentRef), RepoError> {
        let failed = |source| self.failed(source);
        let file = self.file.as_ref().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let len =
            usize::try_from(reference.len).map_err(|error| failed(io::Error::other(error)))?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, at).map_err(failed)?;
        if ObjectHash::of([&bytes[..]]) != reference.hash {
            return Err(failed(io::Error::other("it gave back other bytes than it was given")));
        }
        Ok((Bytes::from(bytes).into(), reference))
    }

    /// Takes the oldest one out, proved; none where none waits. Blocks.
    pub(crate) fn take(&mut self) -> Option<Result<(Payload, SegmentRef), RepoError>> {
        let oldest = self.waiting.pop_front()?;
        let read = self.read(oldest);
        // The next one begins in a file of its own: with this one goes what it took of the disk.
        if self.waiting.is_empty() {
            self.file = None;
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SessionId;

    fn segment(number: u8, len: usize) -> (Payload, SegmentRef) {
        let bytes = vec![number; len];
        let reference = SegmentRef {
            session: SessionId { sequence: 1, unique: [3; 16] },
            hash: ObjectHash::of([&bytes[..]]),
            len: len as u64,
            index_at: 0,
            index_len: 0,
            index_hash: ObjectHash([5; 32]),
            salt: ObjectHash([6; 32]),
            key: 0,
            first: 1,
            last: 1,
            pages: 1,
        };
        (bytes.into(), reference)
    }

    fn spool(limit: u64) -> (tempfile::TempDir, Spool) {
        let folder = tempfile::tempdir().unwrap();
        let options = SpoolOptions { folder: folder.path().to_owned(), limit };
        (folder, Spool::new(options))
    }

    proptest! {
        /// Whatever goes in and out: in its order, unchanged, and never more of the disk than the limit.
        #[test]
        fn what_goes_in_comes_out(
            steps in prop::collection::vec(prop::option::weighted(0.6, 1usize..40), 1..80),
            limit in 0u64..100,
        ) {
            let (_folder, mut spool) = spool(limit);
            let mut model: VecDeque<(u8, usize)> = VecDeque::new();
            for (number, step) in (0u8..).zip(steps) {
                match step {
                    Some(len) => {
                        let (payload, reference) = segment(number, len);
                        if spool.keep(&payload, &reference) {
                            model.push_back((number, len));
                        } else {
                            // What is free is in two pieces at most, and a third is lost at the file's end.
                            let used: usize = model.iter().map(|(_, len)| len).sum();
                            prop_assert!(used + 2 * len + 40 > limit as usize, "{used} + {len} of {limit}");
                        }
                        let taken = spool.file.as_ref().map_or(0, |file| file.metadata().unwrap().len());
                        prop_assert!(taken <= limit);
                    }
                    None => {
                        let taken = spool.take().map(|taken| taken.unwrap().0.to_bytes());
                        let expected = model.pop_front().map(|(number, len)| Bytes::from(vec![number; len]));
                        prop_assert_eq!(taken, expected);
                    }
                }
                prop_assert_eq!(spool.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn a_disk_that_lies_is_found_out_and_one_that_takes_nothing_is_left_alone() {
        let (folder, mut spool) = spool(1000);
        let (payload, reference) = segment(1, 100);
        assert!(spool.keep(&payload, &reference) && spool.keep(&payload, &reference));
        spool.file.as_ref().unwrap().write_all_at(b"x", 7).unwrap();
        let error = spool.take().unwrap().unwrap_err();
        assert!(matches!(error, RepoError::Spool { .. }), "{error}");
        spool.file.as_ref().unwrap().set_len(150).unwrap();
        assert!(spool.take().unwrap().is_err());
        assert!(spool.take().is_none());
        drop(folder);
        assert!(!spool.keep(&payload, &reference) && spool.broken);
        assert!(!spool.keep(&payload, &reference));
    }
}
