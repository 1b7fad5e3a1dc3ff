//! Equal content, equal fingerprint, whatever road it took.
//!
//! A fingerprint is a sum: of one term for each page that is not all zeros, and one for the shape. So the
//! next backup's comes from this one's and the changed pages alone, however large the database; and whoever
//! adds up the terms of all pages gets the same. (The set hash of Bellare and Micciancio, "A new paradigm for
//! collision-free hashing", 1997, in its additive form, over terms of a keyed BLAKE3.)

use serde::{Deserialize, Serialize};

use crate::{ObjectHash, PageHash};

/// A number that two backups of one repository have in common exactly if they hold the same pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub ObjectHash);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A number modulo 2^256, least significant word first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sum([u64; 4]);

impl Sum {
    fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte));
        }
        Self(words)
    }

    fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn add(&mut self, other: Self) {
        let mut carry = false;
        for (word, other) in self.0.iter_mut().zip(other.0) {
            let (sum, first) = word.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(carry.into());
            (*word, carry) = (sum, first | second);
        }
    }

    pub(crate) fn subtract(&mut self, other: Self) {
        let mut borrow = false;
        for (word, other) in self.0.iter_mut().zip(other.0) {
            let (rest, first) = word.overflowing_sub(other);
            let (rest, second) = rest.overflowing_sub(borrow.into());
            (*word, borrow) = (rest, first | second);
        }
    }
}

impl From<Fingerprint> for Sum {
    fn from(fingerprint: Fingerprint) -> Self {
        Self::from_bytes(&fingerprint.0.0)
    }
}

impl From<Sum> for Fingerprint {
    fn from(sum: Sum) -> Self {
        Self(ObjectHash(sum.to_bytes()))
    }
}

/// Makes the terms, under a key of the repository's.
#[derive(Clone)]
pub(crate) struct Terms([u8; 32]);

impl Terms {
    pub(crate) fn new(page_hash_key: &[u8; 32]) -> Self {
        Self(blake3::derive_key("mantis-backup 1 fingerprint", page_hash_key))
    }

    /// The term of a page that is not all zeros; pages are counted from 1.
    pub(crate) fn page(&self, page: u64, hash: &PageHash) -> Sum {
        let mut input = [0; 24];
        input[..8].copy_from_slice(&page.to_le_bytes());
        input[8..].copy_from_slice(hash);
        Sum::from_bytes(blake3::keyed_hash(&self.0, &input).as_bytes())
    }

    /// The term of the shape. Its input is shorter than a page's, so that the two never meet.
    pub(crate) fn shape(&self, page_size: u32, byte_len: u64) -> Sum {
        let input = [&page_size.to_le_bytes()[..], &byte_len.to_le_bytes()].concat();
        Sum::from_bytes(blake3::keyed_hash(&self.0, &input).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_do_not_depend_on_order_and_come_apart_again(terms: Vec<[u8; 32]>, extra: [u8; 32]) {
            let sum = |terms: &mut dyn Iterator<Item = &[u8; 32]>| {
                let mut sum = Sum::default();
                terms.for_each(|term| sum.add(Sum::from_bytes(term)));
                sum
            };
            let forth = sum(&mut terms.iter());
            prop_assert_eq!(forth, sum(&mut terms.iter().rev()));
            let mut changed = forth;
            changed.add(Sum::from_bytes(&extra));
            prop_assert_eq!(changed == forth, extra == [0; 32]);
            changed.subtract(Sum::from_bytes(&extra));
            prop_assert_eq!(changed, forth);
            prop_assert_eq!(Sum::from(Fingerprint::from(forth)), forth);
        }
    }

    #[test]
    fn the_same_page_elsewhere_is_another_term() {
        let terms = Terms::new(&[1; 32]);
        assert_ne!(terms.page(1, &[0; 16]), terms.page(2, &[0; 16]));
        assert_ne!(terms.page(1, &[0; 16]), Terms::new(&[2; 32]).page(1, &[0; 16]));
        assert_ne!(terms.shape(512, 1024), terms.shape(1024, 1024));
    }

    #[test]
    fn carries_go_all_the_way() {
        let mut sum = Sum([u64::MAX; 4]);
        sum.add(Sum([1, 0, 0, 0]));
        assert_eq!(sum, Sum::default());
        sum.subtract(Sum([1, 0, 0, 0]));
        assert_eq!(sum, Sum([u64::MAX; 4]));
    }
}
