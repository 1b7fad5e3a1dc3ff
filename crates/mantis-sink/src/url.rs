//! The sink that a path or URL names.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{LocalSink, Sink, SinkError, SinkErrorKind};

fn refuse(kind: SinkErrorKind, url: &str, why: String) -> SinkError {
    // Only the scheme: the rest may hold a secret.
    let scheme = url.split_once("://").map_or(url, |(scheme, _)| scheme);
    SinkError::new(kind, "open the repository's store", scheme, "this build").caused_by(why)
}

fn decode_percent(text: &str) -> Option<String> {
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

/// The sink that a path or URL names: `./backups`, `/srv/backups`, `file:///srv/backups`, `memory://`.
///
/// # Errors
/// `InvalidAddress` for what is no address; `Unsupported` for a scheme that this build has not.
pub fn open_url(url: &str) -> Result<Arc<dyn Sink>, SinkError> {
    let Some((scheme, rest)) = url.split_once("://") else {
        if url.is_empty() {
            return Err(refuse(SinkErrorKind::InvalidAddress, url, "the address is empty".into()));
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
                Err(refuse(SinkErrorKind::InvalidAddress, url, why.into()))
            }
        },
        "memory" => memory(),
        _ => {
            let why = format!(
                "there is no store for `{scheme}://` here; there are file:// and memory://"
            );
            Err(refuse(SinkErrorKind::Unsupported, url, why))
        }
    }
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
        for url in ["", "file://relative", "file:///bad%zz", "s3://key:secret@bucket"] {
            let error = open_url(url).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
