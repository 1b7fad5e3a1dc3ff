//! One repository: how it grows, what it saves, what was proved of it, who has keys, and what a prune would free.

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use mantis_repo::{BackupInfo, KeyKind, RepoError};
use mantis_stream::CancellationToken;
use serde::Deserialize;

use super::facts::{Repository, Run, Running};
use super::visitor::Visitor;
use super::{Board, charts, gather, pages, show, work};
use crate::config::{Action, Config};
use crate::daemon::by_hand;
use crate::daemon::worker::Place;
use crate::jobs;
use crate::{Error, format_time};

/// Runs by hand that are listed.
const BY_HAND: usize = 5;
/// Proofs that are listed.
const PROOFS: usize = 50;

/// What was proved of a backup.
#[derive(Debug)]
struct Proved {
    at: String,
    backup: String,
    by: &'static str,
    ok: bool,
}

/// A key, as people may see it.
#[derive(Debug)]
struct Key {
    id: String,
    added: String,
    by: String,
    label: String,
    current: bool,
}

/// What a prune would do.
#[derive(Debug)]
struct Preview {
    merges: u64,
    written: u64,
    freed: u64,
    objects: u64,
    waiting: u64,
    locked: u64,
    kept: u64,
}

#[derive(Template)]
#[template(path = "repository.html")]
struct RepositoryPage {
    visitor: Visitor,
    name: String,
    url: String,
    facts: Repository,
    growth: String,
    /// Bytes of changed pages for each byte that was stored.
    compression: Option<String>,
    /// Bytes of databases for each byte of changed pages.
    dedup: Option<String>,
    proofs: Vec<Proved>,
    /// What verifies or prunes it now, because somebody asked.
    running: Vec<Running>,
    /// The jobs of such runs, for the script.
    only: String,
    /// The last runs of that kind.
    asked_for: Vec<Run>,
    /// Jobs that verify or prune it.
    jobs: Vec<(String, &'static str)>,
    keys: Result<Option<Vec<Key>>, String>,
    preview: Option<Result<Preview, String>>,
    /// Sources in it.
    sources: Vec<String>,
}

/// What is to be looked at besides.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    /// Something: what a prune would free, which takes reading.
    prune: String,
}

fn ratio(of: u64, to: u64) -> Option<String> {
    (of > 0 && to > 0).then(|| format!("{:.1}", of as f64 / to as f64))
}

fn changed(backup: &BackupInfo) -> u64 {
    backup.pages_changed.saturating_mul(backup.meta.page_size.into())
}

fn jobs_of(config: &Config, name: &str) -> Vec<(String, &'static str)> {
    let on = config.schedules.iter().filter(|(_, schedule)| {
        schedule.enabled
            && matches!(schedule.action, Action::Verify | Action::Prune)
            && schedule.repositories(config).iter().any(|it| it == name)
    });
    on.map(|(job, schedule)| (job.clone(), schedule.action.name())).collect()
}

async fn keys(board: Board, place: Place) -> Result<Option<Vec<Key>>, Error> {
    let keys = match board.repository(&place).await?.keys().await {
        Err(RepoError::NotEncrypted { .. }) => return Ok(None),
        keys => keys?,
    };
    let key = |key: mantis_repo::KeyInfo| Key {
        id: key.id.to_string(),
        added: format_time(key.created_at),
        by: match key.kind {
            KeyKind::Password => "a password".into(),
            KeyKind::Age { recipient } => recipient,
            KeyKind::Unknown => "something newer than this version".into(),
        },
        label: key.label,
        current: key.current,
    };
    Ok(Some(keys.into_iter().map(key).collect()))
}

async fn preview(board: Board, place: Place, cancel: CancellationToken) -> Result<Preview, Error> {
    let repo = board.repository(&place).await?;
    let done = jobs::prune(place.prune_job(repo, true, cancel)).await?;
    Ok(Preview {
        merges: done.compacted.merges,
        written: done.compacted.written_bytes,
        freed: done.freed.freed_bytes,
        objects: done.freed.freed_objects,
        waiting: done.freed.waiting_bytes.saturating_add(done.freed.graced_bytes),
        locked: done.freed.locked_bytes,
        kept: done.freed.kept_bytes,
    })
}

async fn repository(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let config = board.config();
    let Some(found) = config.repositories.get(&name) else {
        let error = format!("the configuration has no repository called {name:?}");
        return pages::problem(StatusCode::NOT_FOUND, "No such repository", &visitor, &error, "");
    };
    let url = show::without_query(&found.url).to_owned();
    let seen = board.catalogues.of(&config, &board.dir, &name).await;
    let facts = gather::repository(&name, &seen);
    let differing = seen.backups.iter().map(changed).fold(0, u64::saturating_add);
    let mut proofs: Vec<Proved> = seen
        .proofs
        .iter()
        .map(|(backup, proof)| Proved {
            at: proof.at.clone(),
            backup: backup.clone(),
            by: proof.by.name(),
            ok: proof.ok,
        })
        .collect();
    proofs.sort_by(|a, b| b.at.cmp(&a.at));
    proofs.truncate(PROOFS);
    let mut sources: Vec<String> =
        seen.backups.iter().map(|backup| backup.meta.source.clone()).collect();
    sources.sort();
    sources.dedup();
    let jobs_by_hand = [Action::Verify, Action::Prune].map(|action| by_hand::job(action, &name));
    let only = jobs_by_hand.join(" ");
    let mut running = board.running().await;
    running.retain(|run| jobs_by_hand.contains(&run.job));
    let asked_for = match gather::runs_of_jobs(&board, jobs_by_hand, BY_HAND).await {
        Ok(runs) => runs,
        Err(error) => return pages::failed(&visitor, &error),
    };
    let (keys, preview) = match Place::of(&config, &name) {
        Err(error) => (Err(error.chain_and_help()), None),
        Ok(place) => {
            let (of_it, there) = (board.clone(), place.clone());
            let keys = work::on_a_thread(async move |_| keys(of_it, there).await).await;
            let preview = if asked.prune.is_empty() {
                None
            } else {
                let _turn = board.simulations.acquire().await;
                let of_it = board.clone();
                Some(
                    work::on_a_thread(async move |cancel| preview(of_it, place, cancel).await)
                        .await,
                )
            };
            (keys, preview)
        }
    };
    pages::page(Ok(RepositoryPage {
        visitor,
        url,
        running,
        only,
        asked_for,
        growth: charts::growth(&gather::growth(&seen)),
        compression: ratio(differing, facts.bytes_stored),
        dedup: ratio(facts.bytes, differing),
        facts,
        proofs,
        jobs: jobs_of(&config, &name),
        keys,
        preview,
        sources,
        name,
    }))
}

pub(super) fn routes() -> Router<Board> {
    Router::new().route("/repositories/{name}", get(repository))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_told_where_there_is_something_to_divide() {
        assert_eq!(ratio(10, 4).as_deref(), Some("2.5"));
        assert_eq!((ratio(0, 4), ratio(4, 0)), (None, None));
    }
}
