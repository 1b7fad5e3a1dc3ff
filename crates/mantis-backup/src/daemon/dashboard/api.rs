//! `/api/v1`: the facts as JSON.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::facts::{Backup, Job, Overview, Repository, Run, Running, Source, Standing};
use super::gather::Filter;
use super::{Board, gather};
use crate::Error;

/// The most runs that are given at once.
const MOST_RUNS: usize = 10_000;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "mantis",
        description = "What a daemon of Mantis Backup knows. Only on the loopback, and only to be read."
    ),
    servers((url = "/api/v1")),
    paths(overview, jobs, runs, backups),
    components(schemas(Overview, Source, Standing, Repository, Running, Run, Job, Backup, Backups, Problem))
)]
struct Description;

/// Why something is not given.
#[derive(Debug, Serialize, ToSchema)]
struct Problem {
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

fn answer<T: Serialize>(found: Result<T, Error>) -> Response {
    match found {
        Ok(found) => Json(found).into_response(),
        Err(error) => {
            let help = error.help().map(|help| help.to_string());
            let problem = Problem { error: error.chain(), help };
            (StatusCode::INTERNAL_SERVER_ERROR, Json(problem)).into_response()
        }
    }
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

pub(super) fn routes() -> Router<Board> {
    Router::new()
        .route("/overview", get(overview))
        .route("/jobs", get(jobs))
        .route("/runs", get(runs))
        .route("/backups", get(backups))
        .route("/openapi.json", get(async || Json(Description::openapi())))
}
