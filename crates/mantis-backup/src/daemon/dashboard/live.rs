//! What runs, told while it does: server-sent events for whoever watches, and the script that shows them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::facts::{Restore, Running};
use super::{Board, api, pages};

/// How often something is told.
const STEP: Duration = Duration::from_secs(1);
/// After so long a watcher asks again, and is looked at again: who has logged out sees nothing any more.
const LASTS: Duration = Duration::from_secs(120);

const SCRIPT: &str = include_str!("live.js");

/// What runs now.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Now {
    /// Runs of schedules.
    running: Vec<Running>,
    /// Restores that were begun here, those that ended lately too.
    restores: Vec<Restore>,
}

impl Now {
    async fn of(board: &Board) -> Self {
        Self { running: board.running().await, restores: board.restores.list() }
    }
}

struct Watch {
    board: Board,
    told: Option<Now>,
    until: Instant,
    _turn: OwnedSemaphorePermit,
}

async fn next(mut watch: Watch) -> Option<(Result<Event, Infallible>, Watch)> {
    loop {
        if Instant::now() > watch.until {
            return None;
        }
        if watch.told.is_some() {
            tokio::time::sleep(STEP).await;
        }
        let now = Now::of(&watch.board).await;
        if watch.told.as_ref() != Some(&now) {
            let event = Event::default().event("now").json_data(&now).ok()?;
            watch.told = Some(now);
            return Some((Ok(event), watch));
        }
    }
}

/// What runs, as server-sent events called `now`: one at once, and one a second while something changes. The stream ends after two minutes; ask again.
#[utoipa::path(get, path = "/events", responses((status = 200, body = Now, content_type = "text/event-stream"), (status = 401, body = api::Problem), (status = 503, body = api::Problem)))]
pub(super) async fn events(State(board): State<Board>) -> Response {
    let Ok(turn) = Arc::clone(&board.watchers).try_acquire_owned() else {
        let help = "ask for /overview now and then instead";
        return api::problem(StatusCode::SERVICE_UNAVAILABLE, "too many watch", Some(help));
    };
    let watch = Watch { board, told: None, until: Instant::now() + LASTS, _turn: turn };
    Sse::new(stream::unfold(watch, next)).keep_alive(KeepAlive::default()).into_response()
}

pub(super) fn routes() -> Router<Board> {
    let script = async || pages::asset("text/javascript; charset=utf-8", SCRIPT);
    Router::new().route("/live.js", get(script))
}
