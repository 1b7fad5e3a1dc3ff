//! What operators have the daemon do: run, pause, resume and cancel.

use axum::extract::{Extension, Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::visitor::Visitor;
use super::{Board, api, login, pages};
use crate::config;
use crate::daemon::handle::Command;

/// What can be done with a schedule, with one of its jobs, or with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Deed {
    /// Run it as soon as may be.
    Run,
    /// Keep it from running until it is resumed.
    Pause,
    /// Let it run again.
    Resume,
    /// Cancel what runs of it; it is not tried again.
    Cancel,
    /// Verify a repository, whole.
    Verify,
    /// Free what nothing in a repository refers to any more.
    Prune,
}

/// What is to be done, and with what.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub(super) struct Action {
    /// What to do.
    #[serde(rename = "do")]
    deed: Deed,
    /// The schedule, or one of its jobs: `SCHEDULE/SOURCE`. For `verify` and `prune` the repository's name in the configuration; the job is
    /// then called `verify:REPOSITORY` or `prune:REPOSITORY`, and can be cancelled by that.
    name: String,
}

/// What it was done with.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Done {
    /// The jobs.
    jobs: Vec<String>,
}

impl Deed {
    const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Verify => "verify",
            Self::Prune => "prune",
        }
    }

    fn command(self, name: String) -> Command {
        match self {
            Self::Run => Command::RunNow(name),
            Self::Pause => Command::Pause(name),
            Self::Resume => Command::Resume(name),
            Self::Cancel => Command::Cancel(name),
            Self::Verify => Command::Once(config::Action::Verify, name),
            Self::Prune => Command::Once(config::Action::Prune, name),
        }
    }
}

/// Notes it, does it, and notes it again if that failed.
async fn act(
    board: &Board,
    visitor: &Visitor,
    action: Action,
) -> Result<Done, (StatusCode, String)> {
    let internal = |error: crate::Error| (StatusCode::INTERNAL_SERVER_ERROR, error.chain());
    let (what, of) = (action.deed.name(), action.name.clone());
    board.audit.note(visitor, (what, &of), None).await.map_err(internal)?;
    match board.ask(action.deed.command(action.name)).await {
        Ok(done) => serde_json::from_value(done)
            .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        Err(error) => {
            board.audit.note(visitor, (what, &of), Some(&error)).await.map_err(internal)?;
            Err((StatusCode::CONFLICT, error))
        }
    }
}

/// Runs, pauses, resumes or cancels a schedule, or one of its jobs; verifies or prunes a repository. For operators.
#[utoipa::path(post, path = "/actions", request_body = Action, responses((status = 200, body = Done), (status = 401, body = api::Problem), (status = 403, body = api::Problem), (status = 409, body = api::Problem)))]
pub(super) async fn by_program(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Json(action): Json<Action>,
) -> Response {
    match act(&board, &visitor, action).await {
        Ok(done) => Json(done).into_response(),
        Err((status, error)) => api::problem(status, &error, Some("GET /jobs tells what there is")),
    }
}

/// An action, and where to go afterwards.
#[derive(Deserialize)]
struct Sent {
    #[serde(flatten)]
    action: Action,
    #[serde(default)]
    back: String,
}

async fn by_page(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Form(sent): Form<Sent>,
) -> Response {
    match act(&board, &visitor, sent.action).await {
        Ok(_) => login::to(login::place(&sent.back)),
        Err((status, error)) => {
            let help = "it may have ended, or have been taken out, since this page was made";
            pages::problem(status, "That could not be done", &visitor, &error, help)
        }
    }
}

pub(super) fn routes() -> Router<Board> {
    Router::new().route("/act", post(by_page))
}
