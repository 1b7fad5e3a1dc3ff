//! The layout of a frame.
//!
//! | offset | bytes | |
//! | --- | --- | --- |
//! | 0 | 4 | length of the payload as stored, little-endian |
//! | 4 | 4 | length of the chunk, little-endian |
//! | 8 | 1 | codec: 0 none, 1 lz4 (block), 2 zstd, 3 gzip |
//! | 9 | 1 | cipher: 0 none, 1 AES-256-GCM |
//! | 10 | 2 | flags, zero |
//! | 12 | 4 | CRC-32 (IEEE) of bytes 0..12, the caller's context, and the payload |
//! | 16 | … | payload |
//!
//! A sealed payload is the ciphertext and its tag; bytes 0..12 and the context are authenticated with
//! it. The checksum covers the sealed bytes, so that damage is told from a wrong key.

use bytes::{BufMut, Bytes};

use crate::{CodecRegistry, Compression, FrameCipher, StreamError};

/// The length of a frame's header in bytes.
pub const FRAME_HEADER_LEN: usize = 16;
/// The largest chunk, in bytes: a reader allocates no more, whatever a frame says.
pub const MAX_CHUNK_LEN: usize = 64 << 20;

const CODEC_NONE: u8 = 0;

/// One chunk, ready to be stored: header and payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    header: [u8; FRAME_HEADER_LEN],
    payload: Bytes,
}

impl Frame {
    /// The header.
    #[must_use]
    pub fn header(&self) -> Bytes {
        Bytes::copy_from_slice(&self.header)
    }

    /// The payload; for an uncompressed chunk the chunk's own bytes, not a copy.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The length of header and payload in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a frame has a header at least")]
    pub fn len(&self) -> usize {
        FRAME_HEADER_LEN + self.payload.len()
    }

    /// Header and payload in one piece.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.header[..], &self.payload].concat()
    }
}

fn checksum(fields: &[u8], context: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(fields);
    hasher.update(context);
    hasher.update(payload);
    hasher.finalize()
}

/// How a frame is sealed: the cipher with its key, and a nonce that this key never meets again.
#[derive(Clone, Copy)]
pub struct Seal<'a> {
    /// The cipher.
    pub cipher: &'a dyn FrameCipher,
    /// The nonce.
    pub nonce: [u8; 12],
}

impl std::fmt::Debug for Seal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(..)")
    }
}

/// Makes a frame of a chunk. A chunk that does not shrink is stored as it is. `context` binds the
/// frame to its place: only a reader that gives the same bytes can open it. With `check`, what was
/// compressed is decompressed again and compared before it is let out. With `seal`, it is encrypted.
///
/// # Errors
/// [`StreamError::TooLarge`], [`StreamError::Codec`], [`StreamError::SelfCheck`],
/// [`StreamError::Cipher`].
///
/// ```
/// use bytes::Bytes;
/// use mantis_stream::{CodecRegistry, Compression, decode_frame, encode_frame};
/// let chunk = Bytes::from(vec![7; 4096]);
/// let codecs = CodecRegistry::builtin();
/// let frame = encode_frame(codecs, &chunk, Compression::Zstd(1), b"place 1", true, None)?;
/// let bytes = Bytes::from(frame.to_bytes());
/// assert_eq!(decode_frame(codecs, &bytes, b"place 1", None)?, (chunk, frame.len()));
/// assert!(decode_frame(codecs, &bytes, b"place 2", None).is_err());
/// # Ok::<(), mantis_stream::StreamError>(())
/// ```
pub fn encode_frame(
    codecs: &CodecRegistry,
    chunk: &Bytes,
    compression: Compression,
    context: &[u8],
    check: bool,
    seal: Option<Seal<'_>>,
) -> Result<Frame, StreamError> {
    if chunk.len() > MAX_CHUNK_LEN {
        return Err(StreamError::TooLarge { len: chunk.len() as u64, max: MAX_CHUNK_LEN as u64 });
    }
    let (mut codec_id, mut payload) = (CODEC_NONE, chunk.clone());
    if compression != Compression::None {
        let id = compression.codec_id();
        let codec = codecs.get(id).ok_or(StreamError::UnknownCodec { id })?;
        let fail = |doing| {
            let codec = codec.name();
            move |source| StreamError::Codec { codec, doing, source }
        };
        let stored =
            codec.compress(chunk, compression.level()).map_err(fail("compress a chunk"))?;
        if stored.len() < chunk.len() {
            if check && !codec.undoes(&stored, chunk) {
                return Err(StreamError::SelfCheck);
            }
            (codec_id, payload) = (id, Bytes::from(stored));
        }
    }
    let tag_len = seal.map_or(0, |seal| seal.cipher.tag_len());
    let mut header = [0; FRAME_HEADER_LEN];
    let mut fields = &mut header[..12];
    fields.put_u32_le((payload.len() + tag_len) as u32);
    fields.put_u32_le(chunk.len() as u32);
    fields.put_u8(codec_id);
    fields.put_u8(seal.map_or(0, |seal| seal.cipher.id()));
    if let Some(Seal { cipher, nonce }) = seal {
        let mut sealed = Vec::with_capacity(payload.len() + tag_len);
        sealed.extend_from_slice(&payload);
        cipher.seal(nonce, &[&header[..12], context].concat(), &mut sealed)?;
        payload = sealed.into();
    }
    let sum = checksum(&header[..12], context, &payload);
    header[12..].copy_from_slice(&sum.to_le_bytes());
    Ok(Frame { header, payload })
}

fn field(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Opens the frame at the start of `bytes`: its chunk, and how many bytes the frame has. The checksum
/// is checked before anything else is believed. With `seal`, only a frame that was sealed so opens;
/// without, only one that was not sealed.
///
/// # Errors
/// What is wrong with the frame.
pub fn decode_frame(
    codecs: &CodecRegistry,
    bytes: &Bytes,
    context: &[u8],
    seal: Option<Seal<'_>>,
) -> Result<(Bytes, usize), StreamError> {
    let short = |need| StreamError::CutShort { have: bytes.len(), need };
    let header = bytes.get(..FRAME_HEADER_LEN).ok_or(short(FRAME_HEADER_LEN))?;
    let read = |at| field(header, at).ok_or(short(FRAME_HEADER_LEN));
    let (stored_len, chunk_len, expected) = (read(0)? as usize, read(4)? as usize, read(12)?);
    for len in [stored_len, chunk_len] {
        if len > MAX_CHUNK_LEN {
            return Err(StreamError::TooLarge { len: len as u64, max: MAX_CHUNK_LEN as u64 });
        }
    }
    let end = FRAME_HEADER_LEN + stored_len;
    if bytes.len() < end {
        return Err(short(end));
    }
    let payload = bytes.slice(FRAME_HEADER_LEN..end);
    let found = checksum(&header[..12], context, &payload);
    if found != expected {
        return Err(StreamError::Checksum { expected, found });
    }
    if header[9] != seal.map_or(0, |seal| seal.cipher.id()) {
        return Err(StreamError::UnknownCipher { id: header[9] });
    }
    if header[10..12] != [0, 0] {
        return Err(StreamError::UnknownFlags);
    }
    let payload = match seal {
        None => payload,
        Some(Seal { cipher, nonce }) => {
            let mut opened = payload.to_vec();
            cipher.open(nonce, &[&header[..12], context].concat(), &mut opened)?;
            opened.into()
        }
    };
    let chunk = match header[8] {
        CODEC_NONE => payload,
        id => {
            let codec = codecs.get(id).ok_or(StreamError::UnknownCodec { id })?;
            let undone = codec.decompress(&payload, chunk_len);
            let codec = codec.name();
            let doing = "decompress a chunk";
            Bytes::from(undone.map_err(|source| StreamError::Codec { codec, doing, source })?)
        }
    };
    if chunk.len() != chunk_len {
        return Err(StreamError::Length { expected: chunk_len, found: chunk.len() });
    }
    Ok((chunk, end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_compression() -> impl Strategy<Value = Compression> {
        prop_oneof![
            Just(Compression::None),
            Just(Compression::Lz4),
            (1i32..4).prop_map(Compression::Zstd),
            (0u32..9).prop_map(Compression::Gzip),
        ]
    }

    fn encode(chunk: &Bytes, compression: Compression, context: &[u8]) -> Frame {
        encode_frame(CodecRegistry::builtin(), chunk, compression, context, true, None).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn comes_back_as_it_went(
            chunk in prop::collection::vec(0u8..5, 0..2000),
            compression in any_compression(),
            context in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let chunk = Bytes::from(chunk);
            let frame = encode(&chunk, compression, &context);
            let bytes = Bytes::from([frame.to_bytes(), vec![1, 2, 3]].concat());
            let decoded = decode_frame(CodecRegistry::builtin(), &bytes, &context, None).unwrap();
            prop_assert_eq!(decoded, (chunk, frame.len()));
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode_frame(CodecRegistry::builtin(), &Bytes::from(bytes), b"", None);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let chunk = Bytes::from(b"page page page page page page page page page page".to_vec());
        for compression in
            [Compression::None, Compression::Lz4, Compression::Zstd(3), Compression::Gzip(6)]
        {
            let whole = encode(&chunk, compression, b"here").to_bytes();
            for bit in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let result =
                    decode_frame(CodecRegistry::builtin(), &Bytes::from(bytes), b"here", None);
                assert!(result.is_err(), "{compression}, bit {bit}");
            }
            for cut in 0..whole.len() {
                let bytes = Bytes::copy_from_slice(&whole[..cut]);
                assert!(decode_frame(CodecRegistry::builtin(), &bytes, b"here", None).is_err());
            }
        }
    }

    #[test]
    fn a_chunk_that_does_not_shrink_is_stored_as_it_is() {
        let chunk = Bytes::from_static(b"x");
        let frame = encode(&chunk, Compression::Zstd(19), b"");
        assert_eq!(frame.payload().as_ptr(), chunk.as_ptr());
    }

    #[cfg(feature = "encryption")]
    #[test]
    fn a_sealed_frame_opens_with_its_key_nonce_and_context_only() {
        use crate::Aes256Gcm;
        let codecs = CodecRegistry::builtin();
        let chunk = Bytes::from(vec![9; 5000]);
        let (right, wrong) = (Aes256Gcm::new(&[1; 32]).unwrap(), Aes256Gcm::new(&[2; 32]).unwrap());
        let seal = Seal { cipher: &right, nonce: [3; 12] };
        for compression in [Compression::None, Compression::Zstd(1)] {
            let frame =
                encode_frame(codecs, &chunk, compression, b"here", true, Some(seal)).unwrap();
            let whole = Bytes::from(frame.to_bytes());
            let open = |context, seal| decode_frame(codecs, &whole, context, seal);
            assert_eq!(open(b"here", Some(seal)).unwrap(), (chunk.clone(), frame.len()));
            assert!(open(b"here", None).is_err() && open(b"away", Some(seal)).is_err());
            let other = Seal { nonce: [4; 12], ..seal };
            assert!(matches!(open(b"here", Some(other)), Err(StreamError::Cipher { .. })));
            let other = Seal { cipher: &wrong, ..seal };
            assert!(matches!(open(b"here", Some(other)), Err(StreamError::Cipher { .. })));
            let plain = encode_frame(codecs, &chunk, compression, b"here", true, None).unwrap();
            let plain = Bytes::from(plain.to_bytes());
            assert!(decode_frame(codecs, &plain, b"here", Some(seal)).is_err(), "no downgrade");
            for bit in (0..whole.len() * 8).step_by(if whole.len() > 500 { 97 } else { 1 }) {
                let mut bytes = whole.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(decode_frame(codecs, &Bytes::from(bytes), b"here", Some(seal)).is_err());
            }
        }
    }

    /// A codec of an application's own that gives back one byte more than it was asked for.
    struct Liar;

    impl crate::Codec for Liar {
        fn id(&self) -> u8 {
            199
        }

        fn name(&self) -> &'static str {
            "liar"
        }

        fn compress(&self, _: &[u8], _: i32) -> std::io::Result<Vec<u8>> {
            Ok(vec![1])
        }

        fn decompress(&self, _: &[u8], len: usize) -> std::io::Result<Vec<u8>> {
            Ok(vec![1; len + 1])
        }
    }

    #[test]
    fn what_is_too_long_is_refused_in_both_directions() {
        let long = Bytes::from(vec![0; MAX_CHUNK_LEN + 1]);
        let codecs = CodecRegistry::builtin();
        let written = encode_frame(codecs, &long, Compression::Zstd(1), b"", true, None);
        assert!(matches!(written, Err(StreamError::TooLarge { .. })));
        let chunk = Bytes::from(vec![0; 99]);
        let unchecked = encode_frame(codecs, &chunk, Compression::Zstd(1), b"", false, None);
        let mut bytes = unchecked.unwrap().to_bytes();
        bytes[8] = 199;
        let sum = checksum(&bytes[..12], b"", &bytes[FRAME_HEADER_LEN..]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        let mut codecs = CodecRegistry::default();
        assert!(codecs.register(std::sync::Arc::new(Liar)));
        let read = decode_frame(&codecs, &Bytes::from(bytes), b"", None);
        assert!(matches!(read, Err(StreamError::Length { expected: 99, found: 100 })));
    }

    #[test]
    fn flags_and_ciphers_and_codecs_of_later_versions_are_refused_by_name() {
        let whole = encode(&Bytes::from_static(b"page"), Compression::None, b"").to_bytes();
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            let sum = checksum(&bytes[..12], b"", &bytes[FRAME_HEADER_LEN..]);
            bytes[12..16].copy_from_slice(&sum.to_le_bytes());
            decode_frame(CodecRegistry::builtin(), &Bytes::from(bytes), b"", None).unwrap_err()
        };
        assert!(matches!(with(8, 98), StreamError::UnknownCodec { id: 98 }));
        assert!(matches!(with(9, 99), StreamError::UnknownCipher { id: 99 }));
        assert!(matches!(with(10, 1), StreamError::UnknownFlags));
        assert!(matches!(with(4, 9), StreamError::Length { expected: 9, found: 4 }));
    }
}
