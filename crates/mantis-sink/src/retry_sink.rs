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
/// What looking at an object is called.
const LOOK: &str = "look at";
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

    /// Has a call made in a task of its own, which ends with the one that waits for it.
    ///
    /// Of several calls of one task, as in a buffered stream, only those get on that are waited for; what has a place among the calls
    /// at once and is not waited for would keep it from what is, for ever. And they would share one core.
    async fn apart<T: Send + 'static>(
        &self,
        doing: &'static str,
        object: String,
        call: impl Future<Output = Result<T, SinkError>> + Send + 'static,
    ) -> Result<T, SinkError> {
        let mut task = JoinSet::new();
        task.spawn(call);
        let done = task.join_next().await.and_then(Result::ok);
        let broken = || SinkError::new(SinkErrorKind::Other, doing, object, self.location());
        done.unwrap_or_else(|| Err(broken()))
    }

    async fn create(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError> {
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

    async fn read(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        let read = || self.inner.get(key, span.clone());
        let bytes = self.again("read", key.as_str(), read).await?;
        metrics::counter!("mantis_store_bytes_total", "direction" => "down")
            .increment(bytes.len() as u64);
        self.download.pass(bytes.len()).await;
        Ok(bytes)
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
        let (sink, key) = (self.clone(), key.clone());
        self.apart("create", key.to_string(), async move { sink.create(&key, payload).await }).await
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        let (sink, key) = (self.clone(), key.clone());
        self.apart("read", key.to_string(), async move { sink.read(&key, span).await }).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        let (sink, key) = (self.clone(), key.clone());
        let name = key.to_string();
        let call = async move { sink.again(LOOK, key.as_str(), || sink.inner.stat(&key)).await };
        self.apart(LOOK, name, call).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        let (sink, folder) = (self.clone(), folder.to_owned());
        let name = folder.clone();
        let call = async move { sink.again("list", &folder, || sink.inner.list(&folder)).await };
        self.apart("list", name, call).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        let (sink, key) = (self.clone(), key.clone());
        let name = key.to_string();
        let call =
            async move { sink.again("delete", key.as_str(), || sink.inner.delete(&key)).await };
        self.apart("delete", name, call).await
    }

    async fn delete_many(&self, keys: &[ObjectKey]) -> Result<(), SinkError> {
        let (sink, keys) = (self.clone(), keys.to_vec());
        let name = format!("{} objects", keys.len());
        let what = name.clone();
        let call =
            async move { sink.again("delete", &what, || sink.inner.delete_many(&keys)).await };
        self.apart("delete", name, call).await
    }

    fn locks(&self) -> bool {
        self.inner.locks()
    }

    async fn locked_until(&self, key: &ObjectKey) -> Result<Option<SystemTime>, SinkError> {
        let (sink, key) = (self.clone(), key.clone());
        let name = key.to_string();
        let call =
            async move { sink.again(LOOK, key.as_str(), || sink.inner.locked_until(&key)).await };
        self.apart(LOOK, name, call).await
    }

    async fn settle(&self, folder: &str) -> Result<(), SinkError> {
        let (sink, folder) = (self.clone(), folder.to_owned());
        let name = folder.clone();
        let call =
            async move { sink.again("settle", &folder, || sink.inner.settle(&folder)).await };
        self.apart("settle", name, call).await
    }

    async fn sweep(&self, before: SystemTime) -> Result<u64, SinkError> {
        let (sink, what) = (self.clone(), "temporary files");
        let call = async move { sink.again("tidy up", what, || sink.inner.sweep(before)).await };
        self.apart("tidy up", what.to_owned(), call).await
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
#[path = "retry_sink_tests.rs"]
mod tests;
