//! `mantis mount`

use serde_json::json;

use crate::Error;
use crate::cli::args::MountArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::counted;
use crate::mount::{MountJob, Mounted, mount};

pub(crate) async fn run(context: &Context, args: MountArgs) -> Result<Ending, Error> {
    let MountArgs { dir, source, exact, allow_other } = args;
    let job = MountJob {
        repo: context.open().await?,
        folder: dir.clone(),
        source,
        exact,
        others: allow_other,
        cancel: context.cancel.clone(),
    };
    let begun = |Mounted { backups, sources }| {
        context.result(&json!({ "dir": dir, "backups": backups, "sources": sources }))?;
        context.say(format!(
            "{} of {}: {}; Ctrl-C, or unmounting it, ends this",
            counted(backups as u64, "backup", "backups"),
            counted(sources as u64, "source", "sources"),
            dir.display()
        ))
    };
    mount(job, begun).await?;
    Ok(Ending::Done)
}
