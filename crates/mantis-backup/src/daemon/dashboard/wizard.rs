//! The way to a restore: a source, a moment, a place, what it would do, and then it.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use mantis_repo::BackupInfo;
use serde::Deserialize;

use super::facts::{Backup, Restore};
use super::filter::Filter;
use super::moments::{Edge, moment, optional};
use super::restores::{Wish, plan};
use super::visitor::Visitor;
use super::{Board, charts, gather, login, pages, show};

/// Moments that are offered as a list; the timeline has more.
const LISTED: usize = 20;
/// Moments on the timeline.
const ON_THE_LINE: usize = 400;

/// Where on the way somebody is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Asked {
    repository: String,
    source: String,
    /// The newest backup at or before this moment, UTC.
    at: String,
    backup: String,
    folder: String,
    file: String,
    check: String,
}

impl Asked {
    fn wish(&self) -> Wish {
        Wish {
            repository: self.repository.clone(),
            backup: self.backup.clone(),
            folder: self.folder.clone(),
            file: self.file.clone(),
            check: !self.check.is_empty(),
        }
    }

    /// The way on, with another backup.
    fn with(&self, backup: &str) -> String {
        format!(
            "/restore?repository={}&source={}&backup={}",
            show::encoded(&self.repository),
            show::encoded(&self.source),
            show::encoded(backup)
        )
    }
}

/// A source that can be restored.
#[derive(Debug)]
struct Choice {
    repository: String,
    source: String,
    backups: usize,
    newest: String,
}

#[derive(Template)]
#[template(path = "restore.html")]
struct RestorePage {
    visitor: Visitor,
    asked: Asked,
    problems: Vec<String>,
    choices: Vec<Choice>,
    restores: Vec<Restore>,
    moments: Vec<Backup>,
    timeline: String,
    /// What is wrong with the moment that was asked for.
    no_moment: Option<String>,
    chosen: Option<Backup>,
    folders: Vec<String>,
    file: String,
    /// What it would do, or what keeps it from being done.
    plan: Option<Result<String, String>>,
}

#[derive(Template)]
#[template(path = "restoring.html")]
struct RestoringPage {
    visitor: Visitor,
    restore: Restore,
}

/// The newest of those at or before a moment; they come newest first.
fn at<'a>(moments: &'a [Backup], text: &str) -> Result<&'a Backup, String> {
    let Some(wanted) = optional(text, Edge::End)? else {
        return Err("say which moment".to_owned());
    };
    let is_before =
        |backup: &&Backup| moment(&backup.created_at, Edge::End).is_some_and(|at| at <= wanted);
    moments.iter().find(is_before).ok_or_else(|| {
        let oldest = moments.last().map_or("never", |oldest| &oldest.created_at);
        format!(
            "there is no backup from before {text}: the oldest was taken {}",
            show::when(oldest)
        )
    })
}

/// A name that tells what is in the file, and is of no file that is used.
fn suggested(backup: &Backup) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let source: String = backup.source.chars().take(60).map(plain).collect();
    let taken: String = backup.created_at.chars().filter(char::is_ascii_digit).take(14).collect();
    let ending = if backup.engine == "redb" { "redb" } else { "db" };
    format!("{}-{taken}.{ending}", source.trim_matches('-'))
}

async fn wizard(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Query(mut asked): Query<Asked>,
) -> Response {
    let filter = Filter { repository: asked.repository.clone(), ..Filter::default() };
    let (all, problems) = gather::backups(&board, &filter).await;
    let mut choices: BTreeMap<(String, String), Choice> = BTreeMap::new();
    let mut moments = Vec::new();
    for backup in all {
        if asked.source.is_empty() {
            let key = (backup.source.clone(), backup.repository.clone());
            let choice = choices.entry(key).or_insert_with(|| Choice {
                repository: backup.repository.clone(),
                source: backup.source.clone(),
                backups: 0,
                newest: backup.created_at.clone(),
            });
            choice.backups += 1;
        } else if backup.source == asked.source {
            moments.push(backup);
        }
    }
    let mut no_moment = None;
    if asked.backup.is_empty() && !asked.at.is_empty() {
        match at(&moments, &asked.at) {
            Ok(found) => asked.backup.clone_from(&found.id),
            Err(why) => no_moment = Some(why),
        }
    }
    let chosen = moments.iter().find(|backup| backup.id == asked.backup).cloned();
    let on_the_line = moments.get(..ON_THE_LINE).unwrap_or(&moments);
    let timeline = charts::timeline(on_the_line, &asked.backup, |backup| asked.with(&backup.id));
    moments.truncate(LISTED);
    let config = board.config();
    let folders = &config.dashboard.restore_folders;
    let folders: Vec<String> = folders.iter().map(|it| it.display().to_string()).collect();
    let file = match (&chosen, asked.file.is_empty()) {
        (Some(chosen), true) => suggested(chosen),
        _ => asked.file.clone(),
    };
    let mut looked = None;
    if chosen.is_some() && !asked.file.is_empty() {
        looked = Some(match gather::one(&board, &asked.repository, &asked.backup).await {
            Ok((_, info)) => look(&board, &asked, &info).await,
            Err(why) => Err(why.unwrap_or_else(|| "this backup is not there any more".into())),
        });
    }
    pages::page(Ok(RestorePage {
        visitor,
        asked,
        problems,
        choices: choices.into_values().collect(),
        restores: board.restores.list(),
        moments,
        timeline,
        no_moment,
        chosen,
        folders,
        file,
        plan: looked,
    }))
}

/// Looks what it would do, on a thread that may block: the folder may be on a disk that does not answer.
async fn look(board: &Board, asked: &Asked, info: &BackupInfo) -> Result<String, String> {
    let (config, wish, info) = (board.config(), asked.wish(), info.clone());
    let planned = tokio::task::spawn_blocking(move || plan(&config, &wish, &info)).await;
    match planned {
        Ok(Ok(target)) => Ok(target.display().to_string()),
        Ok(Err(error)) => Err(error.chain_and_help()),
        Err(error) => Err(error.to_string()),
    }
}

/// Why a restore was not begun.
pub(super) struct Refused(pub(super) StatusCode, pub(super) String);

/// Notes a restore, and begins it. Returns its number.
pub(super) async fn begin(board: &Board, visitor: &Visitor, wish: Wish) -> Result<u64, Refused> {
    let internal =
        |error: crate::Error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.chain_and_help());
    let (_, info) = gather::one(board, &wish.repository, &wish.backup).await.map_err(|why| {
        let what = format!("there is no backup {} in {:?}", wish.backup, wish.repository);
        Refused(StatusCode::NOT_FOUND, why.map_or(what.clone(), |why| format!("{what}: {why}")))
    })?;
    let of = format!(
        "backup {} in {} to {} in {}",
        wish.backup, wish.repository, wish.file, wish.folder
    );
    board.audit.note(visitor, ("restore", &of), None).await.map_err(internal)?;
    let (restores, state) = (board.restores.clone(), (board.config(), board.dir.clone()));
    let by = visitor.name().to_owned();
    let begun = tokio::task::spawn_blocking(move || restores.begin(state, wish, &info, &by)).await;
    match begun {
        Ok(Ok(id)) => Ok(id),
        Ok(Err(error)) => {
            let error = error.chain_and_help();
            board.audit.note(visitor, ("restore", &of), Some(&error)).await.map_err(internal)?;
            Err(Refused(StatusCode::CONFLICT, error))
        }
        Err(error) => Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

async fn start(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Form(asked): Form<Asked>,
) -> Response {
    match begin(&board, &visitor, asked.wish()).await {
        Ok(id) => login::to(&format!("/restores/{id}")),
        Err(Refused(status, error)) => {
            pages::problem(status, "The restore was not begun", &visitor, &error, "")
        }
    }
}

fn find(board: &Board, id: u64) -> Option<Restore> {
    board.restores.list().into_iter().find(|restore| restore.id == id)
}

async fn restoring(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
) -> Response {
    match find(&board, id) {
        Some(restore) => pages::page(Ok(RestoringPage { visitor, restore })),
        None => {
            let help = "restores are told of until the daemon ends; the log has all of them";
            pages::problem(StatusCode::NOT_FOUND, "No such restore", &visitor, "", help)
        }
    }
}

/// Notes that a restore is to be cancelled, and cancels it.
pub(super) async fn stop(board: &Board, visitor: &Visitor, id: u64) -> Result<(), Refused> {
    let what = match find(board, id) {
        Some(restore) => format!("the restore to {}", restore.target),
        None => return Err(Refused(StatusCode::NOT_FOUND, format!("there is no restore {id}"))),
    };
    let noted = board.audit.note(visitor, ("cancel", &what), None).await;
    noted.map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.chain_and_help()))?;
    if board.restores.cancel(id) {
        Ok(())
    } else {
        Err(Refused(StatusCode::CONFLICT, format!("{what} has ended")))
    }
}

async fn cancel(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
) -> Response {
    match stop(&board, &visitor, id).await {
        Ok(()) => login::to(&format!("/restores/{id}")),
        Err(Refused(status, error)) => {
            pages::problem(status, "It was not cancelled", &visitor, &error, "")
        }
    }
}

pub(super) fn routes() -> Router<Board> {
    Router::new()
        .route("/restore", get(wizard).post(start))
        .route("/restores/{id}", get(restoring))
        .route("/restores/{id}/cancel", post(cancel))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(id: &str, created_at: &str) -> Backup {
        Backup {
            id: id.into(),
            repository: "main".into(),
            source: "app/../x".into(),
            engine: "sqlite".into(),
            created_at: created_at.into(),
            kind: "full".into(),
            bytes: 0,
            bytes_stored: 0,
            pages: 0,
            pages_changed: 0,
            duration_ms: 0,
            way: String::new(),
            fingerprint: String::new(),
            tags: BTreeMap::new(),
            proved: None,
        }
    }

    #[test]
    fn the_newest_backup_at_or_before_a_moment_is_taken() {
        let all = [
            backup("c", "2026-11-27T12:00:00Z"),
            backup("b", "2026-11-27T10:00:30Z"),
            backup("a", "2026-11-26T23:59:00Z"),
        ];
        for (text, id) in [
            ("2026-11-27 12:00", "c"),
            ("2026-11-27T11:59:59", "b"),
            ("2026-11-27T10:00:30Z", "b"),
            ("2026-11-27 10:00", "a"),
            ("2026-11-26", "a"),
            ("2030-01-01", "c"),
        ] {
            assert_eq!(at(&all, text).unwrap().id, id, "{text}");
        }
        assert!(at(&all, "2026-11-25").unwrap_err().contains("2026-11-26 23:59:00"));
        assert!(at(&all, "yesterday").unwrap_err().contains("no moment"));
        assert!(at(&all, "").is_err());
        assert!(at(&[], "2026-11-25").is_err());
    }

    #[test]
    fn a_name_is_made_that_leads_nowhere() {
        assert_eq!(suggested(&backup("a", "2026-11-26T23:59:00Z")), "app----x-20261126235900.db");
    }
}
