//! `mantis prune`

use std::time::Duration;

use mantis_repo::{CompactReport, PruneOptions, PruneReport, Repository, SessionId};
use serde_json::{Value, json};

use crate::cli::args::PruneArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::size;
use crate::jobs::{self, PruneJob, Pruned};
use crate::{Error, format_time};

/// The share of a repository that may be unused where nothing else is said.
pub(crate) const MAX_UNUSED: f64 = 0.05;

fn compact_json(report: &CompactReport) -> Value {
    json!({
        "merges": report.merges,
        "layers": report.layers,
        "backups": report.backups,
        "written_bytes": report.written_bytes,
        "unused_bytes": report.unused_bytes,
    })
}

fn report_json(report: &PruneReport, dry_run: bool) -> Value {
    let names = |sessions: &[SessionId]| -> Vec<String> {
        sessions.iter().map(ToString::to_string).collect()
    };
    json!({
        "dry_run": dry_run,
        "freed_bytes": report.freed_bytes,
        "freed_objects": report.freed_objects,
        "waiting_bytes": report.waiting_bytes,
        "waiting_for": names(&report.waiting_for),
        "fenced": names(&report.fenced),
        "graced_bytes": report.graced_bytes,
        "locked_bytes": report.locked_bytes,
        "locked_until": report.locked_until.map(format_time),
        "kept_bytes": report.kept_bytes,
        "swept_records": report.swept_records,
    })
}

/// The options as they are given.
pub(crate) fn options(grace: Duration, dry_run: bool, exclusive: bool) -> PruneOptions {
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    PruneOptions { grace_ms, dry_run, exclusive }
}

/// Prunes, says what it did, and gives that as JSON.
pub(crate) async fn prune(
    context: &Context,
    repo: &Repository,
    max_unused: f64,
    options: PruneOptions,
) -> Result<Value, Error> {
    let dry_run = options.dry_run;
    let cancel = context.cancel.clone();
    let job = PruneJob { repo: repo.clone(), max_unused, options, cancel };
    let Pruned { compacted, freed: report } = jobs::prune(job).await?;
    if compacted.merges > 0 {
        context.say(format!(
            "{} {} layers together in {} places: {} written, about {} unused",
            if dry_run { "would put" } else { "put" },
            compacted.layers,
            compacted.merges,
            size(compacted.written_bytes),
            size(compacted.unused_bytes),
        ))?;
    }
    let (would, kept) = (if dry_run { "would free" } else { "freed" }, size(report.kept_bytes));
    context.say(format!(
        "{would} {} in {} objects; backups need {kept}",
        size(report.freed_bytes),
        report.freed_objects
    ))?;
    if report.graced_bytes > 0 {
        let graced = size(report.graced_bytes);
        context.say(format!("{graced} wait for the time of grace of forgotten backups"))?;
    }
    if report.swept_records > 0 {
        let removed = if dry_run { "would remove" } else { "removed" };
        let records = report.swept_records;
        context.say(format!("{removed} {records} records of backups that are long gone"))?;
    }
    if let Some(until) = report.locked_until {
        let locked = size(report.locked_bytes);
        context
            .say(format!("{locked} are locked; the last of them until {}", format_time(until)))?;
    }
    if !report.waiting_for.is_empty() {
        context.say(format!(
            "{} wait for {} sessions under way; the next prune frees them",
            size(report.waiting_bytes),
            report.waiting_for.len()
        ))?;
    }
    let mut result = report_json(&report, dry_run);
    result["compacted"] = compact_json(&compacted);
    Ok(result)
}

pub(crate) async fn run(context: &Context, args: PruneArgs) -> Result<Ending, Error> {
    let repo = context.open().await?;
    let options = options(args.grace, args.dry_run, args.exclusive);
    let result = prune(context, &repo, args.max_unused, options).await?;
    context.result(&result)?;
    Ok(Ending::Done)
}
