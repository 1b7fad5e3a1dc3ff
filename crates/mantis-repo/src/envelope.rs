//! What every object of a repository begins with, and the objects that are one frame.
//!
//! The header, 64 bytes:
//!
//! | offset | bytes | |
//! | --- | --- | --- |
//! | 0 | 4 | `MNTS` |
//! | 4 | 2 | format version, little-endian: 1 |
//! | 6 | 1 | kind of object |
//! | 7 | 1 | cipher: 0 none |
//! | 8 | 4 | generation of the key, little-endian: 0 without encryption |
//! | 12 | 16 | id of the repository |
//! | 28 | 32 | salt: random, makes every object unique |
//! | 60 | 4 | CRC-32 of bytes 0..60, little-endian |
//!
//! The context of each frame in an object, which its checksum covers: the header's 64 bytes, the
//! number of the frame's first page as 8 bytes little-endian (0 for a frame that holds no pages), and
//! one byte that is 1 for the last frame of the object and 0 for others. So a frame is at home in
//! one place of one object only.

use bytes::Bytes;
use mantis_sink::Payload;
use mantis_stream::{CodecRegistry, Compression, Frame, decode_frame, encode_frame};

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
}

/// An object's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) repo: RepoId,
    bytes: [u8; HEADER_LEN],
}

impl Header {
    pub(crate) fn new(kind: Kind, repo: RepoId, salt: [u8; 32]) -> Self {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..6].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[6] = kind as u8;
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
        if bytes[7] != 0 || bytes[8..12] != [0; 4] {
            let needs = format!("cipher {}", bytes[7]);
            return Err(RepoError::TooNew { object: object.to_owned(), needs });
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

    /// The context of a frame of this object.
    pub(crate) fn context(&self, first_page: u64, last: bool) -> [u8; HEADER_LEN + 9] {
        let mut context = [0; HEADER_LEN + 9];
        context[..HEADER_LEN].copy_from_slice(&self.bytes);
        context[HEADER_LEN..HEADER_LEN + 8].copy_from_slice(&first_page.to_le_bytes());
        context[HEADER_LEN + 8] = u8::from(last);
        context
    }
}

/// An object that is a header and one frame.
pub(crate) fn seal(
    header: &Header,
    chunk: Bytes,
    compression: Compression,
) -> Result<Payload, RepoError> {
    let frame = encode_frame(
        CodecRegistry::builtin(),
        &chunk,
        compression,
        &header.context(0, true),
        true,
    )?;
    let mut payload = Payload::from(header.bytes());
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
    repo: Option<RepoId>,
) -> Result<(Header, Bytes), RepoError> {
    let header = Header::read(object, bytes, kind, repo)?;
    let frame = bytes.slice(HEADER_LEN..);
    let opened = decode_frame(CodecRegistry::builtin(), &frame, &header.context(0, true));
    let fail = |source| RepoError::Frame { object: object.to_owned(), frame: 0, source };
    let (chunk, len) = opened.map_err(fail)?;
    if len != frame.len() {
        return Err(RepoError::damaged(object, "bytes follow its end"));
    }
    Ok((header, chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPO: RepoId = RepoId([3; 16]);

    fn sealed() -> Bytes {
        let header = Header::new(Kind::Manifest, REPO, [5; 32]);
        seal(&header, Bytes::from_static(b"{\"some\":\"json\"}"), Compression::None)
            .unwrap()
            .to_bytes()
    }

    #[test]
    fn opens_in_its_place_only() {
        let bytes = sealed();
        assert_eq!(open("m", &bytes, Kind::Manifest, Some(REPO)).unwrap().1, "{\"some\":\"json\"}");
        assert!(open("m", &bytes, Kind::Outcome, Some(REPO)).is_err());
        assert!(open("m", &bytes, Kind::Manifest, Some(RepoId([4; 16]))).is_err());
        let longer = Bytes::from([&bytes[..], b"x"].concat());
        assert!(open("m", &longer, Kind::Manifest, Some(REPO)).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let whole = sealed();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(open("m", &bytes.into(), Kind::Manifest, Some(REPO)).is_err(), "bit {bit}");
        }
        for cut in 0..whole.len() {
            assert!(open("m", &whole.slice(..cut), Kind::Manifest, Some(REPO)).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_refused_as_such() {
        let mut bytes = sealed().to_vec();
        bytes[4] = 2;
        let sum = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&sum.to_le_bytes());
        let error = open("m", &bytes.into(), Kind::Manifest, Some(REPO)).unwrap_err();
        assert!(matches!(error, RepoError::TooNew { .. }));
    }
}
