//! A store whose calls wait for their turn, and meet what the history has for them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use mantis_sink::{
    Capabilities, MemorySink, ObjectInfo, ObjectKey, Payload, Sink, SinkError, SinkErrorKind, Span,
};
use tokio::sync::{Notify, oneshot};

use crate::lists::{LateLists, SharedChanges};

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
    /// Nobody waits, and nothing fails.
    open: AtomicBool,
}

impl Gate {
    /// One through which everything goes.
    pub(crate) fn open() -> Self {
        Self { open: AtomicBool::new(true), ..Self::default() }
    }

    pub(crate) fn first(&self) -> Option<Call> {
        self.waiting.lock().unwrap().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.lock().unwrap().is_empty()
    }

    pub(crate) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Makes a call when it is its turn.
    pub(crate) async fn turn<T>(
        &self,
        doing: &'static str,
        object: &str,
        call: impl Future<Output = Result<T, SinkError>>,
    ) -> Result<T, SinkError> {
        if self.open.load(Ordering::Relaxed) {
            return call.await;
        }
        let ((go, turn), (made, done)) = (oneshot::channel(), oneshot::channel());
        let waits = Call { what: format!("{doing} {object}"), go, done };
        self.waiting.lock().unwrap().push_back(waits);
        self.arrived.notify_one();
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

/// The store as one client has it.
#[derive(Debug)]
pub(crate) struct ClientStore {
    inner: MemorySink,
    gate: Arc<Gate>,
    changes: SharedChanges,
    late: Option<LateLists>,
}

impl ClientStore {
    pub(crate) const fn new(
        inner: MemorySink,
        gate: Arc<Gate>,
        changes: SharedChanges,
        late: Option<LateLists>,
    ) -> Self {
        Self { inner, gate, changes, late }
    }

    fn note(&self, key: &ObjectKey, len: u64, made: bool) {
        self.changes.lock().unwrap().note(ObjectInfo { key: key.clone(), len }, made);
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
        let create = async {
            let len = payload.len();
            self.inner.put_new(key, payload).await?;
            self.note(key, len, true);
            Ok(())
        };
        self.gate.turn("create", key.as_str(), create).await
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        self.gate.turn("read", key.as_str(), self.inner.get(key, span)).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        self.gate.turn("look at", key.as_str(), self.inner.stat(key)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        let list = async {
            let there = self.inner.list(folder).await?;
            Ok(match &self.late {
                Some(late) => late.late(folder, there),
                None => there,
            })
        };
        self.gate.turn("list", folder, list).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        let delete = async {
            let len = self.inner.stat(key).await;
            self.inner.delete(key).await?;
            if let Ok(len) = len {
                self.note(key, len, false);
            }
            Ok(())
        };
        self.gate.turn("delete", key.as_str(), delete).await
    }
}
