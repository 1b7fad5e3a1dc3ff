//! Every store that OpenDAL speaks to. The only file that knows OpenDAL's types.

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use opendal::{Buffer, ErrorKind, Operator};

use crate::{Capabilities, ObjectInfo, ObjectKey, Payload, Sink, SinkError, SinkErrorKind, Span};

/// A store behind an OpenDAL operator.
#[derive(Clone)]
pub struct OpendalSink {
    operator: Operator,
    location: String,
    durable: bool,
    #[cfg(feature = "_http")]
    clock: Option<crate::server_clock::ServerClock>,
    #[cfg(feature = "s3")]
    lock: Option<std::sync::Arc<crate::object_lock::ObjectLock>>,
}

impl std::fmt::Debug for OpendalSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpendalSink").field("location", &self.location).finish_non_exhaustive()
    }
}

fn kind(error: &opendal::Error) -> SinkErrorKind {
    match error.kind() {
        // OpenDAL has no kind for it, but says which step it was.
        ErrorKind::Unexpected
            if !error.is_temporary() && error.to_string().contains("reqsign::Sign") =>
        {
            SinkErrorKind::NoCredentials
        }
        ErrorKind::NotFound => SinkErrorKind::NotFound,
        // Two conditional writes at once: who lost is told so at the next try.
        ErrorKind::ConditionNotMatch if error.is_temporary() => SinkErrorKind::Unavailable,
        ErrorKind::AlreadyExists | ErrorKind::ConditionNotMatch => SinkErrorKind::AlreadyExists,
        ErrorKind::PermissionDenied => SinkErrorKind::PermissionDenied,
        ErrorKind::RateLimited => SinkErrorKind::Unavailable,
        ErrorKind::Unsupported => SinkErrorKind::Unsupported,
        // A bucket that is not there is no fault of the address.
        ErrorKind::ConfigInvalid if error.to_string().contains("NoSuchBucket") => {
            SinkErrorKind::NotFound
        }
        ErrorKind::ConfigInvalid => SinkErrorKind::InvalidAddress,
        ErrorKind::RangeNotSatisfied => SinkErrorKind::WrongLength,
        _ if error.is_temporary() => SinkErrorKind::Unavailable,
        _ => SinkErrorKind::Other,
    }
}

/// What went wrong, without what was sent and what came back.
fn describe(error: &opendal::Error) -> String {
    let mut text = format!("{}: {}", error.kind(), error.message());
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    scrub(&text)
}

/// Takes the queries of addresses out of a text: some hold signatures or tokens.
fn scrub(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let end = rest[at..].find(|c: char| c.is_whitespace() || "\"',<>)}]".contains(c));
        let end = end.map_or(rest.len(), |end| at + end);
        let address = &rest[..end];
        match address[at..].find('?') {
            Some(query) => {
                out.push_str(&address[..at + query]);
                out.push_str("?…");
            }
            None => out.push_str(address),
        }
        rest = &rest[end..];
    }
    out + rest
}

impl OpendalSink {
    /// A store behind an operator that was made elsewhere. `location` names it in messages and must
    /// hold no secret; `durable` says whether what it acknowledges survives a crash.
    #[must_use]
    pub fn new(operator: Operator, location: impl Into<String>, durable: bool) -> Self {
        Self {
            operator,
            location: location.into(),
            durable,
            #[cfg(feature = "_http")]
            clock: None,
            #[cfg(feature = "s3")]
            lock: None,
        }
    }

    #[cfg(feature = "s3")]
    pub(crate) fn with_lock(
        self,
        lock: Option<std::sync::Arc<crate::object_lock::ObjectLock>>,
    ) -> Self {
        Self { lock, ..self }
    }

    #[cfg(feature = "_http")]
    pub(crate) fn with_clock(self, clock: crate::server_clock::ServerClock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// A store in this process's memory.
    ///
    /// # Errors
    /// What OpenDAL reports.
    pub fn memory() -> Result<Self, SinkError> {
        let location = "memory://";
        let operator = Operator::new(opendal::services::Memory::default()).map_err(|error| {
            SinkError::new(kind(&error), "open", "the store", location).caused_by(describe(&error))
        })?;
        Ok(Self::new(operator, location, false))
    }

    fn fail(
        &self,
        doing: &'static str,
        object: impl ToString,
    ) -> impl FnOnce(opendal::Error) -> SinkError {
        let error = (doing, object.to_string(), self.location.clone());
        move |source| {
            SinkError::new(kind(&source), error.0, error.1, error.2).caused_by(describe(&source))
        }
    }

    /// Reads an object in one request.
    async fn read_whole(&self, key: &ObjectKey, limit: u64) -> Result<Bytes, SinkError> {
        let reader = self.operator.reader(key.as_str()).await.map_err(self.fail("read", key))?;
        let stream = reader.into_bytes_stream(..).await.map_err(self.fail("read", key))?;
        let mut stream = std::pin::pin!(stream);
        // Grows in place where it is large; what is not written to takes no memory.
        let mut bytes = Vec::new();
        while let Some(piece) = stream.try_next().await.map_err(self.broken(key))? {
            let len = bytes.len() as u64 + piece.len() as u64;
            if len > limit {
                let len = self.stat(key).await.unwrap_or(len);
                return Err(SinkError::wrong_length(key, &self.location, len, limit));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.into())
    }

    async fn read_part(
        &self,
        key: &ObjectKey,
        range: std::ops::Range<u64>,
    ) -> Result<Bytes, SinkError> {
        let Some(wanted) = range.end.checked_sub(range.start).filter(|wanted| *wanted > 0) else {
            // Nothing is asked for, or nonsense: the length decides.
            let len = self.stat(key).await?;
            return if range.start == range.end && range.end <= len {
                Ok(Bytes::new())
            } else {
                Err(SinkError::wrong_length(key, &self.location, len, range.end))
            };
        };
        let read = self.operator.read_with(key.as_str()).range(range.clone()).await;
        let error = match read {
            Ok(bytes) if bytes.len() as u64 == wanted => return Ok(bytes.to_bytes()),
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(self.fail("read", key)(error));
            }
            Err(error) => Some(error),
        };
        // A short answer is a short object, or a connection that broke.
        let len = self.stat(key).await?;
        if len < range.end {
            return Err(SinkError::wrong_length(key, &self.location, len, range.end));
        }
        Err(match error {
            Some(error) => self.fail("read", key)(error),
            None => SinkError::new(SinkErrorKind::Unavailable, "read", key, &self.location)
                .caused_by("the answer was cut short"),
        })
    }

    fn broken(&self, key: &ObjectKey) -> impl FnOnce(std::io::Error) -> SinkError {
        let (key, location) = (key.clone(), self.location.clone());
        move |error| {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<opendal::Error>());
            let (kind, why) = match inner {
                Some(error) => (kind(error), describe(error)),
                None => (SinkErrorKind::Unavailable, scrub(&error.to_string())),
            };
            SinkError::new(kind, "read", key, location).caused_by(why)
        }
    }
}

#[async_trait]
impl Sink for OpendalSink {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            exclusive_create: self.operator.info().capability().write_with_if_not_exists,
            durable: self.durable,
            remote: self.operator.info().scheme() != "memory",
        }
    }

    #[cfg(feature = "_http")]
    fn clock_skew_ms(&self) -> Option<i64> {
        self.clock.as_ref().and_then(crate::server_clock::ServerClock::skew_ms)
    }

    async fn put_new(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError> {
        let body = Buffer::from(payload.pieces().to_vec());
        let written = if self.capabilities().exclusive_create {
            self.operator.write_with(key.as_str(), body).if_not_exists(true).await
        } else {
            // Who creates the same at the same time is not noticed; see `Capabilities::exclusive_create`.
            match self.operator.stat(key.as_str()).await {
                Ok(_) => {
                    let kind = SinkErrorKind::AlreadyExists;
                    return Err(SinkError::new(kind, "create", key, &self.location));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(self.fail("create", key)(error)),
            }
            self.operator.write(key.as_str(), body).await
        };
        written.map(drop).map_err(self.fail("create", key))
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        match span {
            Span::Whole { limit } => self.read_whole(key, limit).await,
            Span::Part(range) => self.read_part(key, range).await,
        }
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        let metadata = self.operator.stat(key.as_str()).await;
        metadata.map(|metadata| metadata.content_length()).map_err(self.fail("look at", key))
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        let path = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let fail = || self.fail("list", folder);
        let entries: Result<Vec<_>, _> =
            match self.operator.lister_with(&path).recursive(true).await {
                Ok(lister) => lister.try_collect().await,
                Err(error) => Err(error),
            };
        let entries = match entries {
            // Stores with real folders: an empty one is not there. Whether the store is must be asked then.
            Err(error) if error.kind() == ErrorKind::NotFound && !folder.is_empty() => {
                self.operator.list("").await.map_err(fail())?;
                return Ok(Vec::new());
            }
            entries => entries.map_err(fail())?,
        };
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            let Ok(key) = ObjectKey::new(entry.path()) else { continue };
            if entry.metadata().is_file() {
                found.push(ObjectInfo { key, len: entry.metadata().content_length() });
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        self.operator.delete(key.as_str()).await.map_err(self.fail("delete", key))
    }

    #[cfg(feature = "s3")]
    fn locks(&self) -> bool {
        self.lock.is_some()
    }

    #[cfg(feature = "s3")]
    async fn locked_until(
        &self,
        key: &ObjectKey,
    ) -> Result<Option<std::time::SystemTime>, SinkError> {
        self.stat(key).await?;
        Ok(self.lock.as_ref().and_then(|lock| lock.take(key.as_str())))
    }

    async fn delete_many(&self, keys: &[ObjectKey]) -> Result<(), SinkError> {
        let names = keys.iter().map(ObjectKey::to_string);
        let what = format!("{} objects", keys.len());
        self.operator.delete_iter(names).await.map_err(self.fail("delete", what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_of_addresses_are_not_told() {
        let text = "send: https://a.b/c?sig=hunter2&x=1, uri (http://d/e) { url: https://f?g=hunter2 } end";
        let clean = "send: https://a.b/c?…, uri (http://d/e) { url: https://f?… } end";
        assert_eq!(scrub(text), clean);
        assert_eq!(scrub("://?"), "://?…");
        assert_eq!(scrub("no address?"), "no address?");
    }

    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn memory_passes_the_conformance_suite() {
        crate::conformance::check_sink(std::sync::Arc::new(OpendalSink::memory().unwrap())).await;
    }
}
