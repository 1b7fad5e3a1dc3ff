//! The facts, put together.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use mantis_repo::{BackupInfo, BackupKind};

use super::Board;
use super::audit::Change;
use super::catalogues::Seen;
use super::facts::{Backup, Job, Overview, Repository, Run, Source};
use super::filter::Filter;
use super::standing::{Known, stand};
use super::words;
use crate::Error;
use crate::clock;
use crate::config::{Action, Config, ScheduleConfig, SourceConfig};
use crate::daemon::Record;
use crate::when::format_seconds;

/// What was seen in each repository, by its name.
pub(super) type AllSeen = BTreeMap<String, Arc<Seen>>;

pub(super) fn taken_at(backup: &BackupInfo) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(backup.meta.created_at.0).unwrap_or_default()
}

impl From<&Record> for Run {
    fn from(record: &Record) -> Self {
        Self {
            job: record.job(),
            action: record.action.name().to_owned(),
            outcome: record.outcome.name().to_owned(),
            scheduled: format_seconds(&record.scheduled),
            began: format_seconds(&record.began),
            duration_ms: record.duration_ms,
            attempt: record.attempt,
            backup: record.backup.clone(),
            summary: record.summary.clone(),
            error: record.error.clone(),
        }
    }
}

/// Runs a piece of work that reads files, on a thread that may block.
async fn reading<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Other {
        doing: "read the state folder".into(),
        source: error.into(),
        help: None,
    })?
}

/// The last runs that fit, newest first.
async fn newest(
    board: &Board,
    limit: usize,
    fits: impl Fn(&Record) -> bool + Send + 'static,
) -> Result<Vec<Run>, Error> {
    let history = board.dir.history();
    reading(move || Ok(history.newest(limit, fits)?.iter().rev().map(Run::from).collect())).await
}

/// The last runs, newest first; those of one job, or of a schedule, where one is named.
pub(super) async fn runs(
    board: &Board,
    of: Option<String>,
    outcome: Option<String>,
    limit: usize,
) -> Result<Vec<Run>, Error> {
    let fits = move |record: &Record| {
        of.as_ref().is_none_or(|of| record.is_of(of))
            && outcome.as_ref().is_none_or(|outcome| record.outcome.name() == outcome)
    };
    newest(board, limit, fits).await
}

/// The runs that made a backup, or tried it out, newest first.
pub(super) async fn runs_of_backup(board: &Board, id: String) -> Result<Vec<Run>, Error> {
    newest(board, 100, move |record| record.backup.as_ref() == Some(&id)).await
}

/// The last runs of some jobs, newest first.
pub(super) async fn runs_of_jobs<const N: usize>(
    board: &Board,
    jobs: [String; N],
    limit: usize,
) -> Result<Vec<Run>, Error> {
    newest(board, limit, move |record| jobs.contains(&record.job())).await
}

/// Every job of the configuration that is on.
pub(super) async fn jobs(board: &Board) -> Result<Vec<Job>, Error> {
    let (config, dir, now) = (board.config(), board.dir.clone(), clock::calendar_now());
    let (running, watched) = board.at_work().await;
    reading(move || {
        let (agenda, roster) = dir.planned(&config, now)?;
        let last = dir.history().last()?;
        let of = |(job, state): (&mantis_schedule::Job, &mantis_schedule::JobState)| {
            let entry = roster.get(&job.id)?;
            let next = job.cron.after(now, job.zone).take(if state.paused { 0 } else { 5 });
            Some(Job {
                job: job.id.clone(),
                schedule: entry.schedule.clone(),
                source: entry.source.clone(),
                action: entry.action.name().to_owned(),
                cron: job.cron.to_string(),
                words: words::explain(job.cron.text()).unwrap_or_default(),
                timezone: job.zone.name().to_owned(),
                next: next.map(|at| format_seconds(&at.with_timezone(&job.zone))).collect(),
                paused: state.paused,
                running: running.iter().any(|run| run.job == job.id),
                watch: config
                    .schedules
                    .get(&entry.schedule)
                    .and_then(ScheduleConfig::watched_every),
                watched: watched.iter().find(|watch| watch.job == job.id).cloned(),
                last: last.get(&job.id).map(Run::from),
            })
        };
        Ok(agenda.list().filter_map(of).collect())
    })
    .await
}

/// What was seen in the repositories; in one, where one is named.
pub(super) async fn all_seen(board: &Board, config: &Config, only: &str) -> AllSeen {
    let names = config.repositories.keys().filter(|name| only.is_empty() || *name == only);
    let seen = join_all(
        names.map(async |name| (name.clone(), board.catalogues.of(config, &board.dir, name).await)),
    );
    seen.await.into_iter().collect()
}

fn backup(repository: &str, seen: &Seen, backup: &BackupInfo) -> Backup {
    let id = backup.id.to_string();
    let proved = seen.proofs.get(&id).map(|proof| {
        let what = if proof.ok { "whole" } else { "damaged" };
        format!("{what} ({}, {})", proof.by.name(), proof.at)
    });
    let kind = if backup.kind == BackupKind::Full { "full" } else { "incremental" };
    Backup {
        proved,
        repository: repository.to_owned(),
        source: backup.meta.source.clone(),
        engine: backup.meta.engine.clone(),
        created_at: format_seconds(&taken_at(backup)),
        kind: kind.to_owned(),
        bytes: backup.meta.byte_len,
        bytes_stored: backup.bytes_stored,
        pages: backup.meta.page_count,
        pages_changed: backup.pages_changed,
        duration_ms: backup.duration_ms,
        way: backup.meta.way.clone(),
        fingerprint: backup.fingerprint.to_string(),
        tags: backup.meta.tags.clone(),
        id,
    }
}

/// The backups that are asked for, newest first, and why some may be missing.
pub(super) async fn backups(board: &Board, filter: &Filter) -> (Vec<Backup>, Vec<String>) {
    let (from, to) = match filter.bounds() {
        Ok(bounds) => bounds,
        Err(why) => return (Vec::new(), vec![why]),
    };
    let all = all_seen(board, &board.config(), &filter.repository).await;
    let mut found = Vec::new();
    for (name, seen) in &all {
        let in_time = |backup: &&BackupInfo| (from..=to).contains(&backup.meta.created_at.0);
        let fitting = seen.backups.iter().filter(in_time).filter(|backup| filter.fits(backup));
        found.extend(fitting.map(|one| (taken_at(one), backup(name, seen, one))));
    }
    found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let problems = all.iter().filter_map(|(name, seen)| problem(name, seen)).collect();
    (found.into_iter().map(|(_, backup)| backup).collect(), problems)
}

/// All backups, with the names of their repositories, and why some may be missing.
pub(super) async fn infos(board: &Board) -> (Vec<(String, BackupInfo)>, Vec<String>) {
    let all = all_seen(board, &board.config(), "").await;
    let of = |(name, seen): (&String, &Arc<Seen>)| {
        let backups = seen.backups.iter().cloned();
        backups.map(|backup| (name.clone(), backup)).collect::<Vec<_>>()
    };
    let problems = all.iter().filter_map(|(name, seen)| problem(name, seen)).collect();
    (all.iter().flat_map(of).collect(), problems)
}

/// One backup; where it is not there, what is wrong with what is known of its repository.
pub(super) async fn one(
    board: &Board,
    name: &str,
    id: &str,
) -> Result<(Backup, BackupInfo), Option<String>> {
    let seen = board.catalogues.of(&board.config(), &board.dir, name).await;
    let found = seen.backups.iter().find(|backup| backup.id.to_string() == id);
    found
        .map(|found| (backup(name, &seen, found), found.clone()))
        .ok_or_else(|| problem(name, &seen))
}

/// What was changed by hand, newest first.
pub(super) async fn changes(board: &Board, limit: usize) -> Result<Vec<Change>, Error> {
    let audit = board.audit.clone();
    reading(move || audit.newest(limit)).await
}

/// What is wrong with what is known of a repository.
pub(super) fn problem(name: &str, seen: &Seen) -> Option<String> {
    match (&seen.error, seen.at) {
        (Some(error), _) => Some(format!("{name}: {error}")),
        (None, None) => Some(format!("{name}: is still being looked at")),
        (None, Some(_)) => None,
    }
}

/// When backups were taken and the bytes that all until then had added, oldest first, in Unix seconds.
pub(super) fn growth(seen: &Seen) -> Vec<(i64, u64)> {
    let mut added: Vec<(i64, u64)> = seen
        .backups
        .iter()
        .map(|backup| (taken_at(backup).timestamp(), backup.bytes_stored))
        .collect();
    added.sort_unstable();
    let mut all = 0_u64;
    for (_, bytes) in &mut added {
        all = all.saturating_add(*bytes);
        *bytes = all;
    }
    added
}

pub(super) fn repository(name: &str, seen: &Seen) -> Repository {
    let sum = |of: fn(&BackupInfo) -> u64| seen.backups.iter().map(of).fold(0, u64::saturating_add);
    Repository {
        name: name.to_owned(),
        seen: seen.at.as_ref().map(format_seconds),
        backups: seen.backups.len() as u64,
        bytes_stored: sum(|backup| backup.bytes_stored),
        bytes: sum(|backup| backup.meta.byte_len),
        error: seen.error.clone(),
    }
}

/// All at a glance.
pub(super) async fn overview(board: &Board) -> Result<Overview, Error> {
    let config = board.config();
    let seen = all_seen(board, &config, "").await;
    let history = board.dir.history();
    let backups = |record: &Record| record.action == Action::Backup;
    let records = reading(move || history.newest(usize::MAX, backups)).await?;
    let (running, watched) = board.at_work().await;
    let known = Known::of(&seen, records.iter(), &watched);
    let of = |(name, source): (&str, &SourceConfig)| stand(&config, (name, &source.path), &known);
    let mut sources: Vec<Source> = config.databases().map(of).collect();
    sources.sort_by(|a, b| (a.standing, &a.name).cmp(&(b.standing, &b.name)));
    let repositories = seen.iter().map(|(name, seen)| repository(name, seen)).collect();
    Ok(Overview { sources, running, repositories })
}
