//! What people look at: the facts as pages, made here. Each names what there is to see in words as well as in colours. Without the script
//! they show the same, and ask for themselves again now and then.

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::audit::Change;
use super::facts::{Backup, Job, Overview, Restore, Run};
use super::filter::Filter;
use super::visitor::Visitor;
use super::{Board, charts, gather, show};
use crate::{Error, clock};

/// Runs that the page of them shows, and changes.
const RUNS: usize = 200;
/// Backups that the page of them shows.
const BACKUPS: usize = 500;
const STYLE: &str = include_str!("style.css");
const ICON: &str = include_str!("icon.svg");

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    visitor: Visitor,
    overview: Overview,
    restores: Vec<Restore>,
}

#[derive(Template)]
#[template(path = "backups.html")]
struct BackupsPage {
    visitor: Visitor,
    filter: Filter,
    backups: Vec<Backup>,
    count: usize,
    problems: Vec<String>,
    calendar: String,
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct JobsPage {
    visitor: Visitor,
    jobs: Vec<Job>,
    /// Schedules that are not on.
    off: Vec<String>,
}

#[derive(Template)]
#[template(path = "runs.html")]
struct RunsPage {
    visitor: Visitor,
    job: String,
    runs: Vec<Run>,
}

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    visitor: Visitor,
    changes: Vec<Change>,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    visitor: Visitor,
    title: &'a str,
    error: &'a str,
    help: &'a str,
}

/// A page that says what is wrong.
pub(super) fn problem(
    status: StatusCode,
    title: &str,
    visitor: &Visitor,
    error: &str,
    help: &str,
) -> Response {
    let page = ProblemPage { visitor: visitor.clone(), title, error, help };
    (status, Html(page.render().unwrap_or_default())).into_response()
}

/// A page that says what failed.
pub(super) fn failed(visitor: &Visitor, error: &Error) -> Response {
    let help = error.help().map(|help| help.to_string()).unwrap_or_default();
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    problem(status, "This cannot be told", visitor, &error.chain(), &help)
}

/// A page; what is wrong where it cannot be made.
pub(super) fn page(made: Result<impl Template, Error>) -> Response {
    match made.map(|page| page.render()) {
        Ok(Ok(html)) => Html(html).into_response(),
        Ok(Err(error)) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            let title = "This page cannot be made";
            problem(status, title, &Visitor::default(), &error.to_string(), "")
        }
        Err(error) => failed(&Visitor::default(), &error),
    }
}

async fn overview(State(board): State<Board>, Extension(visitor): Extension<Visitor>) -> Response {
    let mut restores = board.restores.list();
    restores.retain(|restore| restore.state == super::facts::RestoreState::Running);
    let overview = gather::overview(&board).await;
    page(overview.map(|overview| OverviewPage { visitor, overview, restores }))
}

async fn backups(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Query(filter): Query<Filter>,
) -> Response {
    let (mut backups, problems) = gather::backups(&board, &filter).await;
    let day = |backup: &Backup| backup.created_at.get(..10).and_then(|day| day.parse().ok());
    let days = backups.iter().filter_map(day);
    let calendar = charts::calendar(days, clock::calendar_now().date_naive());
    let count = backups.len();
    backups.truncate(BACKUPS);
    page(Ok(BackupsPage { visitor, filter, backups, count, problems, calendar }))
}

async fn jobs(State(board): State<Board>, Extension(visitor): Extension<Visitor>) -> Response {
    let config = board.config();
    let off = config.schedules.iter().filter(|(_, schedule)| !schedule.enabled);
    let off = off.map(|(name, _)| name.clone()).collect();
    page(gather::jobs(&board).await.map(|jobs| JobsPage { visitor, jobs, off }))
}

/// Of which job runs are asked for.
#[derive(Deserialize, Default)]
#[serde(default)]
struct OfJob {
    job: String,
}

async fn runs(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Query(OfJob { job }): Query<OfJob>,
) -> Response {
    let of = Some(job.clone()).filter(|job| !job.is_empty());
    let runs = gather::runs(&board, of, None, RUNS).await;
    page(runs.map(|runs| RunsPage { visitor, job, runs }))
}

async fn log(State(board): State<Board>, Extension(visitor): Extension<Visitor>) -> Response {
    page(gather::changes(&board, RUNS).await.map(|changes| LogPage { visitor, changes }))
}

/// A file that is the same for everyone.
pub(super) fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "max-age=300")], text).into_response()
}

async fn nothing(Extension(visitor): Extension<Visitor>) -> Response {
    let title = "There is no such page";
    problem(StatusCode::NOT_FOUND, title, &visitor, "", "begin with the overview")
}

pub(super) fn routes() -> Router<Board> {
    Router::new()
        .route("/", get(overview))
        .route("/backups", get(backups))
        .route("/schedules", get(jobs))
        .route("/runs", get(runs))
        .route("/log", get(log))
        .route("/style.css", get(async || asset("text/css; charset=utf-8", STYLE)))
        .route("/icon.svg", get(async || asset("image/svg+xml", ICON)))
        .fallback(nothing)
}
