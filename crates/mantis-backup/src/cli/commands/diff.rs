//! `mantis diff`

use mantis_repo::Selector;
use serde_json::{Value, json};

use crate::Error;
use crate::cli::args::DiffArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::{count, size};

/// Ranges of pages in the result, at most.
const MAX_RANGES: usize = 10_000;

pub(crate) async fn run(context: &Context, args: DiffArgs) -> Result<Ending, Error> {
    let repo = context.open().await?;
    let catalogue = repo.catalogue().await?;
    let find = |id: &str| {
        catalogue.find(&Selector { id: Some(id.to_owned()), ..Selector::default() }).cloned()
    };
    let (a, b) = (find(&args.a)?, find(&args.b)?);
    let difference = repo.diff(&a, &b).await?;
    let ranges: Vec<Value> = difference
        .changed
        .ranges()
        .take(MAX_RANGES)
        .map(|range| json!({ "first": range.first().get(), "last": range.last().get() }))
        .collect();
    let total = difference.changed.len() + difference.added + difference.removed;
    context.result(&json!({
        "a": a.id.to_string(),
        "b": b.id.to_string(),
        "page_size": b.meta.page_size,
        "pages_changed": difference.changed.len(),
        "pages_added": difference.added,
        "pages_removed": difference.removed,
        "bytes_changed": difference.changed.len() * u64::from(b.meta.page_size),
        "identical": a.fingerprint == b.fingerprint,
        "ranges_truncated": difference.changed.ranges().nth(MAX_RANGES).is_some(),
        "ranges": ranges,
    }))?;
    context.say(format!(
        "{} to {}: {} pages changed, {} added, {} removed ({})",
        a.id.short(),
        b.id.short(),
        count(difference.changed.len()),
        count(difference.added),
        count(difference.removed),
        size(total * u64::from(b.meta.page_size)),
    ))?;
    Ok(Ending::Done)
}
