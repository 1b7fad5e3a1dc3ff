//! Tries again what may succeed later, within bounds: of tries, of time, of calls at once, of bytes per second.
//!
//! Waits grow exponentially and are shortened by chance, so that many clients do not come again all at once. What
//! cannot succeed is not tried again. A creation whose answer was lost may have happened: when a later try finds the
//! object there, its bytes are read back and tell.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::pushback::Pushback;
use crate::rate::RateLimiter;
use crate::{
    Capabilities, ObjectInfo, ObjectKey, Payload, Sink, SinkError, SinkErrorKind, Span,
    StreamConfig,
};

/// Another sink, tried again and bounded. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RetrySink {
    inner: Arc<dyn Sink>,
    config: StreamConfig,
    calls: Arc<Semaphore>,
    upload: Arc<RateLimiter>,
    download: Arc<RateLimiter>,
    pushback: Pushback,
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
            calls: Arc::new(Semaphore::new(config.concurrency)),
            upload: Arc::new(RateLimiter::new(config.upload_rate)),
            download: Arc::new(RateLimiter::new(config.download_rate)),
            pushback,
        }
    }

    /// The waits between tries, one less than there are tries.
    fn delays(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        ExponentialBuilder::new()
            .with_min_delay(self.config.delay)
            .with_max_delay(self.config.max_delay)
            .with_max_times(self.config.attempts.saturating_sub(1) as usize)
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
        let mut delays = self.delays();
        let mut last: Option<SinkError> = None;
        let tries = async {
            loop {
                let error = match self.once(doing, call()).await {
                    Err(error) if error.is_retryable() => error,
                    result => return result,
                };
                let Some(delay) = delays.next() else { return Err(error) };
                tracing::info!(doing, object, %error, ?delay, "tried again");
                last = Some(error);
                tokio::time::sleep(delay).await;
            }
        };
        match tokio::time::timeout(self.config.timeout, tries).await {
            Ok(result) => result,
            Err(_) => {
                let after = self.config.timeout.as_secs_f32();
                let why = match last {
                    Some(last) => {
                        format!("not done within {after} s; the last try: {}", chain(&last))
                    }
                    None => format!("not done within {after} s"),
                };
                let kind = SinkErrorKind::Unavailable;
                Err(SinkError::new(kind, doing, object, self.location()).caused_by(why))
            }
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
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
        let unsure = std::sync::atomic::AtomicBool::new(false);
        let put = || async {
            use std::sync::atomic::Ordering::Relaxed;
            let error = match self.inner.put_new(key, payload.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if error.is_already_exists() && unsure.load(Relaxed) {
                let stored = self.inner.get(key, Span::Whole { limit: payload.len() }).await;
                return match stored {
                    Ok(stored) if stored == payload.to_bytes() => Ok(()),
                    Err(failed) if failed.is_retryable() => Err(failed),
                    _ => Err(error),
                };
            }
            // It may have arrived all the same.
            unsure.fetch_or(error.is_retryable(), Relaxed);
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
}
