//! A sink that writes down every call, so that tests can count and order them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Capabilities, ObjectInfo, ObjectKey, Payload, Sink, SinkError, Span};

/// One call to a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// An object was created, of so many bytes.
    Put(ObjectKey, u64),
    /// An object was read.
    Get(ObjectKey),
    /// An object was looked at.
    Stat(ObjectKey),
    /// A folder was listed.
    List(String),
    /// An object was deleted.
    Delete(ObjectKey),
}

/// Writes down every call, then passes it on.
#[derive(Debug, Clone)]
pub struct RecordingSink {
    inner: Arc<dyn Sink>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl RecordingSink {
    /// Around another sink.
    #[must_use]
    pub fn new(inner: Arc<dyn Sink>) -> Self {
        Self { inner, calls: Arc::default() }
    }

    /// The calls so far; starts anew.
    #[must_use]
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, call: Call) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }
}

#[async_trait]
impl Sink for RecordingSink {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put_new(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError> {
        self.note(Call::Put(key.clone(), payload.len()));
        self.inner.put_new(key, payload).await
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        self.note(Call::Get(key.clone()));
        self.inner.get(key, span).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        self.note(Call::Stat(key.clone()));
        self.inner.stat(key).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        self.note(Call::List(folder.to_owned()));
        self.inner.list(folder).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        self.note(Call::Delete(key.clone()));
        self.inner.delete(key).await
    }

    async fn settle(&self, folder: &str) -> Result<(), SinkError> {
        self.inner.settle(folder).await
    }

    async fn sweep(&self, before: SystemTime) -> Result<u64, SinkError> {
        self.inner.sweep(before).await
    }
}
