//! `mantis man`

use std::path::Path;

use clap::CommandFactory;

use crate::Error;
use crate::cli::args::Cli;
use crate::cli::exit_code::Ending;
use crate::cli::output::write_out;

pub(crate) fn run(folder: Option<&Path>) -> Result<Ending, Error> {
    let command = Cli::command();
    match folder {
        Some(folder) => {
            let written = std::fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(command, folder));
            written.map_err(|error| {
                Error::io(format!("write manual pages to {}", folder.display()), error)
            })?;
        }
        None => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(command).render(&mut page);
            rendered.map_err(|error| Error::io("make the manual page", error))?;
            write_out(&page)?;
        }
    }
    Ok(Ending::Done)
}
