//! Puts encoded chunks together to a segment.
//!
//! A segment: header, data frames, index frame, and a footer of 32 bytes:
//!
//! | offset | bytes | |
//! | --- | --- | --- |
//! | 0 | 8 | where the index frame begins, little-endian |
//! | 8 | 4 | the length of the index frame, little-endian |
//! | 12 | 4 | number of data frames, little-endian |
//! | 16 | 8 | number of pages, zero pages included, little-endian |
//! | 24 | 4 | CRC-32 of the header and bytes 0..24 of the footer, little-endian |
//! | 28 | 4 | `MNTE` |

use std::sync::Arc;

use bytes::Bytes;
use mantis_page::{PageRange, PageSize};
use mantis_sink::Payload;
use mantis_stream::{CodecRegistry, Compression, encode_frame};

use crate::encoder::{EncodedChunk, extend};
use crate::envelope::{Header, push_frame};
use crate::segment_index::{FrameRef, SegmentIndex};
use crate::{ObjectHash, RepoError, SegmentRef};

/// The length of a segment's footer in bytes.
pub(crate) const FOOTER_LEN: usize = 32;
/// The last four bytes of a segment.
pub(crate) const FOOTER_MAGIC: &[u8; 4] = b"MNTE";

/// A segment that is being filled.
#[derive(Debug)]
pub(crate) struct SegmentBuilder {
    pub(crate) header: Arc<Header>,
    payload: Payload,
    index: SegmentIndex,
}

impl SegmentBuilder {
    pub(crate) fn new(header: Arc<Header>, page_size: PageSize) -> Self {
        let payload = Payload::from(header.bytes());
        let index =
            SegmentIndex { page_size, zero: vec![], data: vec![], frames: vec![], hashes: vec![] };
        Self { header, payload, index }
    }

    /// Adds a chunk; chunks come in the order of their pages.
    pub(crate) fn push(&mut self, chunk: EncodedChunk) {
        let add = |to: &mut Vec<PageRange>, ranges: Vec<PageRange>| {
            ranges.into_iter().for_each(|range| extend(to, range));
        };
        add(&mut self.index.data, chunk.data);
        add(&mut self.index.zero, chunk.zero);
        self.index
            .hashes
            .extend(chunk.hashes.iter().filter(|(_, blank)| !blank).map(|(hash, _)| *hash));
        if let Some(frame) = chunk.frame {
            self.index.frames.push(FrameRef { len: frame.len() as u32, pages: chunk.pages });
            push_frame(&mut self.payload, &frame);
        }
    }

    /// Ends the segment: its bytes and what a manifest says of it. Reads every byte once, to hash it.
    pub(crate) fn finish(self) -> Result<(Payload, SegmentRef), RepoError> {
        let Self { header, mut payload, index } = self;
        let pages = |ranges: &[PageRange]| ranges.iter().map(|range| range.len()).sum::<u64>();
        let count = pages(&index.data) + pages(&index.zero);
        let index_at = payload.len();
        let chunk = Bytes::from(index.to_bytes());
        let frame = encode_frame(
            CodecRegistry::builtin(),
            &chunk,
            Compression::Zstd(3),
            &header.context(0, true),
            true,
        )?;
        push_frame(&mut payload, &frame);
        let mut footer = Vec::with_capacity(FOOTER_LEN);
        footer.extend_from_slice(&index_at.to_le_bytes());
        footer.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        footer.extend_from_slice(&(index.frames.len() as u32).to_le_bytes());
        footer.extend_from_slice(&count.to_le_bytes());
        let sum = footer_sum(&header.bytes(), &footer);
        footer.extend_from_slice(&sum.to_le_bytes());
        footer.extend_from_slice(FOOTER_MAGIC);
        payload.push(footer);
        let reference = SegmentRef {
            hash: ObjectHash::of(payload.pieces().iter().map(|piece| &piece[..])),
            len: payload.len(),
            index_at,
            index_len: frame.len() as u32,
            index_hash: ObjectHash::of([&frame.header()[..], &frame.payload()[..]]),
        };
        Ok((payload, reference))
    }
}

/// The checksum in a footer.
pub(crate) fn footer_sum(header: &[u8], fields: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(fields);
    hasher.finalize()
}
