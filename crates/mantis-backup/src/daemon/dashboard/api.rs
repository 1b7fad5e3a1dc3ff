//! `/api/v1`: the facts as JSON.

use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::actions::{Action, Deed, Done};
use super::audit::Change;
use super::facts::{
    Backup, Job, Overview, Repository, Restore, RestoreState, Run, Running, Source, Standing,
};
use super::filter::Filter;
use super::fleet_page::{self, Fleet, Fleets, Member, Newest};
use super::live::Now;
use super::restores::Wish;
use super::visitor::Visitor;
use super::wizard::Refused;
use super::{Board, actions, editor, edits, gather, live, wizard};
use crate::Error;

/// The most runs that are given at once.
const MOST_RUNS: usize = 10_000;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "mantis",
        description = "What a daemon of Mantis Backup knows and does. Where users are configured, send `Authorization: Bearer` and a token; what changes something is for operators."
    ),
    servers((url = "/api/v1")),
    paths(overview, jobs, runs, backups, changes, restores, fleet_page::fleet, live::events, editor::explain, edits::schedules, edits::put_schedule, edits::retention, edits::put_retention, actions::by_program, restore, cancel_restore),
    components(schemas(Fleet, Fleets, Member, Newest, Overview, Source, Standing, Repository, Running, Run, Job, Backup, Backups, Change, Restore, RestoreState, RestoreWish, Begun, Now, Action, Deed, Done, editor::Explained, edits::Schedule, edits::Retention, Problem))
)]
struct Description;

/// Why something is not given.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// What failed.
    error: String,
    /// What to do about it.
    help: Option<String>,
}

/// Backups, and why some may be missing.
#[derive(Debug, Serialize, ToSchema)]
struct Backups {
    /// Newest first.
    backups: Vec<Backup>,
    /// Repositories that cannot be looked at, or not again, and why.
    problems: Vec<String>,
}

/// What runs are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct RunFilter {
    /// Of this schedule, or of this job.
    job: Option<String>,
    /// With this outcome.
    outcome: Option<String>,
    /// So many at most; 100 without it.
    limit: Option<usize>,
}

/// An answer that says what is wrong.
pub(super) fn problem(status: StatusCode, error: &str, help: Option<&str>) -> Response {
    let problem = Problem { error: error.to_owned(), help: help.map(str::to_owned) };
    (status, Json(problem)).into_response()
}

fn answer<T: Serialize>(found: Result<T, Error>) -> Response {
    match found {
        Ok(found) => Json(found).into_response(),
        Err(error) => failed(&error),
    }
}

/// An answer that says what failed.
pub(super) fn failed(error: &Error) -> Response {
    let help = error.help().map(|help| help.to_string());
    problem(StatusCode::INTERNAL_SERVER_ERROR, &error.chain(), help.as_deref())
}

/// Every source and how it stands, what runs, and the repositories.
#[utoipa::path(get, path = "/overview", responses((status = 200, body = Overview), (status = 500, body = Problem)))]
async fn overview(State(board): State<Board>) -> Response {
    answer(gather::overview(&board).await)
}

/// Every job of the configuration that is on, with its next runs.
#[utoipa::path(get, path = "/jobs", responses((status = 200, body = Vec<Job>), (status = 500, body = Problem)))]
async fn jobs(State(board): State<Board>) -> Response {
    answer(gather::jobs(&board).await)
}

/// Runs that ended, or that were none, newest first.
#[utoipa::path(get, path = "/runs", params(RunFilter), responses((status = 200, body = Vec<Run>), (status = 500, body = Problem)))]
async fn runs(State(board): State<Board>, Query(filter): Query<RunFilter>) -> Response {
    let limit = filter.limit.unwrap_or(100).min(MOST_RUNS);
    answer(gather::runs(&board, filter.job, filter.outcome, limit).await)
}

/// Backups, newest first, of all repositories.
#[utoipa::path(get, path = "/backups", params(Filter), responses((status = 200, body = Backups)))]
async fn backups(State(board): State<Board>, Query(filter): Query<Filter>) -> Response {
    let (backups, problems) = gather::backups(&board, &filter).await;
    Json(Backups { backups, problems }).into_response()
}

/// What is asked for of the log.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct HowMany {
    /// So many at most; 100 without it.
    limit: Option<usize>,
}

/// What was changed by hand, newest first.
#[utoipa::path(get, path = "/changes", params(HowMany), responses((status = 200, body = Vec<Change>), (status = 500, body = Problem)))]
async fn changes(State(board): State<Board>, Query(asked): Query<HowMany>) -> Response {
    answer(gather::changes(&board, asked.limit.unwrap_or(100).min(MOST_RUNS)).await)
}

/// Restores that were begun since the daemon began, newest first.
#[utoipa::path(get, path = "/restores", responses((status = 200, body = Vec<Restore>)))]
async fn restores(State(board): State<Board>) -> Response {
    Json(board.restores.list()).into_response()
}

/// What is to be restored, and where to.
#[derive(Debug, Deserialize, ToSchema)]
struct RestoreWish {
    /// The repository's name in the configuration.
    repository: String,
    /// The backup's id, whole.
    backup: String,
    /// One of the folders of `restore_folders` in the configuration.
    folder: String,
    /// The name of the file to be made there; nothing is overwritten.
    file: String,
    /// Have its engine check the file before it is shown.
    #[serde(default)]
    check: bool,
}

/// A restore that was begun.
#[derive(Debug, Serialize, ToSchema)]
struct Begun {
    /// Its number.
    id: u64,
}

/// Begins a restore. For operators.
#[utoipa::path(post, path = "/restores", request_body = RestoreWish, responses((status = 200, body = Begun), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn restore(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Json(wish): Json<RestoreWish>,
) -> Response {
    let RestoreWish { repository, backup, folder, file, check } = wish;
    let wish = Wish { repository, backup, folder, file, check };
    match wizard::begin(&board, &visitor, wish).await {
        Ok(id) => Json(Begun { id }).into_response(),
        Err(Refused(status, error)) => problem(status, &error, None),
    }
}

/// Cancels a restore that runs: nothing is left of it. For operators.
#[utoipa::path(post, path = "/restores/{id}/cancel", params(("id" = u64, Path, description = "Its number")), responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn cancel_restore(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
) -> Response {
    match wizard::stop(&board, &visitor, id).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(Refused(status, error)) => problem(status, &error, None),
    }
}

async fn nothing() -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "there is no such thing",
        Some("openapi.json tells what there is"),
    )
}

pub(super) fn routes() -> Router<Board> {
    Router::new()
        .route("/overview", get(overview))
        .route("/jobs", get(jobs))
        .route("/runs", get(runs))
        .route("/backups", get(backups))
        .route("/changes", get(changes))
        .route("/restores", get(restores).post(restore))
        .route("/restores/{id}/cancel", post(cancel_restore))
        .route("/cron", get(editor::explain))
        .route("/schedules", get(edits::schedules))
        .route("/schedules/{name}", put(edits::put_schedule))
        .route("/retention", get(edits::retention))
        .route("/retention/{name}", put(edits::put_retention))
        .route("/fleet", get(fleet_page::fleet))
        .route("/events", get(live::events))
        .route("/actions", post(actions::by_program))
        .route("/openapi.json", get(async || Json(Description::openapi())))
        .fallback(nothing)
}
