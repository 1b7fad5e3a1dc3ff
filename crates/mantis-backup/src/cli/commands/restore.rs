//! `mantis restore`

use std::time::Duration;

use mantis_repo::{RestoreOptions, Selector};
use serde_json::json;

use crate::cli::args::RestoreArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::{count, size, time};
use crate::cli::progress::Bar;
use crate::jobs::{RestoreJob, restore};
use crate::{Error, format_time};

pub(crate) async fn run(context: &Context, args: RestoreArgs) -> Result<Ending, Error> {
    let repo = context.open().await?;
    let catalogue = repo.catalogue().await?;
    let selector =
        Selector { id: Some(args.id), source: args.source, at: args.at, ..Selector::default() };
    let backup = catalogue.find(&selector)?.clone();
    let options = RestoreOptions {
        jobs: args.jobs,
        cancel: context.cancel.clone(),
        ..RestoreOptions::default()
    };
    let bar = Bar::show(context, "restore", &options.progress);
    let job = RestoreJob {
        repo,
        backup: backup.clone(),
        target: args.to,
        replace: args.force,
        check: args.check,
        options,
    };
    let restored = restore(job).await?;
    drop(bar);
    context.result(&json!({
        "id": backup.id.to_string(),
        "source": backup.meta.source,
        "path": restored.path,
        "pages": restored.pages,
        "bytes": restored.bytes,
        "duration_ms": restored.duration_ms,
        "checked": restored.checked,
    }))?;
    context.say(format!(
        "restored {} of {}, taken {}, to {}: {} pages ({}){} in {}",
        backup.id.short(),
        backup.meta.source,
        format_time(backup.meta.created_at),
        restored.path.display(),
        count(restored.pages),
        size(restored.bytes),
        if restored.checked { ", checked by its engine," } else { "" },
        time(Duration::from_millis(restored.duration_ms)),
    ))?;
    Ok(Ending::Done)
}
