//! `mantis export`

use mantis_repo::Selector;
use serde_json::json;

use crate::Error;
use crate::cli::args::ExportArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::size;
use crate::jobs::{export_to, export_to_file};

pub(crate) async fn run(context: &Context, args: ExportArgs) -> Result<Ending, Error> {
    let to_out = args.to.as_os_str() == "-";
    if to_out && context.json {
        return Err(Error::usage(
            "--json makes no sense with standard output",
            "export to a file, or leave it out",
        ));
    }
    let repo = context.open().await?;
    let catalogue = repo.catalogue().await?;
    let selector = Selector { id: Some(args.id), source: args.source, ..Selector::default() };
    let backup = catalogue.find(&selector)?;
    if to_out {
        export_to(&repo, backup, Box::new(std::io::stdout())).await?;
        return Ok(Ending::Done);
    }
    let bytes = export_to_file(&repo, backup, &args.to).await?;
    context.result(&json!({ "id": backup.id.to_string(), "path": args.to, "bytes": bytes }))?;
    context.say(format!(
        "exported {} of {} to {}: {}",
        backup.id.short(),
        backup.meta.source,
        args.to.display(),
        size(bytes)
    ))?;
    Ok(Ending::Done)
}
