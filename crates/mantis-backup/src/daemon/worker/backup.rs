//! Backups by schedule: made, copied, and what is not kept removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;
use mantis_repo::{BackupInfo, RepoError, VerifyOptions, WriteOptions};
use mantis_snapshot::{Coordinator, Engine, SnapshotConfig};

use super::place::{ConfigPlaces, Place};
use super::{Jobs, no_such};
use crate::config::{Config, NAMES, ScheduleConfig, SourceConfig, Template};
use crate::daemon::telemetry::name;
use crate::daemon::{Entry, Order, Report};
use crate::destinations::{Destinations, Made, NoPlace};
use crate::human::{size, time};
use crate::jobs::{self, BackupJob};
use crate::spool::spool_for;
use crate::{Error, clock, format_time};

/// What a run is of.
pub(super) struct Task<'a> {
    pub(super) schedule: &'a ScheduleConfig,
    pub(super) source: &'a SourceConfig,
    /// What the source is called in the repository.
    pub(super) name: String,
    /// Tags, filled in.
    pub(super) tags: BTreeMap<String, String>,
    pub(super) zone: Tz,
}

fn fill(text: &str, values: impl Fn(&'static str) -> String) -> Result<String, Error> {
    let template = Template::parse(text, &NAMES);
    let template =
        template.map_err(|error| Error::usage(error.to_string(), "run `mantis config check`"))?;
    Ok(template.fill(values))
}

impl<'a> Task<'a> {
    /// What a job of a configuration is of.
    pub(super) fn of(config: &'a Config, entry: &Entry) -> Result<Self, Error> {
        let named = &entry.schedule;
        let schedule = config.schedules.get(named).ok_or_else(|| no_such("schedule", named))?;
        let named = entry.source.as_deref().unwrap_or_default();
        let source = config.database(named).ok_or_else(|| no_such("source", named))?;
        let zone = schedule.zone(config);
        let local = clock::calendar_now().with_timezone(&zone);
        let value = |hole: &'static str| match hole {
            "date" => local.format("%Y-%m-%d").to_string(),
            "time" => local.format("%H:%M:%S").to_string(),
            "source" => named.to_owned(),
            "schedule" => entry.schedule.clone(),
            "host" => crate::host_name(),
            _ => String::new(),
        };
        let name = match &schedule.name {
            Some(template) => fill(template.get_ref(), value)?,
            None => named.to_owned(),
        };
        let of_source = source.tags.iter().map(|(key, text)| (key, text.as_str()));
        let of_schedule = schedule.tags.iter().map(|(key, text)| (key, text.get_ref().as_str()));
        let tags =
            of_source.chain(of_schedule).map(|(key, text)| Ok((key.clone(), fill(text, value)?)));
        Ok(Self { schedule, source, name, tags: tags.collect::<Result<_, Error>>()?, zone })
    }
}

/// Backs a source up.
pub(super) async fn back_up(jobs: &Jobs, order: &Order) -> Result<Report, Error> {
    let task = Task::of(&order.config, &order.entry)?;
    let names = task.schedule.repositories(&order.config);
    let places = names.iter().map(|name| Place::of(&order.config, name));
    let places = ConfigPlaces {
        places: places.collect::<Result<_, _>>()?,
        temp_folder: jobs.scratch.to_path_buf(),
        cancel: order.cancel.clone(),
    };
    let (sources, source) = (Arc::clone(&jobs.sources), task.source.clone());
    let job = order.entry.id.clone();
    let engine = tokio::task::spawn_blocking(move || sources.engine(&job, &source)).await;
    let engine = engine.map_err(|error| Error::Other {
        doing: format!("open {}", task.source.path),
        source: error.into(),
        help: None,
    })??;
    let mut destinations = Destinations::new(&places);
    let make = async |repo: mantis_repo::Repository| {
        let job = backup_job(jobs, order, &task, (&repo, &engine));
        let info = jobs::backup(job).await?;
        if task.schedule.read_back {
            prove(order, &repo, &info).await?;
        }
        Ok((info.clone(), Some(info)))
    };
    let made = match destinations.back_up(make).await {
        Ok(made) => made,
        Err(NoPlace { error, passed_over }) => {
            for passed_over in &passed_over {
                tracing::error!(job = %order.entry.id, error = %passed_over.chain(), "a place cannot be used");
            }
            return Err(error);
        }
    };
    let Made { made: info, at, copies, passed_over } = made;
    show(order.entry.source.as_deref().unwrap_or_default(), &info);
    let mut report = Report {
        backup: Some(info.id.to_string()),
        repository: Some(places.name(at).to_owned()),
        ..Report::done(summary(&info))
    };
    for (at, error) in passed_over.iter().enumerate() {
        problem(&mut report, places.name(at), error);
    }
    let mut reached = vec![at];
    for copy in copies {
        match copy.sent {
            Ok(sent) => {
                metrics::counter!(name::SENT, "repository" => places.name(copy.at).to_owned())
                    .increment(sent);
                reached.push(copy.at);
            }
            Err(error) => problem(&mut report, places.name(copy.at), &error),
        }
    }
    for at in reached {
        match Box::pin(after(jobs, order, &task, (&mut destinations, &places, at))).await {
            Err(error) if error.is_cancelled() => return Ok(report),
            Err(error) => problem(&mut report, places.name(at), &error),
            Ok(()) => {}
        }
    }
    Ok(report)
}

fn backup_job(
    jobs: &Jobs,
    order: &Order,
    task: &Task<'_>,
    (repo, engine): (&mantis_repo::Repository, &Arc<dyn Engine>),
) -> BackupJob {
    let schedule = task.schedule;
    let usual = WriteOptions::default();
    BackupJob {
        repo: repo.clone(),
        coordinator: Coordinator::new(SnapshotConfig {
            freeze_timeout: task.source.freeze_timeout.0.0,
            temp_folder: Some(jobs.scratch.to_path_buf()),
            ..SnapshotConfig::default()
        }),
        engine: Arc::clone(engine),
        name: task.name.clone(),
        tags: task.tags.clone(),
        write: WriteOptions {
            compression: schedule.compression.map_or(usual.compression, |codec| codec.0),
            jobs: usize::try_from(schedule.jobs).unwrap_or(0),
            rate: schedule.limit_rate.map(|rate| rate.0.0),
            spool: spool_for(
                repo,
                Some(&jobs.scratch),
                schedule.spool_limit.map(|limit| limit.0.0),
            ),
            cancel: order.cancel.clone(),
            progress: Arc::clone(&order.progress),
            ..usual
        },
        timeout: None,
        full: schedule.full,
        looks_good_for: crate::jobs::LOOKS_GOOD_FOR,
    }
}

/// Reads a backup back from the store.
async fn prove(
    order: &Order,
    repo: &mantis_repo::Repository,
    info: &BackupInfo,
) -> Result<(), Error> {
    let options = VerifyOptions { cancel: order.cancel.clone(), ..VerifyOptions::default() };
    let report = repo.verify(&[info.id.to_string()], &options).await?;
    match report.damaged.into_iter().next() {
        None => Ok(()),
        Some(damage) => Err(RepoError::Damaged { object: damage.object, what: damage.what }.into()),
    }
}

/// Removes what is not kept in a place, and shows what is there.
async fn after(
    jobs: &Jobs,
    order: &Order,
    task: &Task<'_>,
    (destinations, places, at): (&mut Destinations<&ConfigPlaces>, &ConfigPlaces, usize),
) -> Result<(), Error> {
    super::check(order)?;
    let repo = destinations.open(at).await?;
    let place = places.name(at);
    let retention = task.schedule.retention.as_ref();
    let retention = retention.and_then(|named| order.config.retention.get(named.get_ref()));
    let catalogue = if let Some(retention) = retention {
        let policy = retention.policy();
        let (removed, catalogue) = jobs::expire(&repo, (&policy, task.zone), &task.name).await?;
        metrics::counter!(name::EXPIRED, "repository" => place.to_owned())
            .increment(removed.len() as u64);
        if !removed.is_empty() {
            tracing::info!(job = %order.entry.id, repository = place, backups = removed.len(), "retention removed backups");
        }
        catalogue
    } else {
        repo.catalogue().await?
    };
    jobs.freshness.see(place, &catalogue);
    if jobs.freshness.measure_is_due(place) {
        let measured = Place::of(&order.config, place)?.measure().await?;
        metrics::gauge!(name::REPOSITORY_BYTES, "repository" => place.to_owned())
            .set(measured as f64);
    }
    Ok(())
}

fn problem(report: &mut Report, place: &str, error: &Error) {
    report.problems.push(format!("{place}: {}", error.chain()));
    report.full.extend(super::full(error));
}

fn summary(info: &BackupInfo) -> String {
    let kind = if info.parent.is_some() { "incremental" } else { "full" };
    format!(
        "{kind} backup {} of {} as of {}: {} of {} changed, {} stored, in {}",
        info.id.short(),
        info.meta.source,
        format_time(info.meta.created_at),
        size(info.pages_changed.saturating_mul(info.meta.page_size.into())),
        size(info.meta.byte_len),
        size(info.bytes_stored),
        time(std::time::Duration::from_millis(info.duration_ms)),
    )
}

/// Shows a backup's figures.
pub(super) fn show(source: &str, info: &BackupInfo) {
    let source = || source.to_owned();
    let kind = if info.parent.is_some() { "incremental" } else { "full" };
    let changed = info.pages_changed.saturating_mul(info.meta.page_size.into()) as f64;
    metrics::counter!(name::BACKUPS, "source" => source(), "kind" => kind).increment(1);
    metrics::histogram!(name::BACKUP_SECONDS, "source" => source())
        .record(info.duration_ms as f64 / 1000.0);
    metrics::counter!(name::READ, "source" => source()).increment(info.bytes_read);
    metrics::counter!(name::STORED, "source" => source()).increment(info.bytes_stored);
    metrics::gauge!(name::SOURCE_BYTES, "source" => source()).set(info.meta.byte_len as f64);
    // Without a change there is nothing to divide by.
    if changed > 0.0 {
        metrics::gauge!(name::DEDUP, "source" => source()).set(info.meta.byte_len as f64 / changed);
    }
    if info.bytes_stored > 0 && changed > 0.0 {
        metrics::gauge!(name::COMPRESSION, "source" => source())
            .set(changed / info.bytes_stored as f64);
    }
}
