//! `mantis list`

use mantis_page::Lsn;
use mantis_repo::{BackupInfo, Selector};
use serde_json::Value;

use crate::cli::args::ListArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::{backup_json, count, size, table};
use crate::cli::proofs::{self, Known};
use crate::{Error, format_time};

fn row(info: &BackupInfo, known: &Known) -> Vec<String> {
    let meta = &info.meta;
    let tags: Vec<String> = meta.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let kind = if info.parent.is_some() { "incremental" } else { "full" };
    vec![
        info.id.short(),
        format_time(meta.created_at),
        meta.source.clone(),
        meta.engine.clone(),
        kind.to_owned(),
        Lsn::new(meta.lsn).to_string(),
        size(meta.byte_len),
        count(info.pages_changed),
        size(info.bytes_stored),
        proofs::as_text(known, info.id),
        tags.join(" "),
    ]
}

pub(crate) async fn run(context: &Context, args: ListArgs) -> Result<Ending, Error> {
    let repo = context.open().await?;
    let catalogue = repo.catalogue().await?;
    let known = proofs::known(context, &repo);
    let (source, tags, at) = (args.source, args.tags, args.at);
    let selector = Selector { source, tags, at, ..Selector::default() };
    let backups: Vec<&BackupInfo> = catalogue.select(&selector).collect();
    let as_json = |info: &&BackupInfo| {
        let mut backup = backup_json(info);
        backup["proved"] = proofs::as_json(&known, info.id);
        backup
    };
    context.result(&Value::Array(backups.iter().map(as_json).collect()))?;
    if backups.is_empty() {
        context.say("no backups")?;
    } else {
        let head = [
            "ID", "TAKEN", "SOURCE", "ENGINE", "KIND", "COMMIT", "SIZE", "CHANGED", "STORED",
            "PROVED", "TAGS",
        ]
        .map(str::to_owned);
        let mut rows = vec![head.to_vec()];
        rows.extend(backups.into_iter().map(|info| row(info, &known)));
        context.say(table(&rows).trim_end())?;
    }
    if catalogue.unreadable.is_empty() {
        return Ok(Ending::Done);
    }
    for unreadable in catalogue.unreadable {
        crate::cli::report(&unreadable.error.into());
    }
    Ok(Ending::InPart)
}
