//! The `mantis` command: arguments in, one job run, a result for people or as JSON out.

mod args;
mod commands;
mod context;
mod credentials;
mod decisions;
mod exit_code;
mod output;
mod places;
mod progress;
mod proofs;
mod remote;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use crate::Error;
use crate::config::{Config, Log, LogFormat, LogLevel, find, load};
use args::{Cli, Command, Priority};
use context::Context;
pub(crate) use exit_code::Ending;

/// Runs the command that the process's arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match configured(&cli).and_then(|configured| {
        start_log(&cli, configured.as_ref().map(|(_, config)| config.log));
        run(cli, configured)
    }) {
        Ok(ending) => ending.code(),
        Err(error) => {
            report(&error);
            Ending::of(&error).code()
        }
    }
}

/// How long threads may take to end when the daemon has.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// What the daemon is to do, which says how its log looks, too.
fn configured(cli: &Cli) -> Result<Option<(PathBuf, Config)>, Error> {
    if !matches!(cli.command, Command::Serve(_)) {
        return Ok(None);
    }
    let path = find(cli.config.as_deref())?;
    let config = load(&path)?;
    Ok(Some((path, config)))
}

fn start_log(cli: &Cli, configured: Option<Log>) {
    let level = match (cli.verbose, configured.map(|log| log.level)) {
        _ if cli.quiet => tracing::Level::ERROR,
        (0, None | Some(LogLevel::Warn)) => tracing::Level::WARN,
        (0, Some(LogLevel::Error)) => tracing::Level::ERROR,
        (1, _) | (0, Some(LogLevel::Info)) => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    let colour = cli.colour().unwrap_or_else(|| std::io::stderr().is_terminal());
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level);
    if configured.is_some_and(|log| log.format == LogFormat::Json) {
        log.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    } else {
        log.with_target(false).with_ansi(colour).init();
    }
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

fn run(cli: Cli, configured: Option<(PathBuf, Config)>) -> Result<Ending, Error> {
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
        Command::Watch(args) => args.priority,
        Command::Demo(_) => Priority::Low,
        _ => Priority::Normal,
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let gives_way = configured.as_ref().map(|(_, config)| config.clone());
    let begin = move || match &gives_way {
        Some(config) => crate::daemon::give_way(config),
        None => priority.apply(),
    };
    let runtime = builder.enable_all().on_thread_start(begin).build();
    let runtime = runtime.map_err(|error| Error::io("start the runtime", error))?;
    let context = Context::new(&cli);
    let serves = matches!(cli.command, Command::Serve(_));
    let ending = runtime.block_on(async {
        context.stop_on_signals();
        match cli.command {
            Command::Demo(args) => commands::demo::run(&context, args).await,
            Command::Init(args) => commands::init::run(&context, args).await,
            Command::Backup(args) => commands::backup::run(&context, args).await,
            Command::Watch(args) => commands::watch::run(&context, args).await,
            Command::List(args) => commands::list::run(&context, args).await,
            Command::Show { id } => commands::show::run(&context, id).await,
            Command::Restore(args) => commands::restore::run(&context, args).await,
            Command::Fleet { what } => commands::fleet::run(&context, what).await,
            Command::Query(args) => commands::query::run(&context, args).await,
            #[cfg(all(feature = "mount", target_os = "linux"))]
            Command::Mount(args) => commands::mount::run(&context, args).await,
            Command::Rescue(args) => commands::rescue::run(&context, args).await,
            Command::Verify(args) => commands::verify::run(&context, args).await,
            Command::Diff(args) => commands::diff::run(&context, args).await,
            Command::Repair(args) => commands::repair::run(&context, args).await,
            Command::Copy(args) => commands::copy::run(&context, args).await,
            Command::Export(args) => commands::export::run(&context, args).await,
            Command::Import(args) => commands::import::run(&context, args).await,
            Command::Forget(args) => commands::forget::run(&context, args).await,
            Command::Retention { what } => commands::retention::run(&context, &what),
            Command::Schedule { daemon, what } => {
                commands::schedule::run(&context, &daemon, what).await
            }
            Command::Serve(args) => match configured {
                Some(configured) => commands::serve::run(&context, args, configured).await,
                None => Ok(Ending::Failed),
            },
            Command::Config { what } => commands::config::run(&context, &what),
            Command::Prune(args) => commands::prune::run(&context, args).await,
            Command::Doctor(args) => commands::doctor::run(&context, args).await,
            Command::Key { what } => commands::key::run(&context, what).await,
            Command::Completions { .. } | Command::Man { .. } | Command::DemoWriter { .. } => {
                Ok(Ending::Done)
            }
        }
    });
    if serves {
        // A thread that a dead mount holds does not keep the daemon from ending.
        runtime.shutdown_timeout(LAST_MOMENTS);
    }
    ending
}
