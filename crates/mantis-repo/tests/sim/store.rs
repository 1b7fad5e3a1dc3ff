//! A store whose calls wait for their turn, and meet what the history has for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use mantis_sink::{
    Capabilities, MemorySink, ObjectInfo, ObjectKey, Payload, Sink, SinkError, SinkErrorKind, Span,
};
use tokio::sync::{Notify, oneshot};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    Goes,
    /// It fails, and did nothing.
    FailsBefore(SinkErrorKind),
    /// It took effect, and its answer is lost.
    FailsAfter(SinkErrorKind),
}

/// A call that waits.
#[derive(Debug)]
pub(crate) struct Call {
    /// What it is, for the story.
    pub(crate) what: String,
    go: oneshot::Sender<Fate>,
    done: oneshot::Receiver<()>,
}

impl Call {
    /// Lets it go on; returns when it took effect, or failed.
    pub(crate) async fn meets(self, fate: Fate) {
        let _ = self.go.send(fate);
        let _ = self.done.await;
    }
}

/// Calls of one client that wait.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    waiting: Mutex<VecDeque<Call>>,
    arrived: Notify,
}

impl Gate {
    pub(crate) fn first(&self) -> Option<Call> {
        self.waiting.lock().unwrap().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.lock().unwrap().is_empty()
    }

    pub(crate) async fn arrival(&self) {
        self.arrived.notified().await;
    }
}

/// The store as one client has it.
#[derive(Debug, Clone)]
pub(crate) struct ClientStore {
    inner: MemorySink,
    gate: Arc<Gate>,
}

impl ClientStore {
    pub(crate) const fn new(inner: MemorySink, gate: Arc<Gate>) -> Self {
        Self { inner, gate }
    }

    async fn turn<T>(
        &self,
        doing: &'static str,
        object: &str,
        call: impl Future<Output = Result<T, SinkError>>,
    ) -> Result<T, SinkError> {
        let ((go, turn), (made, done)) = (oneshot::channel(), oneshot::channel());
        let waits = Call { what: format!("{doing} {object}"), go, done };
        self.gate.waiting.lock().unwrap().push_back(waits);
        self.gate.arrived.notify_one();
        let fail = |kind| Err(SinkError::new(kind, doing, object, "the history has it fail"));
        // Whoever has the turns is gone at the history's end.
        let answer = match turn.await.unwrap_or(Fate::FailsBefore(SinkErrorKind::Other)) {
            Fate::Goes => call.await,
            Fate::FailsBefore(kind) => fail(kind),
            Fate::FailsAfter(kind) => call.await.and_then(|_| fail(kind)),
        };
        let _ = made.send(());
        answer
    }
}

#[async_trait]
impl Sink for ClientStore {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put_new(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError> {
        self.turn("create", key.as_str(), self.inner.put_new(key, payload)).await
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        self.turn("read", key.as_str(), self.inner.get(key, span)).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        self.turn("look at", key.as_str(), self.inner.stat(key)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        self.turn("list", folder, self.inner.list(folder)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        self.turn("delete", key.as_str(), self.inner.delete(key)).await
    }
}
