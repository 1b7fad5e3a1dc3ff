//! The `mantis` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    mantis_backup::cli::main()
}
