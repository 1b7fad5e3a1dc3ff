//! `mantis watch`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use mantis_engine::sqlite::SqliteOptions;
use mantis_repo::{BackupInfo, Repository, WriteOptions};
use mantis_snapshot::{Coordinator, Engine, SnapshotConfig};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::cli::args::WatchArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::{backup_json, count, size, time};
use crate::jobs::{Admission, Exposure, WatchEvent, WatchJob, taking_turns, watch};
use crate::spool::spool_for;
use crate::{Error, Source, SourceOptions, format_time};

/// Backups at once, over all sources.
const AT_ONCE: usize = 4;

pub(crate) async fn run(context: &Context, args: WatchArgs) -> Result<Ending, Error> {
    if args.name.is_some() && args.sources.len() > 1 {
        return Err(Error::usage(
            "one name cannot be given to several sources",
            "watch them by commands of their own",
        ));
    }
    let repo = context.open().await?;
    let coordinator = Coordinator::new(SnapshotConfig {
        freeze_timeout: args.freeze_timeout,
        max_concurrent: AT_ONCE,
        temp_folder: args.temp_folder.clone(),
        ..SnapshotConfig::default()
    });
    let admission = taking_turns(Arc::new(Semaphore::new(AT_ONCE)));
    let shared = (&repo, &coordinator, &admission);
    let jobs = args.sources.iter().map(|text| job(context, &args, shared, text));
    let jobs = jobs.collect::<Result<Vec<WatchJob>, Error>>()?;
    let mut names: Vec<&str> = jobs.iter().map(|job| &*job.name).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::usage(
            format!("two sources are named {}", twice[0]),
            "watch one of them by a command of its own, with another --name",
        ));
    }
    for job in &jobs {
        context.say(format!("watching {}, every {}", job.name, time(job.every)))?;
    }
    let watches = jobs.iter().map(|job| async move {
        let ended = watch(job, |event| show(context, &job.name, &event)).await;
        if let Err(error) = &ended {
            crate::cli::report(error);
        }
        ended.is_ok()
    });
    let ended = join_all(watches).await;
    let failed = ended.iter().filter(|ended| !**ended).count();
    Ok(match failed {
        0 => Ending::Done,
        all if all == ended.len() => Ending::Failed,
        _ => Ending::InPart,
    })
}

fn job(
    context: &Context,
    args: &WatchArgs,
    (repo, coordinator, admission): (&Repository, &Coordinator, &Admission),
    text: &str,
) -> Result<WatchJob, Error> {
    let source = Source::parse(text)?;
    let sqlite = SqliteOptions { journal_lock: args.journal_lock.into(), immutable: false };
    let engine: Arc<dyn Engine> = Arc::from(source.follower(&SourceOptions { sqlite })?);
    let policy = args.policy.policy();
    Ok(WatchJob {
        repo: repo.clone(),
        coordinator: coordinator.clone(),
        engine,
        name: args.name.clone().unwrap_or_else(|| source.default_name()),
        tags: args.tags.iter().cloned().collect::<BTreeMap<String, String>>(),
        write: WriteOptions {
            compression: args.compression,
            jobs: args.jobs,
            rate: args.limit_rate,
            spool: spool_for(repo, args.temp_folder.as_deref(), args.spool_limit),
            cancel: context.cancel.clone(),
            ..WriteOptions::default()
        },
        every: args.every,
        max_log: args.max_wal,
        admission: Arc::clone(admission),
        exposure: Arc::new(Exposure::new()),
        rules: (!policy.is_empty()).then(|| (policy, args.policy.zone())),
    })
}

/// One line for each event: for people what was stored, and on the error output what went wrong; as JSON all of it.
fn show(context: &Context, name: &str, event: &WatchEvent) {
    if context.json {
        // One document a line, as there is no end to them.
        let _ = crate::cli::output::write_out(format!("{}\n", event_json(name, event)).as_bytes());
    }
    let warn = |text: String| eprintln!("warning: {name}: {text}");
    match event {
        WatchEvent::Made { info, exposed } => {
            let _ = context.say(line(info, *exposed));
        }
        WatchEvent::Failed { error, failures, wait } => {
            crate::cli::report(error);
            warn(format!("backup {failures} in a row that failed; again in {}", time(*wait)));
        }
        WatchEvent::Gap => warn("lost sight of what changed: all pages are compared".into()),
        WatchEvent::Relieved(relief) => {
            tracing::info!(source = %name, writers_held = ?relief.writers_held, relieved = relief.relieved, "WAL put into the database");
        }
        WatchEvent::NotRelieved(error) => {
            warn(format!("its WAL cannot be put into the database: {}", error.chain()));
        }
        WatchEvent::Expired(removed) => {
            let _ = context
                .say(format!("{name}: rules removed {} backups", count(removed.len() as u64)));
        }
        WatchEvent::NotExpired(error) => warn(format!("rules were not applied: {}", error.chain())),
    }
}

fn line(info: &BackupInfo, exposed: Option<Duration>) -> String {
    let behind = exposed.map(|exposed| format!("; at most {} behind", time(exposed)));
    format!(
        "{} {} of {}: {} pages changed, {} stored, in {}{}",
        format_time(info.meta.created_at),
        info.id.short(),
        info.meta.source,
        count(info.pages_changed),
        size(info.bytes_stored),
        time(Duration::from_millis(info.duration_ms)),
        behind.unwrap_or_default(),
    )
}

fn event_json(name: &str, event: &WatchEvent) -> Value {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    match event {
        WatchEvent::Made { info, exposed } => {
            json!({ "event": "backup", "backup": backup_json(info), "exposed_ms": exposed.map(millis) })
        }
        WatchEvent::Failed { error, failures, wait } => json!({
            "event": "failed", "source": name, "error": error.chain(), "failures": failures,
            "again_in_ms": millis(*wait),
        }),
        WatchEvent::Gap => json!({ "event": "gap", "source": name }),
        WatchEvent::Relieved(relief) => json!({
            "event": "relieved", "source": name, "relieved": relief.relieved,
            "writers_held_us": u64::try_from(relief.writers_held.as_micros()).unwrap_or(u64::MAX),
        }),
        WatchEvent::NotRelieved(error) => {
            json!({ "event": "not_relieved", "source": name, "error": error.chain() })
        }
        WatchEvent::Expired(removed) => {
            let ids: Vec<String> = removed.iter().map(ToString::to_string).collect();
            json!({ "event": "expired", "source": name, "backups": ids })
        }
        WatchEvent::NotExpired(error) => {
            json!({ "event": "not_expired", "source": name, "error": error.chain() })
        }
    }
}
