//! `mantis forget`

use chrono_tz::Tz;
use mantis_repo::{
    BackupId, BackupInfo, Catalogue, RepoError, Repository, Selector, UnreadableBackup,
};
use mantis_retention::Policy;
use mantis_sink::error_chain;
use serde_json::{Value, json};

use super::prune::{MAX_UNUSED, options, prune};
use crate::cli::args::ForgetArgs;
use crate::cli::context::Context;
use crate::cli::decisions::{self, Fate, fates};
use crate::cli::exit_code::Ending;
use crate::cli::output::backup_json;
use crate::jobs::retention_plan;
use crate::{Error, clock, format_time};

/// A backup, as far as it can be read.
#[derive(Clone, Copy)]
enum Seen<'a> {
    Whole(&'a BackupInfo),
    Unreadable(&'a UnreadableBackup),
}

impl Seen<'_> {
    fn id(self) -> BackupId {
        match self {
            Self::Whole(backup) => backup.id,
            Self::Unreadable(backup) => backup.id(),
        }
    }

    fn line(self) -> String {
        match self {
            Self::Whole(backup) => {
                let (short, meta) = (backup.id.short(), &backup.meta);
                format!("{short} {} {}", format_time(meta.created_at), meta.source)
            }
            Self::Unreadable(backup) => format!("{}, which cannot be read", backup.id().short()),
        }
    }

    fn json(self) -> Value {
        match self {
            Self::Whole(backup) => backup_json(backup),
            Self::Unreadable(backup) => json!({
                "id": backup.id().to_string(),
                "problem": error_chain(&backup.error),
            }),
        }
    }
}

/// Every backup that was looked at, and what is going to happen to it.
type Decisions<'a> = Vec<(Seen<'a>, Fate)>;

/// The error of those who say nothing of what to keep.
pub(super) fn no_rule() -> Error {
    Error::usage(
        "nothing says what to keep",
        "give rules such as --keep-last 7, --keep-daily 14 or --keep-within 30d, or caps such as --max-age 1y",
    )
}

fn by_id<'a>(catalogue: &'a Catalogue, ids: &[String]) -> Result<Decisions<'a>, Error> {
    let mut decisions: Decisions<'a> = Vec::new();
    for id in ids {
        let selector = Selector { id: Some(id.clone()), ..Selector::default() };
        let backup = match catalogue.find(&selector) {
            Ok(backup) => Seen::Whole(backup),
            Err(none @ RepoError::NoSuchBackup { .. }) => match catalogue.find_unreadable(id) {
                Ok(backup) => Seen::Unreadable(backup),
                Err(RepoError::NoSuchBackup { .. }) => return Err(none.into()),
                Err(ambiguous) => return Err(ambiguous.into()),
            },
            Err(error) => return Err(error.into()),
        };
        if decisions.iter().all(|(known, _)| known.id() != backup.id()) {
            decisions.push((backup, Fate::Forget("by its id".into(), Vec::new())));
        }
    }
    Ok(decisions)
}

fn by_rules<'a>(
    catalogue: &'a Catalogue,
    policy: (&Policy, Tz),
    source: Option<&str>,
) -> (Decisions<'a>, Vec<String>) {
    let plan = retention_plan(catalogue, policy, source);
    let warnings = plan.warnings.iter().map(ToString::to_string).collect();
    let mut fates = fates(&plan);
    let backups = catalogue.backups.iter();
    let decided =
        backups.filter_map(|backup| Some((Seen::Whole(backup), fates.remove(&backup.id)?)));
    (decided.collect(), warnings)
}

async fn undo(context: &Context, repo: &Repository, id: &str) -> Result<Ending, Error> {
    let backup = repo.bring_back(id, clock::entropy()?, &clock::owner(), clock::now()).await?;
    context.result(&backup_json(&backup))?;
    context.say(format!("backup {} of {} is back", backup.id.short(), backup.meta.source))?;
    Ok(Ending::Done)
}

pub(crate) async fn run(context: &Context, args: ForgetArgs) -> Result<Ending, Error> {
    let policy = args.policy.policy();
    if args.ids.is_empty() && policy.is_empty() && args.undo.is_none() {
        return Err(Error::usage(
            "nothing says what to forget",
            "name backups by their ids, or give rules: --keep-last N, --keep-daily N, --max-age SPAN, …",
        ));
    }
    if !policy.is_empty() && (!args.ids.is_empty() || args.undo.is_some()) {
        return Err(Error::usage(
            "backups named by their ids are not subject to rules",
            "give either ids or rules",
        ));
    }
    let repo = context.open().await?;
    if let Some(id) = &args.undo {
        return undo(context, &repo, id).await;
    }
    let catalogue = repo.catalogue().await?;
    let (decisions, warnings) = if args.ids.is_empty() {
        by_rules(&catalogue, (&policy, args.policy.zone()), args.source.as_deref())
    } else {
        (by_id(&catalogue, &args.ids)?, Vec::new())
    };
    let removed: Vec<BackupId> =
        decisions.iter().filter(|(_, fate)| fate.goes()).map(|(backup, _)| backup.id()).collect();
    if !args.dry_run {
        repo.forget(&catalogue, &removed, clock::entropy()?, clock::now()).await?;
    }
    let lines = decisions.iter().map(|(backup, fate)| (backup.line(), fate));
    decisions::show(context, lines, args.dry_run)?;
    decisions::warn(&warnings);
    let values = decisions.iter().map(|(backup, fate)| (backup.json(), fate));
    let mut result = decisions::as_json(values, &warnings);
    result["dry_run"] = json!(args.dry_run);
    if args.prune {
        let options = options(args.grace, args.dry_run, args.exclusive);
        result["prune"] = prune(context, &repo, MAX_UNUSED, options).await?;
    }
    context.result(&result)?;
    Ok(Ending::Done)
}
