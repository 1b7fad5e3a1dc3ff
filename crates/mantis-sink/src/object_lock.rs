//! Objects that nobody can take away before their time: S3's object lock, set on each object as it is created.
//!
//! OpenDAL sends no headers of a caller's own, so a creation is signed once more, with the lock's two headers in it
//! (Amazon S3 API, PutObject: `x-amz-object-lock-mode`, `x-amz-object-lock-retain-until-date`). Until when an object is
//! locked stands in the answer to a HEAD request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use opendal::{Buffer, HttpTransporter};
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, RequestSigner};
use reqsign_core::{Context, OsEnv, Signer};
use reqsign_file_read_tokio::TokioFileRead;

const MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
const UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");
/// What a signature adds, and what must not be signed twice.
const OF_SIGNATURES: [&str; 4] =
    ["authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"];

/// How objects are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockMode {
    /// Nobody can lift it, the account's owner included.
    Compliance,
    /// Those with a right of their own to it can lift it.
    Governance,
}

/// Locks what is created, and notes until when others are locked.
pub(crate) struct ObjectLock {
    mode: LockMode,
    retain: Duration,
    region: String,
    profile: Option<String>,
    signer: Mutex<Option<Signer<Credential>>>,
    /// By the path in a request's address.
    seen: Mutex<HashMap<String, SystemTime>>,
}

/// A moment as S3 writes it, in whole seconds.
fn rfc3339(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    DateTime::parse_from_rfc3339(text).ok().map(SystemTime::from)
}

impl ObjectLock {
    pub(crate) fn new(
        mode: LockMode,
        retain: Duration,
        region: String,
        profile: Option<String>,
    ) -> Self {
        Self { mode, retain, region, profile, signer: Mutex::default(), seen: Mutex::default() }
    }

    fn signer(&self, http: &HttpTransporter) -> Signer<Credential> {
        let mut held = self.signer.lock().unwrap_or_else(PoisonError::into_inner);
        held.get_or_insert_with(|| {
            let context = Context::new()
                .with_file_read(TokioFileRead)
                .with_http_send(http.clone())
                .with_env(OsEnv);
            let mut provider = DefaultCredentialProvider::builder();
            if let Some(profile) = &self.profile {
                provider = provider.with_profile(profile);
            }
            Signer::new(context, provider.build(), RequestSigner::new("s3", &self.region))
        })
        .clone()
    }

    /// The creation of an object, locked from now on.
    pub(crate) async fn lock(
        &self,
        request: Request<Buffer>,
        http: &HttpTransporter,
    ) -> opendal::Result<Request<Buffer>> {
        let failed = |what: String| opendal::Error::new(opendal::ErrorKind::Unexpected, what);
        let (mut parts, body) = request.into_parts();
        for name in OF_SIGNATURES {
            parts.headers.remove(name);
        }
        let mode = match self.mode {
            LockMode::Compliance => "COMPLIANCE",
            LockMode::Governance => "GOVERNANCE",
        };
        let until = rfc3339(SystemTime::now() + self.retain);
        let until = HeaderValue::from_str(&until).map_err(|error| failed(error.to_string()))?;
        parts.headers.insert(MODE, HeaderValue::from_static(mode));
        parts.headers.insert(UNTIL, until);
        let signed = self.signer(http).sign(&mut parts, None).await;
        signed.map_err(|error| failed(format!("sign a locked object: {error}")))?;
        Ok(Request::from_parts(parts, body))
    }

    /// Notes what an answer about an object says.
    pub(crate) fn note(&self, path: &str, headers: &HeaderMap) {
        let until = headers.get(UNTIL).and_then(|until| until.to_str().ok());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match until.and_then(parse_rfc3339) {
            Some(until) => seen.insert(path.to_owned(), until),
            None => seen.remove(path),
        };
    }

    /// Until when an object was last seen to be locked, by the end of its path; asked once.
    pub(crate) fn take(&self, name: &str) -> Option<SystemTime> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let path = seen.keys().find(|path| path.ends_with(name)).cloned()?;
        seen.remove(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_s3_reads_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_764_126_245, "2025-11-26T03:04:05Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(rfc3339(at), text);
            assert_eq!(parse_rfc3339(text), Some(at));
        }
        for bad in ["", "2025-11-26", "2025-13-26T03:04:05Z", "äöü"] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }
}
