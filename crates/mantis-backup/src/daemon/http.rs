//! Metrics and health by HTTP, and the dashboard for those who may see it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use mantis_stream::CancellationToken;
use metrics_exporter_prometheus::PrometheusHandle;

use super::{Freshness, Status};
use crate::Error;

/// What is served.
#[derive(Clone)]
pub(super) struct Pages {
    #[cfg(feature = "dashboard")]
    pub(super) board: super::dashboard::Board,
    #[cfg(feature = "dashboard")]
    pub(super) tls: super::listener::Tls,
    pub(super) metrics: PrometheusHandle,
    pub(super) freshness: Arc<Freshness>,
    pub(super) status: Arc<Status>,
}

/// Serves until dropped.
#[derive(Debug)]
pub(super) struct Server(CancellationToken);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

pub(super) const INDEX: &str = "mantis\n\n/metrics  for Prometheus\n/health   whether the daemon's loop turns\n/ready    whether it begins runs and can keep its state\n";
/// What is for other programs: without a login, and by whichever name they have for this machine.
fn for_programs(pages: Pages) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .with_state(pages)
}

/// Listens, with TLS where that is configured, and serves all there is until stopped. Returns where.
#[cfg(feature = "dashboard")]
async fn start(address: &str, pages: Pages, stop: CancellationToken) -> std::io::Result<String> {
    use super::listener::{Listener, Peer};
    let listener = Listener::bind(address, pages.tls.clone()).await?;
    let at = listener.address();
    let front = super::dashboard::routes(pages.board.clone(), at.ip().is_loopback());
    let url = format!("{}://{at}", pages.tls.scheme());
    tracing::info!("dashboard at {url}/");
    if !at.ip().is_loopback() && pages.board.sends_passwords_openly() {
        tracing::warn!(
            "passwords are sent in the clear: set `tls` of [dashboard], or `behind_https` where a proxy speaks HTTPS"
        );
    }
    let router = for_programs(pages).merge(front);
    let served = axum::serve(listener, router.into_make_service_with_connect_info::<Peer>());
    let served = served.with_graceful_shutdown(stop.cancelled_owned());
    tokio::spawn(async move { report(served.await) });
    Ok(url)
}

/// Listens, and serves until stopped. Returns where.
#[cfg(not(feature = "dashboard"))]
async fn start(address: &str, pages: Pages, stop: CancellationToken) -> std::io::Result<String> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let router = for_programs(pages).route("/", get(async || INDEX));
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    tokio::spawn(async move { report(served.await) });
    Ok(url)
}

fn report(ended: std::io::Result<()>) {
    if let Err(error) = ended {
        tracing::error!(%error, "metrics are not served any more");
    }
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    pages.freshness.show();
    pages.metrics.run_upkeep();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], pages.metrics.render())
}

async fn health(State(pages): State<Pages>) -> impl IntoResponse {
    if pages.status.is_alive() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the loop does not turn\n")
    }
}

async fn ready(State(pages): State<Pages>) -> impl IntoResponse {
    match pages.status.ready() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// Begins to serve at an address; nothing for an empty one.
///
/// # Errors
/// Where it cannot be listened at.
pub(super) async fn listen(address: &str, pages: Pages) -> Result<Option<Server>, Error> {
    if address.is_empty() {
        return Ok(None);
    }
    let failed = |error: std::io::Error| Error::Other {
        doing: format!("listen at {address}"),
        source: error.into(),
        help: Some("choose another address with --listen or `listen`; \"\" for none".into()),
    };
    let stop = CancellationToken::new();
    let url = start(address, pages, stop.clone()).await.map_err(failed)?;
    tracing::info!("metrics at {url}/metrics");
    Ok(Some(Server(stop)))
}
