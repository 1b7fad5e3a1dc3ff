//! `mantis repair`

use std::path::Path;

use mantis_repo::{BackupId, LostSegment, RepairOptions, Repository, Selector};
use serde_json::{Value, json};

use crate::cli::args::RepairArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::count;
use crate::jobs::salvage;
use crate::{Error, clock};

fn ranges_json(ranges: &[(u64, u64)]) -> Vec<Value> {
    ranges.iter().map(|(first, last)| json!({ "first": first, "last": last })).collect()
}

fn lost_json(lost: &LostSegment) -> Value {
    json!({
        "object": lost.object,
        "problem": lost.what,
        "backups": lost.backups.iter().map(ToString::to_string).collect::<Vec<String>>(),
        "pages": lost.pages.as_deref().map(ranges_json),
    })
}

async fn rescue(
    context: &Context,
    repo: &Repository,
    id: &str,
    to: &Path,
) -> Result<Ending, Error> {
    let catalogue = repo.catalogue().await?;
    let backup = catalogue.find(&Selector { id: Some(id.to_owned()), ..Selector::default() })?;
    let salvaged = salvage(repo, backup, to).await?;
    let ranges: Vec<(u64, u64)> =
        salvaged.lost.ranges().map(|range| (range.first().get(), range.last().get())).collect();
    context.result(&json!({
        "id": backup.id.to_string(),
        "path": to,
        "pages": salvaged.pages,
        "pages_lost": salvaged.lost.len(),
        "lost": ranges_json(&ranges),
        "damaged": salvaged.damaged,
    }))?;
    context.say(format!(
        "wrote {} pages of {} to {}; {} are lost, and are zeros there",
        count(salvaged.pages),
        backup.id.short(),
        to.display(),
        count(salvaged.lost.len())
    ))?;
    for (first, last) in ranges.iter().take(20) {
        context.say(format!("  lost: pages {first} to {last}"))?;
    }
    Ok(if salvaged.lost.is_empty() { Ending::Done } else { Ending::Failed })
}

pub(crate) async fn run(context: &Context, args: RepairArgs) -> Result<Ending, Error> {
    let repo = context.open().await?;
    if let (Some(id), Some(to)) = (&args.salvage, &args.to) {
        return rescue(context, &repo, id, to).await;
    }
    let options = RepairOptions {
        dry_run: args.dry_run,
        owner: clock::owner(),
        cancel: context.cancel.clone(),
    };
    let report = repo.repair(&options, clock::entropy()?, clock::now()).await?;
    context.result(&json!({
        "dry_run": args.dry_run,
        "copies": report.copies,
        "outcomes": report.outcomes,
        "segments": report.segments,
        "pages_refilled": report.refilled,
        "backups": report.backups,
        "lost": report.lost.iter().map(lost_json).collect::<Vec<Value>>(),
    }))?;
    let would = if args.dry_run { "would make" } else { "made" };
    for name in report.copies.iter().chain(&report.outcomes).chain(&report.segments) {
        context.say(format!("{would} {name} anew"))?;
    }
    for lost in &report.lost {
        let touched: Vec<String> = lost.backups.iter().map(BackupId::short).collect();
        eprintln!("lost: {}: {} (backups: {})", lost.object, lost.what, touched.join(" "));
    }
    if report.lost.is_empty() {
        context.say(format!(
            "{would} {} segments and {} other objects anew; all is whole",
            report.segments.len(),
            report.copies.len() + report.outcomes.len()
        ))?;
        return Ok(Ending::Done);
    }
    eprintln!(
        "help: back the touched sources up again now with `mantis backup --full`; `mantis repair --salvage ID --to PATH` writes what can still be read"
    );
    Ok(Ending::Failed)
}
