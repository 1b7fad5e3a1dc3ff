//! One backup: what it is, the stack that it restores from, and what was run of it.

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use mantis_repo::{BackupInfo, Layer};

use super::facts::{Backup, Run};
use super::visitor::Visitor;
use super::{Board, gather, pages, show, work};
use crate::Error;
use crate::daemon::worker::Place;

/// Layers that are listed.
const LISTED: usize = 200;

/// A layer of the stack that a backup restores from.
#[derive(Debug, PartialEq, Eq)]
struct Level {
    /// From 1, the oldest.
    number: usize,
    segments: usize,
    pages: u64,
    bytes: u64,
    /// Pages that are the same as others, and stored with those.
    borrowed: u64,
}

fn level((at, layer): (usize, &Layer)) -> Level {
    let borrowed = layer.borrows.iter().map(|borrow| borrow.pages).fold(0, u64::saturating_add);
    let sum = |of: fn(&mantis_repo::SegmentRef) -> u64| {
        layer.segments.iter().map(of).fold(0, u64::saturating_add)
    };
    let is_borrowing = !layer.borrows.is_empty();
    Level {
        number: at + 1,
        segments: layer.segments.len(),
        pages: if is_borrowing { 0 } else { sum(|segment| segment.pages) },
        bytes: if is_borrowing { 0 } else { sum(|segment| segment.len) },
        borrowed,
    }
}

/// The stack, newest layer first.
async fn stack(board: Board, name: String, info: BackupInfo) -> Result<Vec<Level>, Error> {
    let place = Place::of(&board.config(), &name)?;
    let repo = board.repository(&place).await?;
    let manifest = repo.manifest(&info).await?;
    let levels = manifest.layers.iter().enumerate().rev().take(LISTED);
    Ok(levels.map(level).collect())
}

#[derive(Template)]
#[template(path = "backup.html")]
struct BackupPage {
    visitor: Visitor,
    backup: Backup,
    parent: String,
    stack: Result<Vec<Level>, String>,
    /// The run that made it, and drills of it.
    runs: Vec<Run>,
}

async fn backup(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Path((repository, id)): Path<(String, String)>,
) -> Response {
    let (backup, info) = match gather::one(&board, &repository, &id).await {
        Ok(found) => found,
        Err(why) => {
            let error = format!("there is no backup {id} in {repository:?}");
            let help = why.unwrap_or_default();
            return pages::problem(
                StatusCode::NOT_FOUND,
                "No such backup",
                &visitor,
                &error,
                &help,
            );
        }
    };
    let parent = info.parent.map(|parent| parent.to_string()).unwrap_or_default();
    let of_it = board.clone();
    let stack = work::on_a_thread(async move |_| stack(of_it, repository, info).await).await;
    let runs = gather::runs_of_backup(&board, backup.id.clone()).await;
    pages::page(runs.map(|runs| BackupPage { visitor, backup, parent, stack, runs }))
}

pub(super) fn routes() -> Router<Board> {
    Router::new().route("/backups/{repository}/{id}", get(backup))
}
