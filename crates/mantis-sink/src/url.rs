//! The sink that a path or URL names.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{LocalSink, Sink, SinkError, SinkErrorKind};

/// An error that names no more of an address than its scheme, as the rest may hold a secret.
pub(crate) fn refuse(kind: SinkErrorKind, scheme: &str, why: impl Into<String>) -> SinkError {
    SinkError::new(kind, "open the repository's store", scheme, "this build").caused_by(why.into())
}

/// Undoes percent-encoding; `None` for what is none, or no UTF-8.
pub(crate) fn decode_percent(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(feature = "opendal")]
fn memory() -> Result<Arc<dyn Sink>, SinkError> {
    Ok(Arc::new(crate::OpendalSink::memory()?))
}

#[cfg(not(feature = "opendal"))]
fn memory() -> Result<Arc<dyn Sink>, SinkError> {
    Ok(Arc::new(crate::MemorySink::new()))
}

/// The schemes of stores over a network, and the feature that a build needs for each.
const REMOTE: &[(&str, &str)] = &[
    ("s3", "s3"),
    ("gcs", "gcs"),
    ("gs", "gcs"),
    ("azblob", "azblob"),
    ("webdav", "webdav"),
    ("sftp", "sftp"),
];

#[cfg(any(feature = "_http", feature = "sftp"))]
fn remote(scheme: &str, rest: &str) -> Result<Option<Arc<dyn Sink>>, SinkError> {
    use crate::address::Address;
    let open: fn(Address) -> Result<Arc<dyn Sink>, SinkError> = match scheme {
        #[cfg(feature = "s3")]
        "s3" => crate::services::s3,
        #[cfg(feature = "gcs")]
        "gcs" | "gs" => crate::services::gcs,
        #[cfg(feature = "azblob")]
        "azblob" => crate::services::azblob,
        #[cfg(feature = "webdav")]
        "webdav" => crate::services::webdav,
        #[cfg(feature = "sftp")]
        "sftp" => crate::sftp_sink::open,
        _ => return Ok(None),
    };
    open(Address::parse(scheme, rest)?).map(Some)
}

#[cfg(not(any(feature = "_http", feature = "sftp")))]
fn remote(_: &str, _: &str) -> Result<Option<Arc<dyn Sink>>, SinkError> {
    Ok(None)
}

/// The sink that a path or URL names: `./backups`, `/srv/backups`, `file:///srv/backups`, `memory://`, and, with their
/// features, `s3://bucket/prefix`, `gcs://bucket/prefix`, `azblob://container/prefix`, `webdav://host/path`, `sftp://user@host/path`.
///
/// # Errors
/// `InvalidAddress` for what is no address; `Unsupported` for a scheme that this build has not.
pub fn open_url(url: &str) -> Result<Arc<dyn Sink>, SinkError> {
    let Some((scheme, rest)) = url.split_once("://") else {
        if url.is_empty() {
            return Err(refuse(SinkErrorKind::InvalidAddress, url, "the address is empty"));
        }
        return Ok(Arc::new(LocalSink::new(PathBuf::from(url))));
    };
    match scheme {
        "file" => match decode_percent(rest) {
            Some(path) if path.starts_with('/') => {
                Ok(Arc::new(LocalSink::new(PathBuf::from(path))))
            }
            _ => {
                let why = "a file URL is file:// and a path from the root: file:///srv/backups";
                Err(refuse(SinkErrorKind::InvalidAddress, scheme, why))
            }
        },
        "memory" => memory(),
        _ => match remote(scheme, rest)? {
            Some(sink) => Ok(sink),
            None => Err(unsupported(scheme)),
        },
    }
}

fn unsupported(scheme: &str) -> SinkError {
    let why = match REMOTE.iter().find(|(known, _)| *known == scheme) {
        Some((_, feature)) => format!(
            "this build has no `{scheme}://`: build it with the feature `{feature}`, or `full` for every store"
        ),
        None => format!("there is no store for `{scheme}://`"),
    };
    refuse(SinkErrorKind::Unsupported, scheme, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_urls_lead_to_the_same_folder() {
        for (url, location) in [
            ("backups", "backups"),
            ("/srv/with space", "/srv/with space"),
            ("file:///srv/with%20space", "/srv/with space"),
            ("memory://", "memory://"),
        ] {
            assert_eq!(open_url(url).unwrap().location(), location);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_secrets() {
        for url in
            ["", "file://relative", "file:///bad%zz", "s3://key:secret@bucket", "ftp://a:secret@b"]
        {
            let error = open_url(url).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[cfg(feature = "s3")]
    #[test]
    fn stores_by_their_addresses() {
        let sink =
            open_url("s3://bucket/a/b?region=eu-1&storage_class=STANDARD_IA&attempts=2").unwrap();
        assert_eq!(sink.location(), "s3://bucket/a/b");
        assert!(sink.capabilities().remote && sink.capabilities().exclusive_create);
        for bad in [
            "s3://",
            "s3://b?sse=rot13",
            "s3://b?region=x&colour=red",
            "s3://b?checksum=sum",
            "s3://b?region=x&lock=compliance",
            "s3://b?region=x&lock=compliance&lock_for=100000000000d",
        ] {
            assert_eq!(open_url(bad).unwrap_err().kind(), SinkErrorKind::InvalidAddress, "{bad}");
        }
    }
}
