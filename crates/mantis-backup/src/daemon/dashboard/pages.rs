//! What people look at: the facts as pages, made here. Each names what there is to see in words as well as in colours, and asks for
//! itself again now and then; there is no script.

use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::facts::{Backup, Job, Overview, Run};
use super::gather::Filter;
use super::{Board, charts, gather};
use crate::{Error, clock, human};

/// Runs that the page of them shows.
const RUNS: usize = 200;
/// Backups that the page of them shows.
const BACKUPS: usize = 500;
const STYLE: &str = include_str!("style.css");

/// What a template shows of numbers and times.
mod show {
    use super::{Duration, human};

    pub(super) fn size(bytes: &u64) -> String {
        human::size(*bytes)
    }

    pub(super) fn took(milliseconds: &u64) -> String {
        human::time(Duration::from_millis(*milliseconds))
    }

    /// Seconds, in the largest unit of which there is one.
    pub(super) fn long(seconds: &i64) -> String {
        let units = [(86_400, "d"), (3600, "h"), (60, "min")];
        let found = units.iter().find(|(unit, _)| *seconds >= *unit);
        found.map_or(format!("{seconds} s"), |(unit, name)| format!("{} {name}", seconds / unit))
    }

    /// The start of an id, which is enough for every command.
    pub(super) fn short(id: &str) -> &str {
        id.get(..8).unwrap_or(id)
    }

    /// A time without what every time here has.
    pub(super) fn when(time: &str) -> String {
        time.replacen('T', " ", 1).trim_end_matches('Z').to_owned()
    }
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    overview: Overview,
}

#[derive(Template)]
#[template(path = "backups.html")]
struct BackupsPage {
    filter: Filter,
    backups: Vec<Backup>,
    count: usize,
    problems: Vec<String>,
    calendar: String,
}

#[derive(Template)]
#[template(path = "backup.html")]
struct BackupPage {
    backup: Backup,
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct JobsPage {
    jobs: Vec<Job>,
}

#[derive(Template)]
#[template(path = "runs.html")]
struct RunsPage {
    job: String,
    runs: Vec<Run>,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    title: &'static str,
    error: String,
    help: String,
}

fn problem(status: StatusCode, title: &'static str, error: String, help: String) -> Response {
    let page = ProblemPage { title, error, help };
    (status, Html(page.render().unwrap_or_default())).into_response()
}

fn page(made: Result<impl Template, Error>) -> Response {
    match made.map(|page| page.render()) {
        Ok(Ok(html)) => Html(html).into_response(),
        Ok(Err(error)) => {
            let (status, error) = (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
            problem(status, "This page cannot be made", error, String::new())
        }
        Err(error) => {
            let help = error.help().map(|help| help.to_string()).unwrap_or_default();
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            problem(status, "This cannot be told", error.chain(), help)
        }
    }
}

async fn overview(State(board): State<Board>) -> Response {
    page(gather::overview(&board).await.map(|overview| OverviewPage { overview }))
}

async fn backups(State(board): State<Board>, Query(filter): Query<Filter>) -> Response {
    let (mut backups, problems) = gather::backups(&board, &filter).await;
    let calendar = charts::calendar(&backups, clock::calendar_now().date_naive());
    let count = backups.len();
    backups.truncate(BACKUPS);
    page(Ok(BackupsPage { filter, backups, count, problems, calendar }))
}

async fn backup(
    State(board): State<Board>,
    Path((repository, id)): Path<(String, String)>,
) -> Response {
    match gather::one(&board, &repository, &id).await {
        Ok(backup) => page(Ok(BackupPage { backup })),
        Err(why) => {
            let error = format!("there is no backup {id} in {repository:?}");
            problem(StatusCode::NOT_FOUND, "No such backup", error, why.unwrap_or_default())
        }
    }
}

async fn jobs(State(board): State<Board>) -> Response {
    page(gather::jobs(&board).await.map(|jobs| JobsPage { jobs }))
}

/// Of which job runs are asked for.
#[derive(Deserialize, Default)]
#[serde(default)]
struct OfJob {
    job: String,
}

async fn runs(State(board): State<Board>, Query(OfJob { job }): Query<OfJob>) -> Response {
    let of = Some(job.clone()).filter(|job| !job.is_empty());
    let runs = gather::runs(&board, of, None, RUNS).await;
    page(runs.map(|runs| RunsPage { job, runs }))
}

async fn style() -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "max-age=300")];
    (headers, STYLE)
}

async fn nothing() -> Response {
    let help = "begin with the overview".to_owned();
    problem(StatusCode::NOT_FOUND, "There is no such page", String::new(), help)
}

pub(super) fn routes() -> Router<Board> {
    Router::new()
        .route("/", get(overview))
        .route("/backups", get(backups))
        .route("/backups/{repository}/{id}", get(backup))
        .route("/schedules", get(jobs))
        .route("/runs", get(runs))
        .route("/style.css", get(style))
        .fallback(nothing)
}

#[cfg(test)]
mod tests {
    use super::show;

    #[test]
    fn times_are_for_people() {
        for (seconds, text) in [(5, "5 s"), (61, "1 min"), (7200, "2 h"), (200_000, "2 d")] {
            assert_eq!(show::long(&seconds), text);
        }
        assert_eq!(show::when("2026-11-27T01:02:03Z"), "2026-11-27 01:02:03");
    }
}
