//! Tries again what may succeed later, within bounds: of tries, of time, of calls at once, of bytes per second.
//!
//! Waits grow exponentially and are lengthened by chance, so that many clients do not come again all at once. What
//! cannot succeed is not tried again. A creation whose answer was lost may have happened: when a later try finds the
//! object there, its bytes are read back and tell.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::pushback::Pushback;
use crate::rate::RateLimiter;
use crate::{
    Capabilities, ObjectInfo, ObjectKey, Payload, Sink, SinkError, SinkErrorKind, Span,
    StreamConfig, error_chain,
};

/// How long a call may take after one that was given up, until one succeeds: cleaning up must not wait once more for a
/// store that is gone.
const AFTER_GONE: Duration = Duration::from_secs(5);
/// How long tries fail before someone is told.
const QUIET: Duration = Duration::from_secs(10);

/// Another sink, tried again and bounded. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RetrySink {
    inner: Arc<dyn Sink>,
    config: StreamConfig,
    calls: Arc<Semaphore>,
    upload: Arc<RateLimiter>,
    download: Arc<RateLimiter>,
    pushback: Pushback,
    /// The last call was given up: whoever cleans up after it need not wait as long again.
    gone: Arc<AtomicBool>,
}

/// What a call is counted as.
fn outcome<T>(result: &Result<T, SinkError>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(error) if error.is_retryable() => "unavailable",
        Err(error) => match error.kind() {
            SinkErrorKind::NotFound => "not_found",
            SinkErrorKind::AlreadyExists => "exists",
            SinkErrorKind::PermissionDenied => "denied",
            _ => "failed",
        },
    }
}

impl RetrySink {
    /// Around another sink.
    #[must_use]
    pub fn new(inner: Arc<dyn Sink>, config: StreamConfig) -> Self {
        Self::with_pushback(inner, config, Pushback::new())
    }

    pub(crate) fn with_pushback(
        inner: Arc<dyn Sink>,
        config: StreamConfig,
        pushback: Pushback,
    ) -> Self {
        Self {
            inner,
            config,
            calls: Arc::new(Semaphore::new(config.concurrency.clamp(1, Semaphore::MAX_PERMITS))),
            upload: Arc::new(RateLimiter::new(config.upload_rate)),
            download: Arc::new(RateLimiter::new(config.download_rate)),
            pushback,
            gone: Arc::default(),
        }
    }

    /// The waits between tries, one less than there are tries.
    fn delays(&self, tries: u32) -> impl Iterator<Item = Duration> + Send + use<> {
        ExponentialBuilder::new()
            .with_min_delay(self.config.delay)
            .with_max_delay(self.config.max_delay)
            .with_max_times(tries.saturating_sub(1) as usize)
            .with_jitter()
            .build()
    }

    async fn once<T, F>(&self, doing: &'static str, call: F) -> Result<T, SinkError>
    where
        F: Future<Output = Result<T, SinkError>> + Send,
    {
        self.pushback.wait().await;
        // Never closed, so there is always a permit to come.
        let _permit = self.calls.acquire().await.ok();
        let result = call.await;
        metrics::counter!("mantis_store_calls_total", "call" => doing, "outcome" => outcome(&result))
            .increment(1);
        result
    }

    async fn again<T, F>(
        &self,
        doing: &'static str,
        object: &str,
        mut call: impl FnMut() -> F + Send,
    ) -> Result<T, SinkError>
    where
        F: Future<Output = Result<T, SinkError>> + Send,
    {
        let (tries, patience) = match self.gone.load(Ordering::Relaxed) {
            false => (self.config.attempts, self.config.timeout),
            true => (1, self.config.timeout.min(AFTER_GONE)),
        };
        let mut delays = self.delays(tries);
        let started = Instant::now();
        let (mut last, mut told) = (None, false);
        let work = async {
            loop {
                let error = match self.once(doing, call()).await {
                    Err(error) if error.is_retryable() => error,
                    result => return result,
                };
                let Some(delay) = delays.next() else { return Err(error) };
                let why = crate::error_chain(&error);
                if started.elapsed() > QUIET && !told {
                    told = true;
                    tracing::warn!(doing, object, error = %why, "the store does not answer; tried again");
                } else {
                    tracing::info!(doing, object, error = %why, ?delay, "tried again");
                }
                last = Some(error);
                tokio::time::sleep(delay).await;
            }
        };
        let done = match tokio::time::timeout(patience, work).await {
            Ok(result) => result,
            Err(_) => {
                let after = patience.as_secs_f32();
                let why = match last {
                    Some(last) => {
                        format!("not done within {after} s; the last try: {}", error_chain(&last))
                    }
                    None => format!("not done within {after} s"),
                };
                let kind = SinkErrorKind::Unavailable;
                Err(SinkError::new(kind, doing, object, self.location()).caused_by(why))
            }
        };
        let gone = done.as_ref().is_err_and(SinkError::is_retryable);
        self.gone.store(gone, Ordering::Relaxed);
        done
    }
}

#[async_trait]
impl Sink for RetrySink {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn clock_skew_ms(&self) -> Option<i64> {
        self.inner.clock_skew_ms()
    }

    async fn put_new(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError> {
        self.upload.pass(payload.len() as usize).await;
        let unsure = AtomicBool::new(false);
        let put = || async {
            let error = match self.inner.put_new(key, payload.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if error.is_already_exists() && unsure.load(Ordering::Relaxed) {
                let stored = self.inner.get(key, Span::Whole { limit: payload.len() }).await;
                return match stored {
                    Ok(stored) if stored == payload.to_bytes() => Ok(()),
                    Err(failed) if failed.is_retryable() => Err(failed),
                    _ => Err(error),
                };
            }
            // It may have arrived all the same.
            unsure.fetch_or(error.is_retryable(), Ordering::Relaxed);
            Err(error)
        };
        let done = self.again("create", key.as_str(), put).await;
        if done.is_ok() {
            metrics::counter!("mantis_store_bytes_total", "direction" => "up")
                .increment(payload.len());
        }
        done
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        // A task of its own for each read: several in one task would share one core.
        let read = || {
            let (inner, key, span) = (Arc::clone(&self.inner), key.clone(), span.clone());
            let location = self.location();
            async move {
                let mut task = JoinSet::new();
                let name = key.clone();
                task.spawn(async move { inner.get(&key, span).await });
                task.join_next().await.and_then(Result::ok).unwrap_or_else(|| {
                    Err(SinkError::new(SinkErrorKind::Other, "read", name, location))
                })
            }
        };
        let bytes = self.again("read", key.as_str(), read).await?;
        metrics::counter!("mantis_store_bytes_total", "direction" => "down")
            .increment(bytes.len() as u64);
        self.download.pass(bytes.len()).await;
        Ok(bytes)
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        self.again("look at", key.as_str(), || self.inner.stat(key)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        self.again("list", folder, || self.inner.list(folder)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        self.again("delete", key.as_str(), || self.inner.delete(key)).await
    }

    async fn delete_many(&self, keys: &[ObjectKey]) -> Result<(), SinkError> {
        let what = format!("{} objects", keys.len());
        self.again("delete", &what, || self.inner.delete_many(keys)).await
    }

    fn locks(&self) -> bool {
        self.inner.locks()
    }

    async fn locked_until(&self, key: &ObjectKey) -> Result<Option<SystemTime>, SinkError> {
        self.again("look at", key.as_str(), || self.inner.locked_until(key)).await
    }

    async fn settle(&self, folder: &str) -> Result<(), SinkError> {
        self.again("settle", folder, || self.inner.settle(folder)).await
    }

    async fn sweep(&self, before: SystemTime) -> Result<u64, SinkError> {
        self.again("tidy up", "temporary files", || self.inner.sweep(before)).await
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::*;
    use crate::{Fault, FaultSink, MemorySink};

    const UNAVAILABLE: SinkErrorKind = SinkErrorKind::Unavailable;

    fn key() -> ObjectKey {
        ObjectKey::new("a/b").unwrap()
    }

    /// A sink whose calls fail by a plan, and the one around it.
    fn faulty(attempts: u32) -> (MemorySink, FaultSink, RetrySink) {
        let memory = MemorySink::new();
        let faults = FaultSink::new(Arc::new(memory.clone()));
        let config = StreamConfig {
            attempts,
            delay: Duration::from_secs(1),
            timeout: Duration::from_secs(60),
            ..StreamConfig::default()
        };
        (memory, faults.clone(), RetrySink::new(Arc::new(faults), config))
    }

    #[tokio::test]
    async fn passes_the_conformance_suite() {
        let (_, _, sink) = faulty(3);
        crate::conformance::check_sink(Arc::new(sink)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_creation_whose_answer_was_lost_is_settled_by_reading_back() {
        let (memory, faults, sink) = faulty(3);
        faults.fail_once(0, Fault::After(UNAVAILABLE));
        sink.put_new(&key(), "mine".into()).await.unwrap();
        assert_eq!(memory.get(&key(), Span::Whole { limit: 9 }).await.unwrap(), "mine");
        // The reading back fails too.
        let (_, faults, sink) = faulty(4);
        faults.fail_once(0, Fault::After(UNAVAILABLE));
        faults.fail_once(2, Fault::Before(UNAVAILABLE));
        sink.put_new(&key(), "mine".into()).await.unwrap();
        // Somebody else's is not ours, whatever was lost.
        let (memory, faults, sink) = faulty(3);
        memory.put_new(&key(), "theirs".into()).await.unwrap();
        faults.fail_once(0, Fault::Before(UNAVAILABLE));
        let error = sink.put_new(&key(), "mine".into()).await.unwrap_err();
        assert!(error.is_already_exists());
        // And what was there before any try is not ours either, though it be the same.
        let error = sink.put_new(&key(), "theirs".into()).await.unwrap_err();
        assert!(error.is_already_exists());
    }

    #[tokio::test(start_paused = true)]
    async fn tries_are_counted_and_what_cannot_succeed_is_tried_once() {
        let (_, faults, sink) = faulty(4);
        faults.fail_from(0, Fault::Before(UNAVAILABLE));
        let start = Instant::now();
        assert!(sink.stat(&key()).await.unwrap_err().is_retryable());
        assert_eq!(faults.calls(), 4);
        // Waits of one, two and four seconds, each lengthened by chance.
        assert!((3..30).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        let (_, faults, sink) = faulty(4);
        faults.fail_from(0, Fault::Before(SinkErrorKind::PermissionDenied));
        assert!(!sink.list("a").await.unwrap_err().is_retryable());
        assert_eq!(faults.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_in_its_time_and_those_after_it_sooner_until_one_succeeds() {
        let (_, faults, sink) = faulty(100);
        faults.fail_from(0, Fault::Before(UNAVAILABLE));
        let start = Instant::now();
        let error = sink.stat(&key()).await.unwrap_err();
        assert!(
            error_chain(&error).contains("not done within 60 s; the last try"),
            "{}",
            error_chain(&error)
        );
        assert_eq!(start.elapsed().as_secs(), 60);
        let calls = faults.calls();
        assert!(sink.delete(&key()).await.is_err());
        assert_eq!((faults.calls(), start.elapsed().as_secs()), (calls + 1, 60));
        faults.fail_from(u64::MAX, Fault::Before(UNAVAILABLE));
        sink.put_new(&key(), "a".into()).await.unwrap();
        faults.fail_once(faults.calls(), Fault::Before(UNAVAILABLE));
        sink.stat(&key()).await.unwrap();
    }
}
