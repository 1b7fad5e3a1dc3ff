//! `mantis import`

use std::fs::File;
use std::io::{Seek, SeekFrom};

use mantis_repo::WriteOptions;

use crate::Error;
use crate::cli::args::ImportArgs;
use crate::cli::context::Context;
use crate::cli::credentials::read_password;
use crate::cli::exit_code::Ending;
use crate::cli::output::{backup_json, size};
use crate::jobs::{ImportJob, import};

/// The file; standard input is copied to a temporary one first, as an archive is read more than once.
fn open(args: &ImportArgs) -> Result<(String, File), Error> {
    if args.file.as_os_str() != "-" {
        let name = args.file.display().to_string();
        let file = File::open(&args.file).map_err(|error| Error::Other {
            doing: format!("open {name}"),
            source: error.into(),
            help: Some("check the path and the right to read it".into()),
        })?;
        return Ok((name, file));
    }
    let spool = match &args.temp_folder {
        Some(folder) => tempfile::tempfile_in(folder),
        None => tempfile::tempfile(),
    };
    let failed = |error| Error::io("copy standard input to a temporary file", error);
    let mut spool = spool.map_err(failed)?;
    std::io::copy(&mut std::io::stdin().lock(), &mut spool).map_err(failed)?;
    spool.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(("standard input".into(), spool))
}

pub(crate) async fn run(context: &Context, args: ImportArgs) -> Result<Ending, Error> {
    let repo = context.open().await?;
    let credentials = match &args.from_password_file {
        Some(file) => vec![read_password(file)?.into()],
        None => context.credentials().given()?,
    };
    let (name, file) = tokio::task::block_in_place(|| open(&args))?;
    let write = WriteOptions {
        compression: args.compression,
        cancel: context.cancel.clone(),
        ..WriteOptions::default()
    };
    let temp_folder = args.temp_folder;
    let info = import(ImportJob { repo, name, file, credentials, temp_folder, write }).await?;
    context.result(&backup_json(&info))?;
    context.say(format!(
        "imported {} of {}: {} stored",
        info.id.short(),
        info.meta.source,
        size(info.bytes_stored)
    ))?;
    Ok(Ending::Done)
}
