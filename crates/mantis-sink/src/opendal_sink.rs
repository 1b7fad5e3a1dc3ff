//! Every store that OpenDAL speaks to. The only file that knows OpenDAL's types.

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use opendal::{Buffer, ErrorKind, Operator};

use crate::{Capabilities, ObjectInfo, ObjectKey, Payload, Sink, SinkError, SinkErrorKind, Span};

/// A store behind an OpenDAL operator.
#[derive(Debug, Clone)]
pub struct OpendalSink {
    operator: Operator,
    location: String,
    durable: bool,
}

fn kind(error: &opendal::Error) -> SinkErrorKind {
    match error.kind() {
        ErrorKind::NotFound => SinkErrorKind::NotFound,
        ErrorKind::AlreadyExists | ErrorKind::ConditionNotMatch => SinkErrorKind::AlreadyExists,
        ErrorKind::PermissionDenied => SinkErrorKind::PermissionDenied,
        ErrorKind::RateLimited => SinkErrorKind::Unavailable,
        ErrorKind::Unsupported => SinkErrorKind::Unsupported,
        ErrorKind::ConfigInvalid => SinkErrorKind::InvalidAddress,
        ErrorKind::RangeNotSatisfied => SinkErrorKind::WrongLength,
        _ if error.is_temporary() => SinkErrorKind::Unavailable,
        _ => SinkErrorKind::Other,
    }
}

impl OpendalSink {
    /// A store behind an operator that was made elsewhere. `location` names it in messages and must
    /// hold no secret; `durable` says whether what it acknowledges survives a crash.
    #[must_use]
    pub fn new(operator: Operator, location: impl Into<String>, durable: bool) -> Self {
        Self { operator, location: location.into(), durable }
    }

    /// A store in this process's memory.
    ///
    /// # Errors
    /// What OpenDAL reports.
    pub fn memory() -> Result<Self, SinkError> {
        let location = "memory://";
        let operator = Operator::new(opendal::services::Memory::default()).map_err(|error| {
            SinkError::new(kind(&error), "open", "the store", location).caused_by(error)
        })?;
        Ok(Self::new(operator, location, false))
    }

    fn fail(
        &self,
        doing: &'static str,
        object: impl ToString,
    ) -> impl FnOnce(opendal::Error) -> SinkError {
        let error = (doing, object.to_string(), self.location.clone());
        move |source| SinkError::new(kind(&source), error.0, error.1, error.2).caused_by(source)
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

    async fn put_new(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError> {
        let body = Buffer::from(payload.pieces().to_vec());
        let written = self.operator.write_with(key.as_str(), body).if_not_exists(true).await;
        written.map(drop).map_err(self.fail("create", key))
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        let len = self.stat(key).await?;
        let range = match span {
            Span::Whole { limit } if len > limit => {
                return Err(SinkError::wrong_length(key, &self.location, len, limit));
            }
            Span::Whole { .. } => 0..len,
            Span::Part(range) if range.start > range.end || range.end > len => {
                return Err(SinkError::wrong_length(key, &self.location, len, range.end));
            }
            Span::Part(range) => range,
        };
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let wanted = range.end - range.start;
        let read = self.operator.read_with(key.as_str()).range(range).await;
        let bytes = read.map_err(self.fail("read", key))?.to_bytes();
        if bytes.len() as u64 == wanted {
            Ok(bytes)
        } else {
            Err(SinkError::wrong_length(key, &self.location, bytes.len() as u64, wanted))
        }
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        let metadata = self.operator.stat(key.as_str()).await;
        metadata.map(|metadata| metadata.content_length()).map_err(self.fail("look at", key))
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        let path = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let fail = || self.fail("list", folder);
        let lister = self.operator.lister_with(&path).recursive(true).await.map_err(fail())?;
        let entries: Vec<_> = lister.try_collect().await.map_err(fail())?;
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
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_passes_the_conformance_suite() {
        crate::conformance::check_sink(std::sync::Arc::new(OpendalSink::memory().unwrap())).await;
    }
}
