//! What seals frames.

use crate::StreamError;

/// An authenticated cipher with its key.
pub trait FrameCipher: Send + Sync {
    /// Its number in frames; 0 is no cipher.
    fn id(&self) -> u8;

    /// How many bytes a sealed payload is longer than the payload.
    fn tag_len(&self) -> usize;

    /// Encrypts `bytes` in place and adds the tag, which also covers `aad`. A nonce must not be used
    /// twice with one key.
    ///
    /// # Errors
    /// [`StreamError::Cipher`].
    fn seal(&self, nonce: [u8; 12], aad: &[u8], bytes: &mut Vec<u8>) -> Result<(), StreamError>;

    /// Undoes [`Self::seal`].
    ///
    /// # Errors
    /// [`StreamError::Cipher`] where key, nonce, `aad` or bytes are not those of the sealing; `bytes`
    /// are of no use then.
    fn open(&self, nonce: [u8; 12], aad: &[u8], bytes: &mut Vec<u8>) -> Result<(), StreamError>;
}

#[cfg(feature = "encryption")]
pub use aes::Aes256Gcm;

#[cfg(feature = "encryption")]
mod aes {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    use super::FrameCipher;
    use crate::StreamError;

    /// AES-256 in Galois/Counter Mode (NIST SP 800-38D).
    pub struct Aes256Gcm(LessSafeKey);

    impl std::fmt::Debug for Aes256Gcm {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Aes256Gcm(..)")
        }
    }

    impl Aes256Gcm {
        /// The cipher's number in frames.
        pub const ID: u8 = 1;

        /// The cipher with a key.
        ///
        /// # Errors
        /// [`StreamError::Cipher`] where the cryptographic library refuses.
        pub fn new(key: &[u8; 32]) -> Result<Self, StreamError> {
            let key = UnboundKey::new(&AES_256_GCM, key)
                .map_err(|_| StreamError::Cipher { doing: "take a key" })?;
            Ok(Self(LessSafeKey::new(key)))
        }
    }

    impl FrameCipher for Aes256Gcm {
        fn id(&self) -> u8 {
            Self::ID
        }

        fn tag_len(&self) -> usize {
            AES_256_GCM.tag_len()
        }

        fn seal(
            &self,
            nonce: [u8; 12],
            aad: &[u8],
            bytes: &mut Vec<u8>,
        ) -> Result<(), StreamError> {
            let nonce = Nonce::assume_unique_for_key(nonce);
            self.0
                .seal_in_place_append_tag(nonce, Aad::from(aad), bytes)
                .map_err(|_| StreamError::Cipher { doing: "seal a chunk" })
        }

        fn open(
            &self,
            nonce: [u8; 12],
            aad: &[u8],
            bytes: &mut Vec<u8>,
        ) -> Result<(), StreamError> {
            let nonce = Nonce::assume_unique_for_key(nonce);
            let len = self
                .0
                .open_in_place(nonce, Aad::from(aad), bytes)
                .map_err(|_| StreamError::Cipher { doing: "open a sealed chunk" })?
                .len();
            bytes.truncate(len);
            Ok(())
        }
    }
}
