//! Passwords of people and tokens of programs, as the configuration keeps them: hashed.
//!
//! A password goes through Argon2id (RFC 9106). A token is 32 random bytes, which nobody can guess and which need no slow hash: BLAKE3 of it
//! is kept.

use std::fmt;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use mantis_repo::ObjectHash;
#[cfg(any(feature = "cli", feature = "dashboard", test))]
use zeroize::Zeroizing;

use crate::Error;

/// The most memory that a password may ask for, in KiB, and the most work: a login must not be a way to fill a machine.
const MOST_MEMORY: u32 = 256 << 10;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 16;
/// A longer password is none.
const LONGEST: usize = 1024;
/// What a token begins with, so that those who find one know what it is.
#[cfg(any(feature = "cli", test))]
const PREFIX: &str = "mantis_";

/// A password, hashed by Argon2id: a PHC string whose cost is bounded.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// A hash is no secret, but a start for who wants to guess.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl PasswordHash {
    /// Reads what [`Self::of`] made, or another program.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let make = "`mantis config password` makes one";
        let hash = Phc::new(text).map_err(|_| format!("this is no hashed password: {make}"))?;
        if hash.algorithm.as_str() != Algorithm::Argon2id.as_str() {
            return Err(format!("a password is hashed by argon2id: {make}"));
        }
        if hash.version.is_some_and(|version| version != u32::from(Version::V0x13)) {
            return Err(format!("argon2id is of version 19 here: {make}"));
        }
        let params =
            Params::try_from(&hash).map_err(|_| format!("its parameters are not right: {make}"))?;
        if params.m_cost() > MOST_MEMORY
            || params.t_cost() > MOST_PASSES
            || params.p_cost() > MOST_LANES
        {
            return Err(format!(
                "it asks for more than {} MiB, {MOST_PASSES} passes or {MOST_LANES} lanes: {make}",
                MOST_MEMORY >> 10
            ));
        }
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(format!("its salt or its hash is missing: {make}"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Hashes a password with a salt of its own: 19 MiB and two passes, which OWASP names for logins.
    ///
    /// # Errors
    /// For one that is empty or longer than 1024 bytes, and without random numbers.
    pub fn of(password: &[u8]) -> Result<Self, Error> {
        if password.is_empty() || password.len() > LONGEST {
            return Err(Error::usage(
                format!("a password has 1 to {LONGEST} bytes"),
                "choose another one",
            ));
        }
        let mut salt = [0; 16];
        random(&mut salt)?;
        let made: Result<Phc, _> = Argon2::default().hash_password_with_salt(password, &salt);
        made.map(|hash| Self(hash.to_string())).map_err(|error| Error::Other {
            doing: "hash the password".into(),
            source: error.to_string().into(),
            help: None,
        })
    }

    /// Whether it is of this password. Takes some 20 ms of a core and 19 MiB: on a thread that may block.
    #[must_use]
    pub fn is_of(&self, password: &[u8]) -> bool {
        let hash = Phc::new(&self.0);
        password.len() <= LONGEST
            && hash.is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
    }

    /// As it stands in the configuration.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A token, hashed by BLAKE3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHash(String);

impl TokenHash {
    /// Reads what `mantis config token` printed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err("this is no hashed token: `mantis config token` makes a token and its hash".into())
        }
    }

    /// Whether it is of this token. What the time of the comparison tells is of the hash, not of the token.
    #[must_use]
    pub fn is_of(&self, token: &str) -> bool {
        ObjectHash::of([token.as_bytes()]).to_string() == self.0
    }

    /// As it stands in the configuration.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn random(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|error| Error::Other {
        doing: "get random numbers".into(),
        source: error.to_string().into(),
        help: None,
    })
}

/// A text that nobody can guess: 32 random bytes, as 64 digits.
///
/// # Errors
/// Without random numbers.
#[cfg(any(feature = "cli", feature = "dashboard", test))]
pub(crate) fn unguessable() -> Result<Zeroizing<String>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    random(&mut bytes[..])?;
    Ok(Zeroizing::new(bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        use fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })))
}

/// A new token, and its hash.
///
/// # Errors
/// Without random numbers.
#[cfg(any(feature = "cli", test))]
pub(crate) fn new_token() -> Result<(Zeroizing<String>, TokenHash), Error> {
    let token = Zeroizing::new(format!("{PREFIX}{}", *unguessable()?));
    let hash = TokenHash(ObjectHash::of([token.as_bytes()]).to_string());
    Ok((token, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_opens_its_own_hash_alone() {
        let hash = PasswordHash::of(b"correct horse").unwrap();
        assert!(hash.is_of(b"correct horse") && !hash.is_of(b"correct horsf") && !hash.is_of(b""));
        assert_ne!(hash, PasswordHash::of(b"correct horse").unwrap(), "each has its salt");
        assert_eq!(PasswordHash::parse(hash.as_str()).unwrap(), hash);
        assert!(PasswordHash::of(b"").is_err() && PasswordHash::of(&[b'x'; 1025]).is_err());
        assert!(!hash.is_of(&vec![b'x'; 1 << 20]));
    }

    #[test]
    fn what_costs_too_much_or_is_no_argon2id_is_refused() {
        let hash = PasswordHash::of(b"x").unwrap();
        for (from, to) in [
            ("argon2id", "argon2i"),
            ("m=19456", "m=1000000"),
            ("t=2", "t=99"),
            ("v=19", "v=16"),
            ("$argon2id", "argon2id"),
        ] {
            let changed = hash.as_str().replace(from, to);
            assert_ne!(changed, hash.as_str());
            assert!(PasswordHash::parse(&changed).is_err(), "{changed}");
        }
        let without = hash.as_str().rsplit_once('$').unwrap().0;
        assert!(PasswordHash::parse(without).is_err());
        for wrong in ["", "secret", "$", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv"] {
            assert!(PasswordHash::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_opens_its_own_hash_alone() {
        let (token, hash) = new_token().unwrap();
        let (other, _) = new_token().unwrap();
        assert!(hash.is_of(&token) && !hash.is_of(&other) && !hash.is_of(""));
        assert!(token.starts_with("mantis_") && token.len() == 71);
        assert_eq!(TokenHash::parse(hash.as_str()).unwrap(), hash);
        assert!(TokenHash::parse(&token).is_err() && TokenHash::parse("").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_read_with_a_panic(text in "\\PC{0,120}") {
            let _ = PasswordHash::parse(&text);
            let _ = TokenHash::parse(&text);
        }
    }
}
