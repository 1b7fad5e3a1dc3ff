//! Equal content, equal fingerprint, whatever road it took.

use serde::{Deserialize, Serialize};

use crate::{ObjectHash, PageHash};

/// A hash over the page hashes of a backup in order. Two backups of one repository have the same
/// fingerprint exactly if they hold the same pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub ObjectHash);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Takes page hashes in order.
#[derive(Debug, Default)]
pub(crate) struct Fingerprinter(blake3::Hasher);

impl Fingerprinter {
    pub(crate) fn add(&mut self, hash: &PageHash) {
        self.0.update(hash);
    }

    pub(crate) fn finish(&self) -> Fingerprint {
        Fingerprint(ObjectHash(*self.0.finalize().as_bytes()))
    }
}
