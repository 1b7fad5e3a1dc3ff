//! The `mantis` command: arguments in, one job run, a result for people or as JSON out.

mod args;
mod commands;
mod context;
mod credentials;
mod decisions;
mod destinations;
mod exit_code;
mod known_keys;
mod output;
mod progress;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::Error;
use args::{Cli, Command, Priority};
use context::Context;
pub(crate) use exit_code::Ending;

/// Runs the command that the process's arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(&cli);
    match run(cli) {
        Ok(ending) => ending.code(),
        Err(error) => {
            report(&error);
            Ending::of(&error).code()
        }
    }
}

fn start_log(cli: &Cli) {
    let level = match cli.verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    let colour = cli.colour().unwrap_or_else(|| std::io::stderr().is_terminal());
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level);
    log.with_target(false).with_ansi(colour).init();
}

/// One line saying what failed, the chain of causes, and what to do next.
fn report(error: &Error) {
    let mut text = format!("error: {error}\n");
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(&format!("  caused by: {next}\n"));
        cause = next.source();
    }
    if let Some(help) = error.help() {
        text.push_str(&format!("help: {help}\n"));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn run(cli: Cli) -> Result<Ending, Error> {
    // What needs no repository and no runtime.
    match &cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "mantis", &mut script);
            output::write_out(&script)?;
            return Ok(Ending::Done);
        }
        Command::Man { dir } => return commands::man::run(dir.as_deref()),
        Command::DemoWriter { database } => return crate::demo::writer::run(database),
        _ => {}
    }
    // Priorities belong to threads: those that work give way; the main thread, which starts the demo's
    // writer, does not.
    let priority = match &cli.command {
        Command::Backup(args) => args.priority,
        Command::Demo(_) => Priority::Low,
        _ => Priority::Normal,
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().on_thread_start(move || priority.apply()).build();
    let runtime = runtime.map_err(|error| Error::io("start the runtime", error))?;
    let context = Context::new(&cli);
    runtime.block_on(async {
        context.stop_on_signals();
        match cli.command {
            Command::Demo(args) => commands::demo::run(&context, args).await,
            Command::Init(args) => commands::init::run(&context, args).await,
            Command::Backup(args) => commands::backup::run(&context, args).await,
            Command::List(args) => commands::list::run(&context, args).await,
            Command::Show { id } => commands::show::run(&context, id).await,
            Command::Restore(args) => commands::restore::run(&context, args).await,
            Command::Verify(args) => commands::verify::run(&context, args).await,
            Command::Diff(args) => commands::diff::run(&context, args).await,
            Command::Repair(args) => commands::repair::run(&context, args).await,
            Command::Copy(args) => commands::copy::run(&context, args).await,
            Command::Export(args) => commands::export::run(&context, args).await,
            Command::Import(args) => commands::import::run(&context, args).await,
            Command::Forget(args) => commands::forget::run(&context, args).await,
            Command::Retention { what } => commands::retention::run(&context, &what),
            Command::Schedule { what } => commands::schedule::run(&context, what),
            Command::Config { what } => commands::config::run(&context, &what),
            Command::Prune(args) => commands::prune::run(&context, args).await,
            Command::Doctor(args) => commands::doctor::run(&context, args).await,
            Command::Key { what } => commands::key::run(&context, what).await,
            Command::Completions { .. } | Command::Man { .. } | Command::DemoWriter { .. } => {
                Ok(Ending::Done)
            }
        }
    })
}
