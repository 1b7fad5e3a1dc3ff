//! What every object of a repository begins with, and the objects that are one frame.
//!
//! The header, 64 bytes:
//!
//! | offset | bytes | |
//! | --- | --- | --- |
//! | 0 | 4 | `MNTS` |
//! | 4 | 2 | format version, little-endian: 1 |
//! | 6 | 1 | kind of object |
//! | 7 | 1 | cipher: 0 none, 1 AES-256-GCM |
//! | 8 | 4 | generation of the master key, little-endian: from 1; 0 without encryption |
//! | 12 | 16 | id of the repository |
//! | 28 | 32 | salt: random, makes every object unique |
//! | 60 | 4 | CRC-32 of bytes 0..60, little-endian |
//!
//! The context of each frame in an object, which its checksum covers: the header's 64 bytes, the
//! number of the frame's first page as 8 bytes little-endian (0 for a frame that holds no pages), and
//! one byte that is 1 for the last frame of the object and 0 for others. So a frame is at home in
//! one place of one object only.
//!
//! Each object has a key of its own, made of the master key and the salt (see `vault`). The nonce of a
//! frame is the number of its first page as 8 bytes little-endian, the byte for the last frame, and three
//! zeros: no two frames of one object have the same, and none is ever drawn at random.

use bytes::Bytes;
use mantis_sink::Payload;
use mantis_stream::{
    CodecRegistry, Compression, Frame, FrameCipher, Seal, decode_frame, encode_frame,
};

use crate::vault::Vault;
use crate::{FORMAT_VERSION, RepoError, RepoId};

/// The length of an object's header in bytes.
pub(crate) const HEADER_LEN: usize = 64;
const MAGIC: &[u8; 4] = b"MNTS";

/// The kind of an object, as its header tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Params = 1,
    Session = 2,
    Segment = 3,
    Manifest = 4,
    Outcome = 5,
    Layer = 6,
    #[cfg(feature = "encryption")]
    KeySlot = 7,
    #[cfg(feature = "encryption")]
    Keyring = 8,
    Condemned = 9,
    Forget = 10,
    Beat = 11,
    Names = 12,
}

/// An object's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) repo: RepoId,
    bytes: [u8; HEADER_LEN],
}

impl Header {
    /// The header of an object; `generation` of the master key, 0 without encryption.
    pub(crate) fn new(kind: Kind, repo: RepoId, salt: [u8; 32], generation: u32) -> Self {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..6].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[6] = kind as u8;
        bytes[7] = u8::from(generation > 0);
        bytes[8..12].copy_from_slice(&generation.to_le_bytes());
        bytes[12..28].copy_from_slice(&repo.0);
        bytes[28..60].copy_from_slice(&salt);
        let sum = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        Self { repo, bytes }
    }

    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes)
    }

    /// Reads and checks a header. `repo` is `None` only while the repository is not known yet.
    pub(crate) fn read(
        object: &str,
        bytes: &[u8],
        kind: Kind,
        repo: Option<RepoId>,
    ) -> Result<Self, RepoError> {
        let damaged = |what| RepoError::damaged(object, what);
        let bytes: [u8; HEADER_LEN] = bytes
            .get(..HEADER_LEN)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| damaged("it is shorter than a header"))?;
        if &bytes[..4] != MAGIC {
            return Err(damaged("it does not begin as an object of a repository does"));
        }
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        let sum = u32::from_le_bytes([bytes[60], bytes[61], bytes[62], bytes[63]]);
        if crc32fast::hash(&bytes[..60]) != sum {
            return Err(damaged("its header's checksum does not match"));
        }
        if version != FORMAT_VERSION {
            let needs = format!("format version {version}");
            return Err(RepoError::TooNew { object: object.to_owned(), needs });
        }
        if bytes[7] > 1 {
            let needs = format!("cipher {}", bytes[7]);
            return Err(RepoError::TooNew { object: object.to_owned(), needs });
        }
        let generation = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if (bytes[7] == 1) != (generation > 0) {
            return Err(damaged("its cipher and its key do not agree"));
        }
        if bytes[6] != kind as u8 {
            return Err(damaged("it is another kind of object than its name says"));
        }
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[12..28]);
        if repo.is_some_and(|repo| repo != RepoId(id)) {
            return Err(damaged("it belongs to another repository"));
        }
        Ok(Self { repo: RepoId(id), bytes })
    }

    /// The generation of the master key; 0 without encryption.
    pub(crate) fn generation(&self) -> u32 {
        u32::from_le_bytes([self.bytes[8], self.bytes[9], self.bytes[10], self.bytes[11]])
    }

    /// What makes the object unique.
    pub(crate) fn salt(&self) -> [u8; 32] {
        let mut salt = [0; 32];
        salt.copy_from_slice(&self.bytes[28..60]);
        salt
    }

    /// The context of a frame of this object.
    fn context(&self, first_page: u64, last: bool) -> [u8; HEADER_LEN + 9] {
        let mut context = [0; HEADER_LEN + 9];
        context[..HEADER_LEN].copy_from_slice(&self.bytes);
        context[HEADER_LEN..HEADER_LEN + 8].copy_from_slice(&first_page.to_le_bytes());
        context[HEADER_LEN + 8] = u8::from(last);
        context
    }
}

/// An object's header, and what seals and opens its frames.
pub(crate) struct Envelope {
    pub(crate) header: Header,
    cipher: Option<Box<dyn FrameCipher>>,
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope").field("header", &self.header).finish_non_exhaustive()
    }
}

fn nonce(first_page: u64, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&first_page.to_le_bytes());
    nonce[8] = u8::from(last);
    nonce
}

impl Envelope {
    pub(crate) fn new(header: Header, cipher: Option<Box<dyn FrameCipher>>) -> Self {
        Self { header, cipher }
    }

    /// An object that is never encrypted.
    pub(crate) fn plain(header: Header) -> Self {
        Self { header, cipher: None }
    }

    fn seal(&self, first_page: u64, last: bool) -> Option<Seal<'_>> {
        let cipher = self.cipher.as_deref()?;
        Some(Seal { cipher, nonce: nonce(first_page, last) })
    }

    /// Makes the frame whose first page is `first_page`; 0 for a frame without pages.
    pub(crate) fn encode(
        &self,
        chunk: &Bytes,
        compression: Compression,
        (first_page, last): (u64, bool),
        check: bool,
    ) -> Result<Frame, RepoError> {
        let context = self.header.context(first_page, last);
        let seal = self.seal(first_page, last);
        let codecs = CodecRegistry::builtin();
        Ok(encode_frame(codecs, chunk, compression, &context, check, seal)?)
    }

    /// Opens the frame at the start of `bytes`: its chunk, and the frame's length.
    pub(crate) fn decode(
        &self,
        bytes: &Bytes,
        (first_page, last): (u64, bool),
    ) -> Result<(Bytes, usize), mantis_stream::StreamError> {
        let context = self.header.context(first_page, last);
        decode_frame(CodecRegistry::builtin(), bytes, &context, self.seal(first_page, last))
    }
}

/// An object that is a header and one frame.
pub(crate) fn seal(
    envelope: &Envelope,
    chunk: &Bytes,
    compression: Compression,
) -> Result<Payload, RepoError> {
    let frame = envelope.encode(chunk, compression, (0, true), true)?;
    let mut payload = Payload::from(envelope.header.bytes());
    push_frame(&mut payload, &frame);
    Ok(payload)
}

/// Adds a frame to an object.
pub(crate) fn push_frame(payload: &mut Payload, frame: &Frame) {
    payload.push(frame.header());
    payload.push(frame.payload().clone());
}

/// Opens an object that is a header and one frame.
pub(crate) fn open(
    object: &str,
    bytes: &Bytes,
    kind: Kind,
    vault: &Vault,
) -> Result<Bytes, RepoError> {
    let header = Header::read(object, bytes, kind, Some(vault.repo()))?;
    open_frame(object, bytes, &vault.envelope_of(object, header)?)
}

/// Opens an object that is never encrypted, before the repository's keys are known; `repo` is `None`
/// only while the repository is not known either.
pub(crate) fn open_plain(
    object: &str,
    bytes: &Bytes,
    kind: Kind,
    repo: Option<RepoId>,
) -> Result<(RepoId, Bytes), RepoError> {
    let header = Header::read(object, bytes, kind, repo)?;
    let repo = header.repo;
    if header.generation() > 0 {
        return Err(RepoError::damaged(object, "it is encrypted and should not be"));
    }
    Ok((repo, open_frame(object, bytes, &Envelope::plain(header))?))
}

fn open_frame(object: &str, bytes: &Bytes, envelope: &Envelope) -> Result<Bytes, RepoError> {
    let frame = bytes.slice(HEADER_LEN..);
    let fail = |source| RepoError::Frame { object: object.to_owned(), frame: 0, source };
    let (chunk, len) = envelope.decode(&frame, (0, true)).map_err(fail)?;
    if len != frame.len() {
        return Err(RepoError::damaged(object, "bytes follow its end"));
    }
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPO: RepoId = RepoId([3; 16]);

    fn plain() -> Vault {
        Vault::plain(REPO, [0; 32])
    }

    fn sealed() -> Bytes {
        let envelope = plain().envelope(Kind::Manifest, [5; 32]).unwrap();
        seal(&envelope, &Bytes::from_static(b"{\"some\":\"json\"}"), Compression::None)
            .unwrap()
            .to_bytes()
    }

    #[test]
    fn opens_in_its_place_only() {
        let bytes = sealed();
        assert_eq!(open("m", &bytes, Kind::Manifest, &plain()).unwrap(), "{\"some\":\"json\"}");
        assert!(open("m", &bytes, Kind::Outcome, &plain()).is_err());
        let other = Vault::plain(RepoId([4; 16]), [0; 32]);
        assert!(open("m", &bytes, Kind::Manifest, &other).is_err());
        let longer = Bytes::from([&bytes[..], b"x"].concat());
        assert!(open("m", &longer, Kind::Manifest, &plain()).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let whole = sealed();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(open("m", &bytes.into(), Kind::Manifest, &plain()).is_err(), "bit {bit}");
        }
        for cut in 0..whole.len() {
            assert!(open("m", &whole.slice(..cut), Kind::Manifest, &plain()).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_refused_as_such() {
        let mut bytes = sealed().to_vec();
        bytes[4] = 2;
        let sum = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&sum.to_le_bytes());
        let error = open("m", &bytes.into(), Kind::Manifest, &plain()).unwrap_err();
        assert!(matches!(error, RepoError::TooNew { .. }));
    }

    #[test]
    fn ciphers_that_are_not_known_are_refused_and_so_is_one_where_none_may_be() {
        let with = |at: usize, byte: u8| {
            let mut bytes = sealed().to_vec();
            bytes[at] = byte;
            let sum = crc32fast::hash(&bytes[..60]);
            bytes[60..64].copy_from_slice(&sum.to_le_bytes());
            Bytes::from(bytes)
        };
        let error = open("m", &with(7, 2), Kind::Manifest, &plain()).unwrap_err();
        assert!(matches!(error, RepoError::TooNew { .. }));
        // A cipher without a key, and a key without a cipher.
        assert!(open("m", &with(7, 1), Kind::Manifest, &plain()).is_err());
        assert!(open("m", &with(8, 1), Kind::Manifest, &plain()).is_err());
        let header = Header::new(Kind::Params, REPO, [5; 32], 1);
        let error = open_plain("p", &header.bytes(), Kind::Params, None).unwrap_err();
        assert!(error.to_string().contains("should not be"), "{error}");
    }
}
