//! `mantis forget`

use mantis_repo::{BackupId, BackupInfo, Catalogue, Repository, Selector};
use mantis_retention::{Candidate, Policy, plan};
use serde_json::{Value, json};

use super::prune::{MAX_UNUSED, options, prune};
use crate::cli::args::ForgetArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::backup_json;
use crate::{Error, clock, format_time};

/// What is going to happen: every backup that was looked at, with the reasons that keep it; none: it goes.
type Decisions<'a> = Vec<(&'a BackupInfo, Vec<String>)>;

fn by_id<'a>(catalogue: &'a Catalogue, ids: &[String]) -> Result<Decisions<'a>, Error> {
    let mut decisions: Decisions<'a> = Vec::new();
    for id in ids {
        let selector = Selector { id: Some(id.clone()), ..Selector::default() };
        let backup = catalogue.find(&selector)?;
        if decisions.iter().all(|(known, _)| known.id != backup.id) {
            decisions.push((backup, Vec::new()));
        }
    }
    Ok(decisions)
}

fn by_rules<'a>(catalogue: &'a Catalogue, policy: Policy, source: Option<&str>) -> Decisions<'a> {
    let fits = |backup: &&BackupInfo| source.is_none_or(|source| backup.meta.source == source);
    let candidates: Vec<Candidate<BackupId>> = catalogue
        .backups
        .iter()
        .filter(fits)
        .map(|backup| Candidate {
            id: backup.id,
            source: backup.meta.source.clone(),
            created_at: backup.meta.created_at.0,
        })
        .collect();
    let plan = plan(policy, &candidates);
    let reasons = |backup: &BackupInfo| -> Vec<String> {
        let kept = plan.kept.iter().find(|kept| kept.id == backup.id);
        kept.iter().flat_map(|kept| &kept.reasons).map(ToString::to_string).collect()
    };
    catalogue.backups.iter().filter(fits).map(|backup| (backup, reasons(backup))).collect()
}

fn show(context: &Context, decisions: &Decisions<'_>, dry_run: bool) -> Result<(), Error> {
    for (backup, reasons) in decisions {
        let what = match (reasons.is_empty(), dry_run) {
            (true, true) => "would forget".to_owned(),
            (true, false) => "forgot".to_owned(),
            (false, _) => format!("keep ({})", reasons.join(", ")),
        };
        context.say(format!(
            "{} {} {}: {what}",
            backup.id.short(),
            format_time(backup.meta.created_at),
            backup.meta.source
        ))?;
    }
    Ok(())
}

fn decisions_json(decisions: &Decisions<'_>, dry_run: bool) -> Value {
    let with_reasons = |(backup, reasons): &(&BackupInfo, Vec<String>)| {
        let mut value = backup_json(backup);
        value["reasons"] = json!(reasons);
        value
    };
    let (kept, removed): (Vec<_>, Vec<_>) =
        decisions.iter().partition(|(_, reasons)| !reasons.is_empty());
    json!({
        "dry_run": dry_run,
        "keep": kept.into_iter().map(with_reasons).collect::<Vec<Value>>(),
        "remove": removed.into_iter().map(|(backup, _)| backup_json(backup)).collect::<Vec<Value>>(),
    })
}

async fn undo(context: &Context, repo: &Repository, id: &str) -> Result<Ending, Error> {
    let backup = repo.bring_back(id, clock::entropy()?, &clock::owner(), clock::now()).await?;
    context.result(&backup_json(&backup))?;
    context.say(format!("backup {} of {} is back", backup.id.short(), backup.meta.source))?;
    Ok(Ending::Done)
}

pub(crate) async fn run(context: &Context, args: ForgetArgs) -> Result<Ending, Error> {
    let policy = Policy { keep_last: args.keep_last };
    if args.ids.is_empty() && policy.is_empty() && args.undo.is_none() {
        return Err(Error::usage(
            "nothing says what to forget",
            "name backups by their ids, or give a rule: --keep-last N",
        ));
    }
    let repo = context.open().await?;
    if let Some(id) = &args.undo {
        return undo(context, &repo, id).await;
    }
    let catalogue = repo.catalogue().await?;
    let decisions = if args.ids.is_empty() {
        by_rules(&catalogue, policy, args.source.as_deref())
    } else {
        by_id(&catalogue, &args.ids)?
    };
    let removed: Vec<BackupId> = decisions
        .iter()
        .filter(|(_, reasons)| reasons.is_empty())
        .map(|(backup, _)| backup.id)
        .collect();
    if !args.dry_run {
        repo.forget(&catalogue, &removed, clock::entropy()?, clock::now()).await?;
    }
    show(context, &decisions, args.dry_run)?;
    let mut result = decisions_json(&decisions, args.dry_run);
    if args.prune {
        let options = options(args.grace, args.dry_run, args.exclusive);
        result["prune"] = prune(context, &repo, MAX_UNUSED, options).await?;
    }
    context.result(&result)?;
    Ok(Ending::Done)
}
