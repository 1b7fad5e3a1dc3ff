//! A sink whose calls fail when a test says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::{Capabilities, ObjectInfo, ObjectKey, Payload, Sink, SinkError, SinkErrorKind, Span};

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and did nothing.
    Before(SinkErrorKind),
    /// It took effect, but the answer was lost.
    After(SinkErrorKind),
    /// A read gives one bit flipped; other calls are not touched.
    FlipBit,
    /// A read gives its first half; other calls are not touched.
    Truncate,
}

/// What a test does in the middle of things.
type Act = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Plan {
    calls: u64,
    once: BTreeMap<u64, Fault>,
    from: Option<(u64, Fault)>,
    acts: BTreeMap<u64, Act>,
    promises: Option<Capabilities>,
    locked_until: Option<SystemTime>,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { calls, once, from, acts, .. } = self;
        let acts: Vec<_> = acts.keys().collect();
        write!(f, "Plan {{ calls: {calls}, once: {once:?}, from: {from:?}, acts: {acts:?} }}")
    }
}

/// Lets calls fail by a plan, counted from 0 over all calls, and passes the others on.
#[derive(Debug, Clone)]
pub struct FaultSink {
    inner: Arc<dyn Sink>,
    plan: Arc<Mutex<Plan>>,
    stalled: Arc<watch::Sender<bool>>,
}

impl FaultSink {
    /// Around another sink, with no fault planned.
    #[must_use]
    pub fn new(inner: Arc<dyn Sink>) -> Self {
        Self { inner, plan: Arc::default(), stalled: Arc::new(watch::Sender::new(false)) }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Call number `call` fails, once.
    pub fn fail_once(&self, call: u64, fault: Fault) {
        self.plan().once.insert(call, fault);
    }

    /// Every call from number `call` on fails: the process, or the store, is gone.
    pub fn fail_from(&self, call: u64, fault: Fault) {
        self.plan().from = Some((call, fault));
    }

    /// Does something right before call number `call`: a user's cancellation, another client's doing.
    pub fn act_before(&self, call: u64, act: impl FnOnce() + Send + 'static) {
        self.plan().acts.insert(call, Box::new(act));
    }

    /// Nothing that is sent is taken until [`Self::go_on`].
    pub fn stall(&self) {
        self.stalled.send_replace(true);
    }

    /// What was sent is taken again.
    pub fn go_on(&self) {
        self.stalled.send_replace(false);
    }

    /// It promises something else than the store behind it.
    pub fn promise(&self, capabilities: Capabilities) {
        self.plan().promises = Some(capabilities);
    }

    /// Whatever is there is locked until then.
    pub fn lock_until(&self, until: SystemTime) {
        self.plan().locked_until = Some(until);
    }

    /// Nothing is planned any more.
    pub fn heal(&self) {
        let mut plan = self.plan();
        plan.once.clear();
        plan.acts.clear();
        plan.from = None;
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.plan().calls
    }

    fn next(&self) -> Option<Fault> {
        let mut plan = self.plan();
        let call = plan.calls;
        plan.calls += 1;
        let lasting = plan.from.filter(|(from, _)| call >= *from).map(|(_, fault)| fault);
        let fault = plan.once.get(&call).copied().or(lasting);
        let act = plan.acts.remove(&call);
        drop(plan);
        if let Some(act) = act {
            act();
        }
        fault
    }

    async fn through<T>(
        &self,
        doing: &'static str,
        object: &str,
        call: impl Future<Output = Result<T, SinkError>>,
        spoil: impl FnOnce(Fault, T) -> T,
    ) -> Result<T, SinkError> {
        let fail = |kind| Err(SinkError::new(kind, doing, object, "a store with planned faults"));
        match self.next() {
            None => call.await,
            Some(Fault::Before(kind)) => fail(kind),
            Some(Fault::After(kind)) => {
                call.await?;
                fail(kind)
            }
            Some(fault) => call.await.map(|answer| spoil(fault, answer)),
        }
    }
}

fn spoil_bytes(fault: Fault, bytes: Bytes) -> Bytes {
    match fault {
        Fault::Truncate => bytes.slice(..bytes.len() / 2),
        _ if bytes.is_empty() => bytes,
        _ => {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes.into()
        }
    }
}

#[async_trait]
impl Sink for FaultSink {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        let promised = self.plan().promises;
        promised.unwrap_or_else(|| self.inner.capabilities())
    }

    async fn put_new(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError> {
        let put = async {
            let _ = self.stalled.subscribe().wait_for(|stalled| !stalled).await;
            self.inner.put_new(key, payload).await
        };
        self.through("create", key.as_str(), put, |_, ()| ()).await
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        self.through("read", key.as_str(), self.inner.get(key, span), spoil_bytes).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        self.through("look at", key.as_str(), self.inner.stat(key), |_, len| len).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        self.through("list", folder, self.inner.list(folder), |_, list| list).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        self.through("delete", key.as_str(), self.inner.delete(key), |_, ()| ()).await
    }

    fn locks(&self) -> bool {
        self.plan().locked_until.is_some() || self.inner.locks()
    }

    async fn locked_until(&self, key: &ObjectKey) -> Result<Option<SystemTime>, SinkError> {
        let Some(until) = self.plan().locked_until else {
            return self.inner.locked_until(key).await;
        };
        let found = self.inner.stat(key);
        self.through("look at", key.as_str(), found, |_, len| len).await.map(|_| Some(until))
    }

    async fn settle(&self, folder: &str) -> Result<(), SinkError> {
        self.through("settle", folder, self.inner.settle(folder), |_, ()| ()).await
    }

    async fn sweep(&self, before: SystemTime) -> Result<u64, SinkError> {
        let sweep = self.inner.sweep(before);
        self.through("tidy up", "temporary files", sweep, |_, swept| swept).await
    }
}
