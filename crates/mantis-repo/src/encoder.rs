//! Digests to frames: the second half of the work on a run, and the one that fills the cores.

use mantis_page::{PageRange, PageRun, PageSet};
use mantis_stream::{Compression, Frame};

use crate::digest::{Digest, Held, Tally};
use crate::envelope::Envelope;
use crate::{PageHash, PageHasher, RepoError};

/// Bytes of pages in one frame. Measured: larger frames compress hardly better (2.25 times at 256 KiB
/// where 4 KiB give 1.94) and make reading one page dearer.
pub(crate) const FRAME_LEN: usize = 256 << 10;

/// Pages, encoded for their place in a segment.
#[derive(Debug)]
pub(crate) struct EncodedChunk {
    pub(crate) data: Vec<PageRange>,
    pub(crate) zero: Vec<PageRange>,
    /// The hash of every page in the frame.
    pub(crate) hashes: Vec<PageHash>,
    /// None where every page is zeros.
    pub(crate) frame: Option<Frame>,
    pub(crate) gained: Tally,
    pub(crate) lost: Tally,
}

/// How pages are looked at and encoded.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    pub(crate) hasher: PageHasher,
    pub(crate) compression: Compression,
    pub(crate) verify: bool,
}

impl Encoder {
    /// Cuts a run into pieces of at most a frame, and looks at each: with what the parent holds of the
    /// run's pages, at what changed, and what is to be stored `again`.
    pub(crate) fn digest(
        &self,
        run: &PageRun,
        parent: Option<&[Option<Held>]>,
        again: &PageSet,
    ) -> Result<Vec<Digest>, RepoError> {
        let size = run.page_size();
        let per_frame = (FRAME_LEN / size.bytes()).max(1) as u64;
        let mut digests = Vec::new();
        let mut at = 0;
        for range in run.range().split(per_frame) {
            let pages = range.len() as usize;
            let bytes = run.bytes().slice(at * size.bytes()..(at + pages) * size.bytes());
            let piece = PageRun::new(range.first(), size, bytes)
                .map_err(|error| RepoError::WrongPages { what: error.to_string() })?;
            let parent = parent.and_then(|parent| parent.get(at..at + pages));
            digests.push(Digest::of(&self.hasher, &piece, parent, again));
            at += pages;
        }
        Ok(digests)
    }

    /// Compresses and seals pages for the segment with this envelope.
    pub(crate) fn encode(
        &self,
        digest: Digest,
        segment: &Envelope,
    ) -> Result<EncodedChunk, RepoError> {
        let Digest { data, zero, hashes, bytes, gained, lost } = digest;
        let frame = match data.first() {
            None => None,
            Some(first) => {
                let place = (first.first().get(), false);
                Some(segment.encode(&bytes, self.compression, place, self.verify)?)
            }
        };
        Ok(EncodedChunk { data, zero, hashes, frame, gained, lost })
    }
}
