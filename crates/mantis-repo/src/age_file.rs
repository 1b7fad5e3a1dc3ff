//! Files of age, version 1, with one X25519 recipient and at most 64 KiB in them (the C2SP specification of age).
//!
//! The keyring's key is sealed in such a file, so that the `age` command gets at it too, should nothing else.
//! Only what this needs of the format is here: one recipient, one chunk. Files with more are refused, not read wrong.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use zeroize::Zeroizing;

use crate::RepoError;
use crate::age_key::{Identity, Recipient};
use crate::kdf::hkdf;
use crate::vault::Secret;

const VERSION: &str = "age-encryption.org/v1";
const FILE_KEY_LEN: usize = 16;
const NONCE_LEN: usize = 16;
/// The nonce of the first chunk, which is the last one too.
const ONLY_CHUNK: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn refused(what: &str) -> RepoError {
    RepoError::Kdf { what: format!("{what} was refused") }
}

/// The key that wraps the file's key: both sides of the exchange make the same one.
fn wrapping_key(
    own: &PrivateKey,
    other: &[u8; 32],
    (ephemeral, recipient): (&[u8; 32], &Recipient),
) -> Result<Secret, RepoError> {
    let salt = [&ephemeral[..], &recipient.0].concat();
    // The library refuses a shared secret of zeros, which a hostile public key would give.
    agree(
        own,
        UnparsedPublicKey::new(&X25519, other),
        refused("the key of an exchange"),
        |shared| hkdf(shared, &salt, format!("{VERSION}/X25519").as_bytes()),
    )
}

fn cipher(key: &Secret) -> Result<LessSafeKey, RepoError> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &key[..]).map_err(|_| refused("a key"))?;
    Ok(LessSafeKey::new(key))
}

fn seal_with(key: &Secret, nonce: [u8; 12], text: &[u8]) -> Result<Vec<u8>, RepoError> {
    let mut sealed = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let done = cipher(key)?.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed);
    done.map_err(|_| refused("sealing"))?;
    Ok(sealed)
}

/// `None`: the key is another one, or the bytes are.
fn open_with(
    key: &Secret,
    nonce: [u8; 12],
    sealed: &[u8],
) -> Result<Option<Zeroizing<Vec<u8>>>, RepoError> {
    let mut text = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let opened = cipher(key)?.open_in_place(nonce, Aad::empty(), &mut text);
    let len = opened.ok().map(|opened| opened.len());
    Ok(len.map(|len| {
        text.truncate(len);
        text
    }))
}

fn header_key(file_key: &[u8]) -> Result<hmac::Key, RepoError> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &hkdf(file_key, &[], b"header")?[..]))
}

/// Seals `text` for a recipient. `entropy` must be fresh random bytes.
pub(crate) fn seal(
    recipient: &Recipient,
    entropy: &[u8; 32],
    text: &[u8],
) -> Result<Vec<u8>, RepoError> {
    let derive = |what| Zeroizing::new(blake3::derive_key(what, entropy));
    let secret = derive("mantis-backup 2026 age ephemeral key");
    let file_key = derive("mantis-backup 2026 age file key");
    let nonce = derive("mantis-backup 2026 age payload nonce");
    let (file_key, nonce) = (&file_key[..FILE_KEY_LEN], &nonce[..NONCE_LEN]);
    let own =
        PrivateKey::from_private_key(&X25519, &secret[..]).map_err(|_| refused("a new key"))?;
    let public = own.compute_public_key().map_err(|_| refused("a new key"))?;
    let public: [u8; 32] = public.as_ref().try_into().map_err(|_| refused("a new key"))?;
    let wrap = wrapping_key(&own, &recipient.0, (&public, recipient))?;
    let wrapped = seal_with(&wrap, [0; 12], file_key)?;
    let header =
        format!("{VERSION}\n-> X25519 {}\n{}\n---", BASE64.encode(public), BASE64.encode(&wrapped));
    let mac = hmac::sign(&header_key(file_key)?, header.as_bytes());
    let mut file = format!("{header} {}\n", BASE64.encode(mac)).into_bytes();
    file.extend_from_slice(nonce);
    let payload_key = hkdf(file_key, nonce, b"payload")?;
    file.extend_from_slice(&seal_with(&payload_key, ONLY_CHUNK, text)?);
    Ok(file)
}

struct Parsed<'a> {
    ephemeral: [u8; 32],
    wrapped: Vec<u8>,
    /// What the MAC covers.
    header: &'a str,
    mac: Vec<u8>,
    nonce: &'a [u8],
    chunk: &'a [u8],
}

fn parse(file: &[u8]) -> Option<Parsed<'_>> {
    let mut rest = file;
    let mut line = || {
        let at = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, after) = rest.split_at(at);
        rest = &after[1..];
        std::str::from_utf8(line).ok()
    };
    if line()? != VERSION {
        return None;
    }
    let ephemeral = BASE64.decode(line()?.strip_prefix("-> X25519 ")?).ok()?;
    let wrapped = BASE64.decode(line()?).ok()?;
    let mac = BASE64.decode(line()?.strip_prefix("--- ")?).ok()?;
    let header_len = file.len() - rest.len();
    let header = std::str::from_utf8(&file[..header_len]).ok()?;
    let (header, _) = header.rsplit_once(' ')?;
    let (nonce, chunk) = rest.split_at_checked(NONCE_LEN)?;
    let ephemeral = ephemeral.try_into().ok()?;
    (wrapped.len() == FILE_KEY_LEN + CHACHA20_POLY1305.tag_len()).then_some(Parsed {
        ephemeral,
        wrapped,
        header,
        mac,
        nonce,
        chunk,
    })
}

/// What was sealed for this identity's recipient; `None` where the file is not for it, or is damaged.
pub(crate) fn open(
    identity: &Identity,
    file: &[u8],
) -> Result<Option<Zeroizing<Vec<u8>>>, RepoError> {
    let Some(parsed) = parse(file) else { return Ok(None) };
    let own = PrivateKey::from_private_key(&X25519, &identity.secret()[..])
        .map_err(|_| refused("the identity"))?;
    let sides = (&parsed.ephemeral, &identity.recipient());
    // A public key that the library refuses is a damaged file's.
    let Ok(wrap) = wrapping_key(&own, &parsed.ephemeral, sides) else { return Ok(None) };
    let Some(file_key) = open_with(&wrap, [0; 12], &parsed.wrapped)? else { return Ok(None) };
    let header = parsed.header.as_bytes();
    if hmac::verify(&header_key(&file_key)?, header, &parsed.mac).is_err() {
        return Ok(None);
    }
    open_with(&hkdf(&file_key, parsed.nonce, b"payload")?, ONLY_CHUNK, parsed.chunk)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::age_key::tests::PAIR;

    /// What the `age` command, 1.1.1, made for the recipient of that pair.
    const OF_AGE: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSAxdVQ4MWNCb1krNVpMQmQ2V01VRk15cXMxRU1O\
        NGNDSmU1anJqWW91NER3ClhoUXpjUVpseFNBN0VyWUY3aUdwM0lTQzdET2VMKzV2TFRMWDhrYU9pRE0KLS0tIG9STk1SRlVBelJ1\
        dXd1VWVQci96TG1JRitkM2pSaDl5N1RNVStEK2FsVjAKTh/jzFXyMoZupOB5jQ0xN7uVxWfpxwL4s4NF6kuoK6JSsDAt0D95djkS\
        CcUSnHuY";

    fn identity() -> Identity {
        PAIR.0.parse().unwrap()
    }

    #[test]
    fn opens_what_the_age_command_sealed() {
        let file = BASE64.decode(OF_AGE).unwrap();
        let text = open(&identity(), &file).unwrap().unwrap();
        assert_eq!(&text[..], b"a text of others");
    }

    #[test]
    fn no_damaged_byte_goes_unnoticed_and_no_other_identity_opens_it() {
        let file = seal(&identity().recipient(), &[7; 32], b"the key").unwrap();
        assert_eq!(&open(&identity(), &file).unwrap().unwrap()[..], b"the key");
        for at in 0..file.len() {
            let mut spoiled = file.clone();
            spoiled[at] ^= 1;
            assert!(open(&identity(), &spoiled).unwrap().is_none(), "byte {at}");
            assert!(open(&identity(), &file[..at]).unwrap().is_none(), "cut at {at}");
        }
        let other = "AGE-SECRET-KEY-1VMC4DGJTMRYD5095E0PWQSUFS0T47EQCNKQ6DERWCU4WJF0N3CFS7QH793";
        assert!(open(&other.parse().unwrap(), &file).unwrap().is_none());
        assert_ne!(file, seal(&identity().recipient(), &[8; 32], b"the key").unwrap());
    }

    #[test]
    fn a_public_key_that_gives_a_secret_of_zeros_is_refused() {
        assert!(seal(&Recipient([0; 32]), &[7; 32], b"the key").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, cut in 0usize..200) {
            let file = seal(&identity().recipient(), &[7; 32], b"the key").unwrap();
            let spliced = [&file[..cut.min(file.len())], &bytes].concat();
            let _ = open(&identity(), &spliced);
            prop_assert!(open(&identity(), &bytes).unwrap().is_none());
        }
    }
}
