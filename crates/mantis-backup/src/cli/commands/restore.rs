//! `mantis restore`

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mantis_page::Lsn;
use mantis_repo::{BackupInfo, Repository, RestoreOptions, Selector};
use serde_json::json;

use crate::cli::args::RestoreArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::{count, size, time, write_out};
use crate::cli::progress::Bar;
use crate::jobs::{RestoreJob, Restored, restore};
use crate::{Error, format_time};

/// The target that means standard output.
const OUT: &str = "-";
/// Bytes written to standard output at once.
const PIECE_LEN: usize = 1 << 20;

async fn run_job(
    context: &Context,
    args: &RestoreArgs,
    repo: Repository,
    backup: BackupInfo,
    target: PathBuf,
) -> Result<Restored, Error> {
    let options = RestoreOptions {
        jobs: args.jobs,
        cancel: context.cancel.clone(),
        ..RestoreOptions::default()
    };
    let bar = Bar::show(context, "restore", &options.progress);
    let (replace, delta, check) = (args.force || args.delta, args.delta, args.check);
    let restored =
        restore(RestoreJob { repo, backup, target, replace, delta, check, options }).await;
    drop(bar);
    restored
}

/// Restores to a temporary file, and then writes that to standard output: nothing comes out before all of it
/// was proved.
async fn to_standard_output(
    context: &Context,
    args: &RestoreArgs,
    repo: Repository,
    backup: BackupInfo,
) -> Result<Ending, Error> {
    if args.delta || args.force || context.json {
        return Err(Error::usage(
            "--delta, --force and --json make no sense with standard output",
            "restore to a file, or leave them out",
        ));
    }
    let folder = match &args.temp_folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(|error| Error::io("make a temporary folder", error))?;
    let restored = run_job(context, args, repo, backup, folder.path().join("restored")).await?;
    copy_out(&restored.path)?;
    Ok(Ending::Done)
}

fn copy_out(path: &Path) -> Result<(), Error> {
    let failed = |error| Error::io("read the restored file", error);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut piece = vec![0; PIECE_LEN];
    loop {
        let count = file.read(&mut piece).map_err(failed)?;
        if count == 0 {
            return std::io::stdout()
                .flush()
                .map_err(|error| Error::io("write the restored file", error));
        }
        write_out(&piece[..count])?;
    }
}

pub(crate) async fn run(context: &Context, args: RestoreArgs) -> Result<Ending, Error> {
    let repo = context.open().await?;
    let catalogue = repo.catalogue().await?;
    let selector = Selector {
        id: Some(args.id.clone()),
        source: args.source.clone(),
        at: args.at,
        before_commit: args.before_commit.map(Lsn::get),
        ..Selector::default()
    };
    let backup = catalogue.find(&selector)?.clone();
    if args.to.as_os_str() == OUT {
        return to_standard_output(context, &args, repo, backup).await;
    }
    let restored = run_job(context, &args, repo, backup.clone(), args.to.clone()).await?;
    context.result(&json!({
        "id": backup.id.to_string(),
        "source": backup.meta.source,
        "path": restored.path,
        "pages": restored.pages,
        "pages_reused": restored.pages_reused,
        "bytes": restored.bytes,
        "bytes_fetched": restored.bytes_fetched,
        "duration_ms": restored.duration_ms,
        "checked": restored.checked,
    }))?;
    let reused = match restored.pages_reused {
        0 => String::new(),
        pages => format!(", {} of them there already", count(pages)),
    };
    context.say(format!(
        "restored {} of {}, taken {}, to {}: {} pages ({}){reused}{} in {}",
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
