//! `mantis verify`

use mantis_repo::{
    BackupId, BackupInfo, Damage, Reach, Repository, RestoreOptions, VerifyOptions, VerifyReport,
};
use serde_json::{Value, json};

use crate::cli::args::VerifyArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::size;
use crate::cli::progress::Bar;
use crate::cli::proofs;
use crate::daemon::{ProofKind, proofs_of};
use crate::jobs::{DrillJob, drill};
use crate::{Error, clock};

fn reach(args: &VerifyArgs) -> Result<Reach, Error> {
    Ok(match args.sample {
        _ if args.metadata_only => Reach::Metadata,
        None => Reach::Everything,
        Some(share) => {
            let [a, b, c, d, e, f, g, h, ..] = clock::entropy()?;
            Reach::Sample { share, seed: u64::from_le_bytes([a, b, c, d, e, f, g, h]) }
        }
    })
}

/// Restores a backup to a temporary folder and runs its engine's own check on it.
async fn restore_check(
    context: &Context,
    args: &VerifyArgs,
    repo: &Repository,
    backup: BackupInfo,
) -> Result<(), Error> {
    let options = RestoreOptions {
        jobs: args.jobs,
        cancel: context.cancel.clone(),
        ..RestoreOptions::default()
    };
    let bar = Bar::show(context, &format!("check {}", backup.id.short()), &options.progress);
    let (repo, temp_folder) = (repo.clone(), args.temp_folder.clone());
    let restored = drill(DrillJob { repo, backup, temp_folder, options }).await;
    drop(bar);
    restored.map(|_| ())
}

async fn restore_checks(
    context: &Context,
    args: &VerifyArgs,
    repo: &Repository,
    report: &mut VerifyReport,
) -> Result<usize, Error> {
    let catalogue = repo.catalogue().await?;
    let chosen: Vec<BackupInfo> = catalogue
        .backups
        .into_iter()
        .filter(|backup| report.checked.contains(&backup.id))
        .collect();
    let count = chosen.len();
    for backup in chosen {
        context.check()?;
        let id = backup.id;
        match restore_check(context, args, repo, backup).await {
            Ok(()) => {}
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => report.damaged.push(Damage {
                object: format!("backup {id}"),
                what: format!("its restore failed the check: {}", error.chain()),
                backups: vec![id],
                pages: None,
            }),
        }
    }
    Ok(count)
}

fn damage_json(damage: &Damage) -> Value {
    json!({
        "object": damage.object,
        "problem": damage.what,
        "backups": damage.backups.iter().map(ToString::to_string).collect::<Vec<String>>(),
        "pages": damage.pages.map(|(first, last)| json!({ "first": first, "last": last })),
    })
}

/// Notes what was proved, for `mantis list`.
async fn note(
    context: &Context,
    repo: &Repository,
    report: &VerifyReport,
    (reach, restored): (Reach, bool),
) -> Result<(), Error> {
    let there: Vec<BackupId> =
        repo.catalogue().await?.backups.iter().map(|backup| backup.id).collect();
    let mut found = proofs_of(report, reach);
    if restored {
        // A restore proves every byte, whatever was read before.
        found = proofs_of(report, Reach::Everything);
        found.iter_mut().for_each(|(_, proof)| proof.by = ProofKind::Drill);
    }
    proofs::note(context, repo, found, &there);
    Ok(())
}

pub(crate) async fn run(context: &Context, args: VerifyArgs) -> Result<Ending, Error> {
    let repo = context.open().await?;
    let reach = reach(&args)?;
    let options = VerifyOptions {
        jobs: args.jobs,
        reach,
        cancel: context.cancel.clone(),
        ..VerifyOptions::default()
    };
    let bar = Bar::show(context, "verify", &options.progress);
    let mut report = repo.verify(&args.ids, &options).await?;
    drop(bar);
    let restored = if args.restore_check {
        restore_checks(context, &args, &repo, &mut report).await?
    } else {
        0
    };
    note(context, &repo, &report, (reach, args.restore_check)).await?;
    context.result(&json!({
        "checked": report.checked.len(),
        "backups": report.checked.iter().map(ToString::to_string).collect::<Vec<String>>(),
        "segments": report.segments,
        "bytes": report.bytes,
        "restored": restored,
        "damaged": report.damaged.iter().map(damage_json).collect::<Vec<Value>>(),
    }))?;
    for damage in &report.damaged {
        let touched: Vec<String> = damage.backups.iter().map(BackupId::short).collect();
        let pages = damage
            .pages
            .map_or_else(String::new, |(first, last)| format!(", pages {first} to {last}"));
        eprintln!(
            "damaged: {}: {} (backups: {}{pages})",
            damage.object,
            damage.what,
            touched.join(" ")
        );
    }
    let proved = format!(
        "{} backups, {} segments, {} read{}",
        report.checked.len(),
        report.segments,
        size(report.bytes),
        if args.restore_check {
            format!(", {restored} restored and checked")
        } else {
            String::new()
        },
    );
    if report.damaged.is_empty() {
        context.say(format!("verified {proved}: all whole"))?;
        return Ok(Ending::Done);
    }
    context.say(format!("verified {proved}: {} damaged objects", report.damaged.len()))?;
    eprintln!(
        "help: run `mantis repair`, which makes anew what it can and names what is lost; sources of what is lost: back them up again with `mantis backup --full`. Other backups restore as ever"
    );
    Ok(Ending::Failed)
}
