//! `mantis show`

use std::time::Duration;

use mantis_repo::Selector;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::{backup_json, count, size, time};
use crate::cli::proofs;
use crate::{Error, format_time};

pub(crate) async fn run(context: &Context, id: String) -> Result<Ending, Error> {
    let repo = context.open().await?;
    let catalogue = repo.catalogue().await?;
    let info = catalogue.find(&Selector { id: Some(id), ..Selector::default() })?;
    let manifest = repo.manifest(info).await?;
    let segments = manifest.layers.iter().map(|layer| layer.segments.len()).sum::<usize>();
    let mut value = backup_json(info);
    value["session"] = json!(info.session.to_string());
    value["generation"] = json!(info.generation);
    value["timeline"] = json!(info.meta.timeline);
    value["layers"] = json!(manifest.layers.len());
    value["segments"] = json!(segments);
    let known = proofs::known(context, &repo);
    value["proved"] = proofs::as_json(&known, info.id);
    context.result(&value)?;
    let meta = &info.meta;
    let tags: Vec<String> = meta.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let lines = [
        ("id", info.id.to_string()),
        ("source", format!("{} ({} {})", meta.source, meta.engine, meta.object)),
        (
            "taken",
            format!(
                "{} in {}",
                format_time(meta.created_at),
                time(Duration::from_millis(info.duration_ms))
            ),
        ),
        ("held by", meta.way.clone()),
        ("LSN", mantis_page::Lsn::new(meta.lsn).to_string()),
        (
            "pages",
            format!(
                "{} of {} bytes, {} of them zeros",
                count(meta.page_count),
                meta.page_size,
                count(info.pages_zero)
            ),
        ),
        ("size", size(meta.byte_len)),
        (
            "stored",
            format!("{} in {} segments, {}", size(info.bytes_stored), segments, info.compression),
        ),
        ("fingerprint", info.fingerprint.to_string()),
        ("proved", proofs::as_text(&known, info.id)),
        ("tags", tags.join(" ")),
    ];
    for (name, text) in lines {
        context.say(format!("{name:>12}  {text}"))?;
    }
    Ok(Ending::Done)
}
