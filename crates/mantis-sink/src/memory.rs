//! A store in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Capabilities, ObjectInfo, ObjectKey, Payload, Sink, SinkError, SinkErrorKind, Span};

/// A store in memory: the reference for what a sink does. Clones share the objects.
#[derive(Debug, Clone, Default)]
pub struct MemorySink(Arc<Mutex<BTreeMap<ObjectKey, Bytes>>>);

const PLACE: &str = "memory://";

impl MemorySink {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A store of its own with the same objects. (A clone shares them.)
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        copy.objects()
            .extend(self.objects().iter().map(|(key, bytes)| (key.clone(), bytes.clone())));
        copy
    }

    /// Puts bytes in an object's place, whatever was there: for tests of damage.
    pub fn replace(&self, key: &ObjectKey, bytes: Bytes) {
        self.objects().insert(key.clone(), bytes);
    }
}

/// Cuts `bytes` to `span`.
pub(crate) fn cut(
    key: &ObjectKey,
    bytes: &Bytes,
    span: Span,
    place: &str,
) -> Result<Bytes, SinkError> {
    let len = bytes.len() as u64;
    match span.within(len) {
        Ok((start, count)) => Ok(bytes.slice(start as usize..(start + count) as usize)),
        Err(wanted) => Err(SinkError::wrong_length(key, place, len, wanted)),
    }
}

#[async_trait]
impl Sink for MemorySink {
    fn location(&self) -> String {
        PLACE.into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { exclusive_create: true, durable: false, remote: false }
    }

    async fn put_new(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError> {
        let mut objects = self.objects();
        if objects.contains_key(key) {
            return Err(SinkError::new(SinkErrorKind::AlreadyExists, "create", key, PLACE));
        }
        objects.insert(key.clone(), payload.to_bytes());
        Ok(())
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        match self.objects().get(key) {
            Some(bytes) => cut(key, bytes, span, PLACE),
            None => Err(SinkError::new(SinkErrorKind::NotFound, "read", key, PLACE)),
        }
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        let len = self.objects().get(key).map(|bytes| bytes.len() as u64);
        len.ok_or_else(|| SinkError::new(SinkErrorKind::NotFound, "look at", key, PLACE))
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        let within = |key: &ObjectKey| {
            folder.is_empty()
                || key.as_str().strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
        };
        let info = |(key, bytes): (&ObjectKey, &Bytes)| ObjectInfo {
            key: key.clone(),
            len: bytes.len() as u64,
        };
        Ok(self.objects().iter().filter(|(key, _)| within(key)).map(info).collect())
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        self.objects().remove(key);
        Ok(())
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passes_the_conformance_suite() {
        crate::conformance::check_sink(Arc::new(MemorySink::new())).await;
    }
}
