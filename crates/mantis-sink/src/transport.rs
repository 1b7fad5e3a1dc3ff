//! HTTP for OpenDAL's services: timeouts on connections and silence, and what the store says about coming again.

#[cfg(feature = "s3")]
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use opendal::{Buffer, HttpBody, HttpTransport, HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;

#[cfg(feature = "s3")]
use crate::object_lock::ObjectLock;
use crate::pushback::Pushback;
use crate::server_clock::ServerClock;
use crate::{SinkError, SinkErrorKind, StreamConfig};

/// Sends requests and notes what answers say about time.
struct Transport {
    inner: ReqwestTransport,
    pushback: Pushback,
    clock: ServerClock,
    extras: Extras,
}

/// What one store's requests need beyond what OpenDAL gives them.
#[derive(Clone, Default)]
pub(crate) struct Extras {
    /// Makes every PUT fail where there is something: for stores whose service in OpenDAL cannot ask for it.
    pub(crate) create_only: bool,
    /// Locks what is created.
    #[cfg(feature = "s3")]
    pub(crate) lock: Option<Arc<ObjectLock>>,
}

#[cfg(feature = "webdav")]
impl Extras {
    pub(crate) fn create_only() -> Self {
        Self {
            create_only: true,
            #[cfg(feature = "s3")]
            lock: None,
        }
    }
}

/// The seconds that a `Retry-After` asks for. One with a date is taken as a second: the store's clock is not ours.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    Some(Duration::from_secs(text.parse().unwrap_or(1)))
}

impl HttpTransport for Transport {
    async fn fetch(&self, mut request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        if self.extras.create_only && request.method() == http::Method::PUT {
            let any = http::HeaderValue::from_static("*");
            request.headers_mut().insert(http::header::IF_NONE_MATCH, any);
        }
        #[cfg(feature = "s3")]
        if let Some(lock) = &self.extras.lock
            && request.method() == http::Method::PUT
        {
            request = lock.lock(request, &HttpTransporter::new(self.inner.clone())).await?;
        }
        let method = request.method().to_string();
        #[cfg(feature = "s3")]
        let head =
            (request.method() == http::Method::HEAD).then(|| request.uri().path().to_owned());
        let answer = self.inner.fetch(request).await;
        let status = answer
            .as_ref()
            .map_or_else(|_| "none".to_owned(), |answer| answer.status().as_u16().to_string());
        metrics::counter!("mantis_store_requests_total", "method" => method, "status" => status)
            .increment(1);
        let answer = answer?;
        self.clock.note(answer.headers());
        #[cfg(feature = "s3")]
        if let (Some(lock), Some(path)) = (&self.extras.lock, head) {
            lock.note(&path, answer.headers());
        }
        let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        if busy.contains(&answer.status())
            && let Some(after) = retry_after(answer.headers())
        {
            self.pushback.ask(after);
        }
        Ok(answer)
    }
}

/// The operator, with an HTTP client of its own.
pub(crate) fn with_transport(
    operator: Operator,
    config: &StreamConfig,
    (pushback, clock, extras): (Pushback, ServerClock, Extras),
    location: &str,
) -> Result<Operator, SinkError> {
    let client = reqwest::Client::builder()
        .connect_timeout(config.connect_timeout)
        .read_timeout(config.idle_timeout)
        .tcp_user_timeout(config.idle_timeout)
        .pool_max_idle_per_host(config.concurrency)
        .user_agent(concat!("mantis/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| {
            SinkError::new(SinkErrorKind::Other, "make a client for", "the store", location)
                .caused_by(error)
        })?;
    let transport = Transport { inner: ReqwestTransport::new(client), pushback, clock, extras };
    let context = OperationContext::new().with_http_transport(HttpTransporter::new(transport));
    Ok(operator.with_context(context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_store_asks_for() {
        for (text, seconds) in [("7", 7), (" 0 ", 0), ("Fri, 31 Dec 1999 23:59:59 GMT", 1)] {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
