//! Metrics and health by HTTP, and the dashboard where only this machine can reach it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use mantis_stream::CancellationToken;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use super::{Freshness, Status};
use crate::Error;

/// What is served.
#[derive(Clone)]
pub(super) struct Pages {
    #[cfg(feature = "dashboard")]
    pub(super) board: super::dashboard::Board,
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

const INDEX: &str = "mantis\n\n/metrics  for Prometheus\n/health   whether the daemon's loop turns\n/ready    whether it begins runs and can keep its state\n";
/// At an address that others reach, too.
#[cfg(feature = "dashboard")]
const ELSEWHERE: &str = "\nThe dashboard is shown on the loopback alone: listen at 127.0.0.1, and reach it by `ssh -L`.\n";

/// What is at the root: the dashboard, where only this machine can ask for it.
#[cfg(feature = "dashboard")]
fn front(pages: &Pages, address: std::net::SocketAddr) -> Router {
    if !address.ip().is_loopback() {
        return Router::new().route("/", get(async || [INDEX, ELSEWHERE].concat()));
    }
    tracing::info!("dashboard at http://{address}/");
    super::dashboard::routes(pages.board.clone())
}

#[cfg(not(feature = "dashboard"))]
fn front(_: &Pages, _: std::net::SocketAddr) -> Router {
    Router::new().route("/", get(async || INDEX))
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
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let front = front(&pages, address);
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .with_state(pages)
        .merge(front);
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "metrics are not served any more");
        }
    });
    tracing::info!("metrics at http://{address}/metrics");
    Ok(Some(Server(stop)))
}
