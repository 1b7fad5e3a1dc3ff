//! `mantis serve`

use std::path::PathBuf;

use crate::Error;
use crate::cli::args::ServeArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::config::Config;
use crate::daemon;

pub(crate) async fn run(
    context: &Context,
    args: ServeArgs,
    (path, config): (PathBuf, Config),
) -> Result<Ending, Error> {
    daemon::serve(path, config, args.listen, context.cancel.clone()).await?;
    Ok(Ending::Done)
}
