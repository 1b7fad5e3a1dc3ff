//! `mantis backup`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mantis_repo::{BackupInfo, Repository, VerifyOptions, WriteOptions};
use mantis_snapshot::{CancelFlag, Coordinator, Engine, Outcome, SnapshotConfig, SnapshotError};
use mantis_stream::ProgressTracker;
use serde_json::{Value, json};

use crate::cli::args::BackupArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::{backup_json, count, size, time};
use crate::cli::places::NamedPlaces;
use crate::cli::progress::Bar;
use crate::destinations::{Destinations, Made, NoPlace};
use crate::jobs::{BackupJob, backup};
use crate::spool::spool_for;
use crate::{Error, Source, SourceOptions};

pub(crate) async fn run(context: &Context, args: BackupArgs) -> Result<Ending, Error> {
    if args.name.is_some() && args.sources.len() > 1 {
        return Err(Error::usage(
            "one name cannot be given to several sources",
            "back them up one by one",
        ));
    }
    let mut places = Destinations::new(NamedPlaces::new(context, &args.copy_to)?);
    let coordinator = Coordinator::new(SnapshotConfig {
        freeze_timeout: args.freeze_timeout,
        temp_folder: args.temp_folder.clone(),
        ..SnapshotConfig::default()
    });
    let (mut results, mut failures) = (Vec::new(), Vec::new());
    for text in &args.sources {
        context.check()?;
        let make = async |repo| back_up_one(context, &args, &repo, &coordinator, text).await;
        match places.back_up(make).await {
            Ok(made) => results.push(tell_copies(context, &args, made, &mut failures)?),
            Err(NoPlace { error, .. }) if error.is_cancelled() => return Err(error),
            Err(NoPlace { error, passed_over }) => {
                failures.extend(passed_over);
                failures.push(error);
            }
        }
    }
    let in_part = !results.is_empty() && !failures.is_empty();
    if args.sources.len() == 1 {
        results.first().map_or(Ok(()), |result| context.result(result))?;
    } else if !results.is_empty() {
        context.result(&Value::Array(results))?;
    }
    let last = failures.pop();
    failures.iter().for_each(crate::cli::report);
    match last {
        None => Ok(Ending::Done),
        Some(error) if in_part => {
            crate::cli::report(&error);
            Ok(Ending::InPart)
        }
        Some(error) => Err(error),
    }
}

/// Says what became of a backup's copies; the backup as JSON, with them.
fn tell_copies(
    context: &Context,
    args: &BackupArgs,
    Made { made: mut result, at, copies, passed_over }: Made<Value>,
    failures: &mut Vec<Error>,
) -> Result<Value, Error> {
    failures.extend(passed_over);
    if args.copy_to.is_empty() || args.dry_run {
        return Ok(result);
    }
    let places = NamedPlaces::new(context, &args.copy_to)?;
    let mut told = Vec::new();
    for copy in copies {
        let to = places.location(copy.at)?;
        let error = copy.sent.as_ref().err().map(Error::chain);
        told.push(json!({ "to": to, "ok": error.is_none(), "error": error }));
        match copy.sent {
            Ok(sent) => context.say(format!("copied to {to}: {} sent", size(sent)))?,
            Err(error) => failures.push(error),
        }
    }
    result["made_in"] = json!(places.location(at)?);
    result["copies"] = json!(told);
    Ok(result)
}

async fn back_up_one(
    context: &Context,
    args: &BackupArgs,
    repo: &Repository,
    coordinator: &Coordinator,
    text: &str,
) -> Result<(Value, Option<BackupInfo>), Error> {
    let source = Source::parse(text)?;
    let sqlite = mantis_engine::sqlite::SqliteOptions {
        journal_lock: args.journal_lock.into(),
        immutable: args.immutable,
    };
    let engine: Arc<dyn Engine> = Arc::from(source.engine(&SourceOptions { sqlite })?);
    let name = args.name.clone().unwrap_or_else(|| source.default_name());
    if args.dry_run {
        return dry_run(context, coordinator, &*engine, &name).map(|plan| (plan, None));
    }
    let progress = Arc::new(ProgressTracker::new());
    let bar = Bar::show(context, &name, &progress);
    let job = BackupJob {
        repo: repo.clone(),
        coordinator: coordinator.clone(),
        engine,
        name,
        tags: args.tags.iter().cloned().collect::<BTreeMap<String, String>>(),
        write: WriteOptions {
            compression: args.compression,
            jobs: args.jobs,
            rate: args.limit_rate,
            spool: spool_for(repo, args.temp_folder.as_deref(), args.spool_limit),
            cancel: context.cancel.clone(),
            progress,
            ..WriteOptions::default()
        },
        timeout: args.timeout,
        full: args.full,
        looks_good_for: crate::jobs::LOOKS_GOOD_FOR,
    };
    let info = backup(job).await?;
    drop(bar);
    if args.verify {
        prove(context, repo, &info).await?;
    }
    describe(context, &info)?;
    Ok((backup_json(&info), Some(info)))
}

/// Reads the backup back from the store.
async fn prove(context: &Context, repo: &Repository, info: &BackupInfo) -> Result<(), Error> {
    let options = VerifyOptions { cancel: context.cancel.clone(), ..VerifyOptions::default() };
    let bar = Bar::show(context, "verify", &options.progress);
    let report = repo.verify(&[info.id.to_string()], &options).await?;
    drop(bar);
    match report.damaged.into_iter().next() {
        None => Ok(()),
        Some(damage) => {
            Err(mantis_repo::RepoError::Damaged { object: damage.object, what: damage.what }.into())
        }
    }
}

fn describe(context: &Context, info: &BackupInfo) -> Result<(), Error> {
    let meta = &info.meta;
    context.say(format!(
        "backup {} of {}: {} pages ({}){} as of LSN {}, {} stored, in {}",
        info.id.short(),
        meta.source,
        count(meta.page_count),
        size(meta.byte_len),
        match info.parent {
            Some(parent) => {
                format!(", {} changed since {},", count(info.pages_changed), parent.short())
            }
            None => String::new(),
        },
        mantis_page::Lsn::new(meta.lsn),
        size(info.bytes_stored),
        time(Duration::from_millis(info.duration_ms)),
    ))
}

fn dry_run(
    context: &Context,
    coordinator: &Coordinator,
    engine: &dyn Engine,
    name: &str,
) -> Result<Value, Error> {
    let begin = || -> Result<Value, SnapshotError> {
        let snapshot = coordinator.begin(name, engine, None, &CancelFlag::new())?;
        let (point, geometry) = (snapshot.point().clone(), snapshot.geometry());
        let info = engine.info()?;
        snapshot.finish(Outcome::Aborted)?;
        Ok(json!({
            "dry_run": true,
            "source": name,
            "engine": info.engine,
            "object": info.object,
            "lsn": point.lsn.get(),
            "kind": "full",
            "way": point.way.name(),
            "pages": geometry.page_count,
            "page_size": geometry.page_size.get(),
            "bytes": geometry.byte_len,
        }))
    };
    let plan = tokio::task::block_in_place(begin)?;
    let (pages, bytes) = (plan["pages"].as_u64().unwrap_or(0), plan["bytes"].as_u64().unwrap_or(0));
    context.say(format!(
        "would back up {name}: {} pages ({}), full; stored nothing",
        count(pages),
        size(bytes)
    ))?;
    Ok(plan)
}
