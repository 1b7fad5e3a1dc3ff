//! Decoders as functions of bytes, and objects made by somebody hostile: for fuzz targets, and for nothing else.
//!
//! Nothing here weakens a repository: whoever can write to the store of one that is not encrypted can do the same.

use std::sync::Arc;

use bytes::Bytes;
use mantis_sink::{ObjectKey, Payload};
use mantis_stream::Compression;

use crate::envelope::{self, Envelope, Header, Kind};
use crate::manifest::open_list;
use crate::params::Params;
use crate::segment_index::SegmentIndex;
use crate::segment_reader::SegmentReader;
use crate::session_records::{Intent, SessionOutcome};
use crate::vault::Vault;
use crate::{Manifest, ObjectHash, Place, RepoError, RepoId, Repository, SessionId};

const REPO: RepoId = RepoId([7; 16]);
const NAME: &str = "an object";

/// Kinds of objects that are decoded from a chunk.
const KINDS: [Kind; 8] = [
    Kind::Params,
    Kind::Session,
    Kind::Manifest,
    Kind::Outcome,
    Kind::Layer,
    Kind::Condemned,
    Kind::Forget,
    Kind::Segment,
];

fn kind_of(number: u8) -> Kind {
    KINDS[usize::from(number) % KINDS.len()]
}

/// Reads an object of some kind, and drops what it was.
fn read(kind: Kind, bytes: &Bytes) -> Result<(), RepoError> {
    let vault = Arc::new(Vault::plain(REPO, [3; 32]));
    let json = |kind| envelope::open(NAME, bytes, kind, &vault);
    let damaged = |error: serde_json::Error| RepoError::damaged(NAME, error);
    match kind {
        Kind::Params => drop(Params::open(NAME, bytes)?),
        Kind::Manifest => {
            let manifest = Manifest::open(NAME, bytes, &vault)?;
            for segment in manifest.segments() {
                SegmentReader::new(&vault, segment)?;
            }
        }
        Kind::Layer => drop(open_list(NAME, bytes, &vault)?),
        Kind::Session => {
            let _: Intent = serde_json::from_slice(&json(kind)?).map_err(damaged)?;
        }
        Kind::Outcome => {
            let _: SessionOutcome = serde_json::from_slice(&json(kind)?).map_err(damaged)?;
        }
        #[cfg(feature = "encryption")]
        Kind::KeySlot => drop(crate::key_slot::KeySlot::read(NAME, bytes, REPO)?),
        _ => drop(json(kind)?),
    }
    Ok(())
}

/// Reads bytes as an object of a kind, as they are.
pub fn object(kind: u8, bytes: &Bytes) {
    let _ = read(kind_of(kind), bytes);
    #[cfg(feature = "encryption")]
    let _ = read(Kind::KeySlot, bytes);
}

/// Reads bytes as what is in an object of a kind whose envelope is whole.
pub fn chunk(kind: u8, chunk: &Bytes) {
    let seal = |kind| {
        let header = Header::new(kind, REPO, [5; 32], 0);
        let sealed = envelope::seal(&Envelope::plain(header), chunk, Compression::None);
        sealed.map(|sealed| sealed.to_bytes())
    };
    let kind = kind_of(kind);
    if let Ok(bytes) = seal(kind) {
        let _ = read(kind, &bytes);
    }
    #[cfg(feature = "encryption")]
    if let Ok(bytes) = seal(Kind::KeySlot) {
        let _ = read(Kind::KeySlot, &bytes);
    }
}

/// Reads bytes as a segment's index, and walks through it. What is read again from what it writes must be the same.
///
/// # Panics
/// Where it is not.
pub fn index(bytes: &[u8]) {
    if let Ok(index) = SegmentIndex::read(NAME, bytes, u64::MAX) {
        let again = SegmentIndex::read(NAME, &index.to_bytes(), u64::MAX);
        assert!(again.is_ok_and(|again| again == index), "an index is read as another");
        let _ = (index.bounds(), index.pages(), index.data_pages().count());
    }
}

/// Reads a file of age as a key slot's lock, for an identity that it is not for.
#[cfg(feature = "encryption")]
pub fn age_file(bytes: &[u8], identity: &crate::Identity) {
    let _ = crate::age_file::open(identity, bytes);
}

/// What is in an object of a repository that is not encrypted.
pub fn unseal(repo: &Repository, key: &ObjectKey, bytes: &Bytes) -> Option<Bytes> {
    KINDS.iter().find_map(|kind| envelope::open(key.as_str(), bytes, *kind, repo.vault()).ok())
}

/// The bytes of the index of a segment of a repository that is not encrypted.
pub fn index_of(repo: &Repository, key: &ObjectKey, segment: &Bytes) -> Option<Bytes> {
    let header = Header::read(key.as_str(), segment, Kind::Segment, Some(repo.id())).ok()?;
    let envelope = Envelope::plain(header);
    // The index is the last frame; its decoding fails anywhere else.
    let starts = envelope::HEADER_LEN..segment.len();
    starts.rev().find_map(|at| Some(envelope.decode(&segment.slice(at..), (0, true)).ok()?.0))
}

/// The objects that make a session's backup what a manifest of these bytes says, as whoever may write to the store of a repository
/// that is not encrypted can make them: the manifest, and the outcome that names it.
///
/// # Errors
/// What is longer than an object can be.
pub fn forge(
    repo: &Repository,
    session: SessionId,
    manifest: &Bytes,
) -> Result<[(ObjectKey, Payload); 2], RepoError> {
    let sealed = seal(repo, 2, manifest)?;
    let hash = ObjectHash::of([&sealed.to_bytes()[..]]);
    let outcome = serde_json::to_vec(&SessionOutcome::Commit { manifest: hash });
    let outcome = outcome.map_err(|error| RepoError::damaged(NAME, error))?;
    let key = |place: Place| place.key().map_err(|error| RepoError::damaged(NAME, error));
    Ok([
        (key(Place::Manifest(session, hash))?, sealed),
        (key(Place::Outcome(session))?, seal(repo, 3, &outcome.into())?),
    ])
}

/// An object of a repository that is not encrypted, with anything in it.
///
/// # Errors
/// What is longer than an object can be.
pub fn seal(repo: &Repository, kind: u8, chunk: &Bytes) -> Result<Payload, RepoError> {
    let header = Header::new(kind_of(kind), repo.id(), [9; 32], 0);
    envelope::seal(&Envelope::plain(header), chunk, Compression::Zstd(1))
}
