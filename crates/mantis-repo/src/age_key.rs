//! Recipients and identities of age, as text: X25519 keys in Bech32 (the C2SP specification of age,
//! "The X25519 recipient type").

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::agreement::{PrivateKey, X25519};
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use zeroize::Zeroizing;

use crate::vault::Secret;

/// The longest text that can be a key: more is not looked at.
const MAX_LEN: usize = 128;
const RECIPIENT: &str = "age";
const IDENTITY: &str = "age-secret-key-";

/// Text that is no key of age. Says nothing of the text itself, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct InvalidAgeKey {
    what: String,
}

fn invalid(what: impl Into<String>) -> InvalidAgeKey {
    InvalidAgeKey { what: what.into() }
}

/// Whom a repository's keyring may be sealed for: an X25519 public key, `age1…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recipient(pub(crate) [u8; 32]);

/// What opens what was sealed for its recipient: an X25519 private key, `AGE-SECRET-KEY-1…`. Wiped when dropped;
/// never shown.
#[derive(Clone)]
pub struct Identity {
    secret: Secret,
    recipient: Recipient,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("recipient", &self.recipient).finish_non_exhaustive()
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = Hrp::parse(RECIPIENT).map_err(|_| fmt::Error)?;
        bech32::encode_to_fmt::<Bech32, _>(f, prefix, &self.0).map_err(|_| fmt::Error)
    }
}

/// The 32 bytes of a key, if the text is one with that prefix.
fn decode(text: &str, prefix: &str) -> Result<Secret, InvalidAgeKey> {
    if text.len() > MAX_LEN {
        return Err(invalid("it is too long for a key"));
    }
    let parsed = CheckedHrpstring::new::<Bech32>(text)
        .map_err(|_| invalid("it is mistyped, or no key at all"))?;
    if !parsed.hrp().as_bytes().eq_ignore_ascii_case(prefix.as_bytes()) {
        return Err(invalid("it is a key of another kind"));
    }
    let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(parsed.byte_iter().collect());
    let key: [u8; 32] =
        bytes[..].try_into().map_err(|_| invalid("it is a key of another length"))?;
    let key = Zeroizing::new(key);
    // Bits beyond the last byte are zero in the one right spelling.
    let prefix = Hrp::parse(prefix).map_err(|_| invalid("it is a key of another kind"))?;
    let again = bech32::encode::<Bech32>(prefix, &key[..])
        .map_err(|_| invalid("it is a key of another length"))?;
    if !Zeroizing::new(again).eq_ignore_ascii_case(text) {
        return Err(invalid("it is mistyped, or no key at all"));
    }
    Ok(key)
}

impl FromStr for Recipient {
    type Err = InvalidAgeKey;

    fn from_str(text: &str) -> Result<Self, InvalidAgeKey> {
        if text.to_ascii_lowercase().starts_with(IDENTITY) {
            return Err(invalid(
                "it is an identity, which is secret; the recipient starts with age1",
            ));
        }
        Ok(Self(*decode(text, RECIPIENT)?))
    }
}

impl Recipient {
    /// The recipients in a file: one in a line; empty lines and those that start with `#` are left out.
    ///
    /// # Errors
    /// [`InvalidAgeKey`] where another line is none, or there is none at all.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, InvalidAgeKey> {
        lines(text, "recipient")
    }
}

impl FromStr for Identity {
    type Err = InvalidAgeKey;

    fn from_str(text: &str) -> Result<Self, InvalidAgeKey> {
        let secret = decode(text, IDENTITY)?;
        let refused = || invalid("it is not a usable key");
        let key = PrivateKey::from_private_key(&X25519, &secret[..]).map_err(|_| refused())?;
        let public = key.compute_public_key().map_err(|_| refused())?;
        let recipient = <[u8; 32]>::try_from(public.as_ref()).map_err(|_| refused())?;
        Ok(Self { secret, recipient: Recipient(recipient) })
    }
}

impl Identity {
    /// Whom others seal for, so that this opens it.
    #[must_use]
    pub const fn recipient(&self) -> Recipient {
        self.recipient
    }

    pub(crate) const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The identities in a file, as `age-keygen` writes it: one in a line; empty lines and those that start with
    /// `#` are left out.
    ///
    /// # Errors
    /// [`InvalidAgeKey`] where another line is none, or there is none at all.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, InvalidAgeKey> {
        if text.starts_with("age-encryption.org/") || text.starts_with("-----BEGIN AGE") {
            let what =
                "it is encrypted itself: decrypt it with `age -d` and pass on what comes out";
            return Err(invalid(what));
        }
        lines(text, "identity")
    }
}

fn lines<T: FromStr<Err = InvalidAgeKey>>(text: &str, what: &str) -> Result<Vec<T>, InvalidAgeKey> {
    let used = text.lines().map(str::trim).enumerate();
    let used = used.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let keys: Result<Vec<T>, InvalidAgeKey> = used
        .map(|(at, line)| {
            line.parse().map_err(|InvalidAgeKey { what: why }| {
                invalid(format!("line {} is no {what} of age: {why}", at + 1))
            })
        })
        .collect();
    match keys {
        Ok(keys) if keys.is_empty() => Err(invalid(format!("there is no {what} of age in it"))),
        keys => keys,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A pair that `age-keygen` made.
    pub(crate) const PAIR: (&str, &str) = (
        "AGE-SECRET-KEY-1U3ES59HHG4ZZCWGWCZ3XKRLAYZ5UMCQHU42PSTHJGWALSAX39H2QEUZQ06",
        "age19nfdm6eszune6hsar7kfetwyzrpzay85zy4q7200myhu9xvh9eksdc23e3",
    );

    #[test]
    fn an_identity_gives_the_recipient_that_others_know() {
        let identity: Identity = PAIR.0.parse().unwrap();
        assert_eq!(identity.recipient().to_string(), PAIR.1);
        assert_eq!(PAIR.1.parse::<Recipient>().unwrap(), identity.recipient());
        assert_eq!(
            PAIR.0.to_lowercase().parse::<Identity>().unwrap().recipient().to_string(),
            PAIR.1
        );
        assert!(!format!("{identity:?}").contains("SECRET"));
    }

    #[test]
    fn files_have_comments_and_say_what_is_wrong_with_them_but_not_what_is_in_them() {
        let file = format!("# created: today\n# public key: {}\n\n{}\r\n", PAIR.1, PAIR.0);
        assert_eq!(Identity::parse_file(&file).unwrap().len(), 1);
        assert_eq!(Recipient::parse_file(&format!("{}\n", PAIR.1)).unwrap().len(), 1);
        let mistyped = PAIR.0.replace("U3ES", "U3EZ");
        let error = Identity::parse_file(&format!("#\n{mistyped}")).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("ES59"), "{error}");
        assert!(PAIR.0.parse::<Recipient>().unwrap_err().to_string().contains("secret"));
        for bad in ["# nothing\n", "age-encryption.org/v1\n", "-----BEGIN AGE ENCRYPTED FILE-----"]
        {
            assert!(Identity::parse_file(bad).is_err());
        }
        let of_another_kind = bech32::encode::<Bech32>(Hrp::parse("other").unwrap(), &[7; 32]);
        let error = of_another_kind.unwrap().parse::<Recipient>().unwrap_err().to_string();
        assert!(error.contains("another kind"), "{error}");
        for bad in ["", "age1", "age1qqq", "AGE1zvkyg2lqzraa2", &"age1".repeat(90)] {
            assert!(bad.parse::<Recipient>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn recipients_keep_their_text(key: [u8; 32]) {
            let text = Recipient(key).to_string();
            prop_assert_eq!(text.parse::<Recipient>().unwrap(), Recipient(key));
            prop_assert_eq!(text.to_uppercase().parse::<Recipient>().unwrap(), Recipient(key));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = (text.parse::<Recipient>(), text.parse::<Identity>());
            let _ = (Recipient::parse_file(&text), Identity::parse_file(&text));
        }
    }
}
