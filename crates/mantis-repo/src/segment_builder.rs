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
use mantis_stream::Compression;

use crate::digest::extend;
use crate::encoder::EncodedChunk;
use crate::envelope::{Envelope, push_frame};
use crate::segment_index::{FrameRef, SegmentIndex};
use crate::{ObjectHash, RepoError, SegmentRef, SessionId};

/// The length of a segment's footer in bytes.
pub(crate) const FOOTER_LEN: usize = 32;
/// The last four bytes of a segment.
pub(crate) const FOOTER_MAGIC: &[u8; 4] = b"MNTE";

/// A segment that is being filled.
#[derive(Debug)]
pub(crate) struct SegmentBuilder {
    pub(crate) envelope: Arc<Envelope>,
    payload: Payload,
    pub(crate) index: SegmentIndex,
}

impl SegmentBuilder {
    pub(crate) fn new(envelope: Arc<Envelope>, page_size: PageSize) -> Self {
        let payload = Payload::from(envelope.header.bytes());
        let index =
            SegmentIndex { page_size, zero: vec![], data: vec![], frames: vec![], hashes: vec![] };
        Self { envelope, payload, index }
    }

    /// Adds a chunk; chunks come in the order of their pages.
    pub(crate) fn push(&mut self, chunk: EncodedChunk) {
        let add = |to: &mut Vec<PageRange>, ranges: Vec<PageRange>| {
            ranges.into_iter().for_each(|range| extend(to, range));
        };
        add(&mut self.index.data, chunk.data);
        add(&mut self.index.zero, chunk.zero);
        if let Some(frame) = chunk.frame {
            let pages = chunk.hashes.len() as u32;
            self.index.frames.push(FrameRef { len: frame.len() as u32, pages });
            push_frame(&mut self.payload, &frame);
        }
        self.index.hashes.extend(chunk.hashes);
    }

    /// Ends the segment: its bytes and what a manifest says of it. Reads every byte once, to hash it.
    pub(crate) fn finish(self, session: SessionId) -> Result<(Payload, SegmentRef), RepoError> {
        let Self { envelope, mut payload, index } = self;
        let none = || RepoError::WrongPages { what: "a segment without pages".into() };
        let (first, last) = index.bounds().ok_or_else(none)?;
        let pages = index.pages();
        let index_at = payload.len();
        let chunk = Bytes::from(index.to_bytes());
        let frame = envelope.encode(&chunk, Compression::Zstd(3), (0, true), true)?;
        push_frame(&mut payload, &frame);
        let mut footer = Vec::with_capacity(FOOTER_LEN);
        footer.extend_from_slice(&index_at.to_le_bytes());
        footer.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        footer.extend_from_slice(&(index.frames.len() as u32).to_le_bytes());
        footer.extend_from_slice(&pages.to_le_bytes());
        let sum = footer_sum(&envelope.header.bytes(), &footer);
        footer.extend_from_slice(&sum.to_le_bytes());
        footer.extend_from_slice(FOOTER_MAGIC);
        payload.push(footer);
        let reference = SegmentRef {
            session,
            hash: ObjectHash::of(payload.pieces().iter().map(|piece| &piece[..])),
            len: payload.len(),
            index_at,
            index_len: frame.len() as u32,
            index_hash: ObjectHash::of([&frame.header()[..], &frame.payload()[..]]),
            salt: ObjectHash(envelope.header.salt()),
            key: envelope.header.generation(),
            first,
            last,
            pages,
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
