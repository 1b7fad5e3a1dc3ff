//! An address, taken apart: `scheme://place/path?option=value&…`.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::url::{decode_percent, refuse};
use crate::{SinkError, SinkErrorKind};

/// What a secret is called in an option: it does not belong in an address, which ends up in histories, process lists
/// and logs.
const SECRETS: &[&str] =
    &["secret", "password", "token", "credential", "account_key", "access_key", "sas", "key"];
/// Options with such a name that hold none.
const NO_SECRETS: &[&str] = &["kms_key_id", "key_file"];

/// An address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) scheme: String,
    /// The bucket, container, or host and port; decoded.
    pub(crate) place: String,
    /// The path within it, decoded, without slashes around it.
    pub(crate) path: String,
    options: BTreeMap<String, String>,
}

impl Address {
    /// Takes `scheme://rest` apart.
    pub(crate) fn parse(scheme: &str, rest: &str) -> Result<Self, SinkError> {
        let refuse = |why: String| refuse(SinkErrorKind::InvalidAddress, scheme, why);
        let decode = |text: &str| {
            decode_percent(text)
                .filter(|text| !text.contains(['\0', '\n', '\r']))
                .ok_or_else(|| refuse("it is not percent-encoded UTF-8".into()))
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if rest.contains('#') || query.contains('#') {
            return Err(refuse("a # is written as %23".into()));
        }
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        if place.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
            return Err(refuse("a password does not belong in an address".into()));
        }
        let path = decode(path)?;
        let path = path.trim_matches('/').to_owned();
        if path
            .split('/')
            .any(|part| part == "." || part == ".." || (part.is_empty() && !path.is_empty()))
        {
            return Err(refuse("its path has an empty part, `.` or `..` in it".into()));
        }
        let mut options = BTreeMap::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let name = decode(name)?;
            let secret = SECRETS.iter().any(|secret| name.contains(secret));
            if secret && !NO_SECRETS.iter().any(|known| name.ends_with(known)) {
                return Err(refuse(format!(
                    "`{name}` does not belong in an address: credentials come from the provider's environment and files"
                )));
            }
            if options.insert(name.clone(), decode(value)?).is_some() {
                return Err(refuse(format!("`{name}` is given twice")));
            }
        }
        Ok(Self { scheme: scheme.to_owned(), place: decode(place)?, path, options })
    }

    pub(crate) fn invalid(&self, why: impl Into<String>) -> SinkError {
        refuse(SinkErrorKind::InvalidAddress, &self.scheme, why)
    }

    /// The address for people, without its options.
    pub(crate) fn location(&self) -> String {
        let slash = if self.path.is_empty() { "" } else { "/" };
        format!("{}://{}{slash}{}", self.scheme, self.place, self.path)
    }

    /// Takes an option out.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.options.remove(name)
    }

    /// Takes an option out and reads it.
    pub(crate) fn take_as<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SinkError> {
        let Some(text) = self.take(name) else { return Ok(None) };
        read(&text).map(Some).map_err(|why| self.invalid(format!("`{name}`: {why}")))
    }

    /// Takes a number out.
    pub(crate) fn take_number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, SinkError> {
        self.take_as(name, |text| text.parse().map_err(|_| "it is no such number".into()))
    }

    /// Takes `true` or `false` out; the name alone is `true`.
    #[cfg(any(feature = "_http", test))]
    pub(crate) fn take_flag(&mut self, name: &str) -> Result<bool, SinkError> {
        let flag = self.take_as(name, |text| match text {
            "" | "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("it is true or false".into()),
        });
        Ok(flag?.unwrap_or(false))
    }

    /// Refuses what nobody took: an option that does nothing is a mistake.
    pub(crate) fn finish(self, known: &str) -> Result<(), SinkError> {
        match self.options.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(self.invalid(format!("there is no option `{name}` here; there are {known}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn is_taken_apart_and_every_option_must_be_known() {
        let mut address = Address::parse(
            "s3",
            "bucket/with%20space/b/?region=eu-1&anonymous&attempts=3&sse_kms_key_id=a",
        )
        .unwrap();
        assert_eq!((&*address.place, &*address.path), ("bucket", "with space/b"));
        assert_eq!(address.location(), "s3://bucket/with space/b");
        assert_eq!(address.take("region").as_deref(), Some("eu-1"));
        assert!(address.take_flag("anonymous").unwrap() && !address.take_flag("none").unwrap());
        assert_eq!(address.take_number::<u32>("attempts").unwrap(), Some(3));
        assert!(address.clone().finish("region").is_err());
        address.take("sse_kms_key_id");
        address.finish("region").unwrap();
    }

    #[test]
    fn secrets_are_refused_and_not_repeated() {
        for bad in [
            "bucket?secret_access_key=hunter2",
            "user:hunter2@host/path",
            "bucket?sas_token=hunter2",
            "bucket?account_key=hunter2",
            "bucket?password=hunter2",
            "bucket#hunter2",
            "bucket/a/../hunter2",
            "bucket?a=hunter2&a=b",
        ] {
            let error = Address::parse("s3", bad).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Address::parse("s3", &text);
        }
    }
}
