//! `mantis verify`

use mantis_repo::{BackupId, VerifyOptions};
use serde_json::json;

use crate::Error;
use crate::cli::args::VerifyArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::size;
use crate::cli::progress::Bar;

pub(crate) async fn run(context: &Context, args: VerifyArgs) -> Result<Ending, Error> {
    let repo = context.open().await?;
    let options = VerifyOptions {
        jobs: args.jobs,
        cancel: context.cancel.clone(),
        ..VerifyOptions::default()
    };
    let bar = Bar::show(context, "verify", &options.progress);
    let report = repo.verify(&args.ids, &options).await?;
    drop(bar);
    let ids = |ids: &[BackupId]| ids.iter().map(ToString::to_string).collect::<Vec<String>>();
    let entry = |damage: &mantis_repo::Damage| json!({ "object": damage.object, "problem": damage.what, "backups": ids(&damage.backups) });
    let damaged: Vec<serde_json::Value> = report.damaged.iter().map(entry).collect();
    context.result(&json!({
        "checked": report.checked.len(),
        "backups": ids(&report.checked),
        "segments": report.segments,
        "bytes": report.bytes,
        "damaged": damaged,
    }))?;
    for damage in &report.damaged {
        let touched: Vec<String> = damage.backups.iter().map(BackupId::short).collect();
        eprintln!("damaged: {}: {} (backups: {})", damage.object, damage.what, touched.join(" "));
    }
    let proved = format!(
        "{} backups, {} segments, {} read",
        report.checked.len(),
        report.segments,
        size(report.bytes)
    );
    if report.damaged.is_empty() {
        context.say(format!("verified {proved}: all whole"))?;
        return Ok(Ending::Done);
    }
    context.say(format!("verified {proved}: {} damaged objects", report.damaged.len()))?;
    eprintln!("help: back the touched sources up again now; other backups restore as ever");
    Ok(Ending::Failed)
}
