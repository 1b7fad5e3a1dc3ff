//! `mantis copy`

use std::sync::Arc;

use mantis_repo::{BackupInfo, Catalogue, Selector, WriteOptions};
use mantis_sink::open_url;
use mantis_stream::ProgressTracker;
use serde_json::{Value, json};

use crate::Error;
use crate::cli::args::CopyArgs;
use crate::cli::context::Context;
use crate::cli::credentials::read_password;
use crate::cli::exit_code::Ending;
use crate::cli::output::size;
use crate::cli::progress::Bar;
use crate::jobs::{Copied, CopyJob, copy};

fn chosen(catalogue: &Catalogue, args: &CopyArgs) -> Result<Vec<BackupInfo>, Error> {
    let selector = |id: Option<&String>| Selector {
        id: id.cloned(),
        source: args.source.clone(),
        ..Selector::default()
    };
    if args.ids.is_empty() {
        return Ok(catalogue.select(&selector(None)).cloned().collect());
    }
    let mut chosen: Vec<BackupInfo> = Vec::new();
    for id in &args.ids {
        let backup = catalogue.find(&selector(Some(id)))?;
        if chosen.iter().all(|known| known.id != backup.id) {
            chosen.push(backup.clone());
        }
    }
    // Oldest first, as later ones are built on them.
    chosen.sort_by_key(|backup| (backup.meta.created_at, backup.session));
    Ok(chosen)
}

/// What a copy did, as JSON.
pub(crate) fn copied_json(to: &str, done: &Copied) -> Value {
    let names = |ids: &[mantis_repo::BackupId]| -> Vec<String> {
        ids.iter().map(ToString::to_string).collect()
    };
    let failed: Vec<Value> = done
        .failed
        .iter()
        .map(|(id, error)| json!({ "id": id.to_string(), "error": error.chain() }))
        .collect();
    json!({
        "to": to,
        "copied": names(&done.copied),
        "there": names(&done.there),
        "failed": failed,
        "decoded": done.sent.is_none(),
        "segments": done.sent.map(|sent| sent.segments),
        "bytes": done.sent.map(|sent| sent.bytes),
        "bytes_there": done.sent.map(|sent| sent.bytes_there),
    })
}

pub(crate) async fn run(context: &Context, args: CopyArgs) -> Result<Ending, Error> {
    let from = context.open().await?;
    let sink = open_url(&args.to)?;
    let (to, cache) = (sink.location(), context.index_cache(sink.capabilities().remote));
    let backups = chosen(&from.catalogue().await?, &args)?;
    let credentials = match &args.to_password_file {
        Some(file) => vec![read_password(file)?.into()],
        None => context.credentials().given()?,
    };
    let progress = Arc::new(ProgressTracker::new());
    let bar = Bar::show(context, "copy", &progress);
    let write = WriteOptions { cancel: context.cancel.clone(), ..WriteOptions::default() };
    let job = CopyJob {
        from,
        to: args.to,
        credentials,
        write,
        temp_folder: args.temp_folder,
        cache,
        cancel: context.cancel.clone(),
        progress,
    };
    let done = copy(job, &backups).await?;
    drop(bar);
    context.result(&copied_json(&to, &done))?;
    let sent = done.sent.map_or_else(
        || "stored anew in another repository".to_owned(),
        |sent| format!("{} sent, {} were there", size(sent.bytes), size(sent.bytes_there)),
    );
    context.say(format!(
        "copied {} backups to {to}, {} were there: {sent}",
        done.copied.len(),
        done.there.len()
    ))?;
    for (_, error) in &done.failed {
        crate::cli::report(error);
    }
    Ok(match (done.failed.is_empty(), done.copied.is_empty() && done.there.is_empty()) {
        (true, _) => Ending::Done,
        (false, false) => Ending::InPart,
        (false, true) => Ending::Failed,
    })
}
