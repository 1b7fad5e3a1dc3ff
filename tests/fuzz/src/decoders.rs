//! Decoders of bytes.

use bytes::Bytes;
use mantis_engine::sqlite::fuzzing as sqlite;
use mantis_repo::fuzzing;
use mantis_stream::{CodecRegistry, decode_frame};

/// The most that a codec is asked for.
const MAX_CHUNK: usize = 1 << 22;

/// A frame; and a codec's own bytes, which no checksum stands before.
pub(crate) fn frame(bytes: &[u8]) {
    let codecs = CodecRegistry::builtin();
    if let Ok((chunk, len)) = decode_frame(codecs, &Bytes::copy_from_slice(bytes), b"place", None) {
        assert!(len <= bytes.len() && chunk.len() <= mantis_stream::MAX_CHUNK_LEN);
    }
    if let [codec, a, b, c, rest @ ..] = bytes
        && let Some(codec) = codecs.get(codec % 8)
    {
        let len = u32::from_le_bytes([*a, *b, *c, 0]) as usize % MAX_CHUNK;
        if let Ok(chunk) = codec.decompress(rest, len) {
            // One more than asked for is how a codec tells that there is more.
            assert!(chunk.len() <= len + 1, "a codec gave out more than it was asked for");
        }
    }
}

pub(crate) fn object(bytes: &[u8]) {
    if let Some((kind, bytes)) = bytes.split_first() {
        fuzzing::object(*kind, &Bytes::copy_from_slice(bytes));
    }
}

pub(crate) fn chunk(bytes: &[u8]) {
    if let Some((kind, bytes)) = bytes.split_first() {
        fuzzing::chunk(*kind, &Bytes::copy_from_slice(bytes));
    }
}

pub(crate) fn index(bytes: &[u8]) {
    fuzzing::index(bytes);
}

pub(crate) fn wal(bytes: &[u8]) {
    sqlite::header(bytes);
    if let Some((mend, bytes)) = bytes.split_first() {
        sqlite::wal(bytes, mend & 1 == 1);
    }
}
