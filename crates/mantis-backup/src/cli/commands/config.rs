//! `mantis config`

use std::path::Path;

use mantis_retention::check;
use serde_json::{Value, json};

use crate::Error;
use crate::cli::args::ConfigCommand;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::write_out;
use crate::config::{Config, ConfigError, EXAMPLE, Fault, find, load, schema};

fn fault_json(fault: &Fault) -> Value {
    json!({ "line": fault.line, "column": fault.column, "message": fault.message })
}

/// What is no fault, but may not be meant.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, retention) in &config.retention {
        let of_policy = check(&retention.policy());
        warnings.extend(of_policy.iter().map(|warning| format!("retention.{name}: {warning}")));
    }
    for (name, schedule) in &config.schedules {
        let each_its_own = schedule.name.as_ref().is_some_and(|name| {
            name.get_ref().contains("{date}") || name.get_ref().contains("{time}")
        });
        if each_its_own {
            warnings.push(format!(
                "schedules.{name}: with {{date}} or {{time}} in its name, each backup is of a source of its own: none is \
                 incremental, and retention, which looks at each source by itself, keeps them all; use tags"
            ));
        }
    }
    if config.schedules.is_empty() {
        warnings.push("there is no [schedules.NAME]: the daemon has nothing to do".into());
    }
    warnings
}

fn check_file(context: &Context, path: &Path) -> Result<Ending, Error> {
    let (config, faults) = match load(path) {
        Ok(config) => (Some(config), Vec::new()),
        Err(ConfigError::Faults { faults, .. }) => (None, faults),
        Err(error) => return Err(error.into()),
    };
    let warnings = config.as_ref().map(warnings).unwrap_or_default();
    context.result(&json!({
        "path": path.display().to_string(),
        "ok": config.is_some(),
        "faults": faults.iter().map(fault_json).collect::<Vec<Value>>(),
        "warnings": warnings,
    }))?;
    crate::cli::decisions::warn(&warnings);
    match config {
        Some(config) => {
            context.say(format!(
                "{}: right; {} repositories, {} sources, {} schedules, {} notifications",
                path.display(),
                config.repositories.len(),
                config.sources.len(),
                config.schedules.len(),
                config.notifications.len(),
            ))?;
            Ok(Ending::Done)
        }
        None => {
            crate::cli::report(&ConfigError::Faults { path: path.to_owned(), faults }.into());
            Ok(Ending::Failed)
        }
    }
}

pub(crate) fn run(context: &Context, what: &ConfigCommand) -> Result<Ending, Error> {
    match what {
        ConfigCommand::Check => check_file(context, &find(context.config())?),
        ConfigCommand::Example => write_out(EXAMPLE.as_bytes()).map(|()| Ending::Done),
        ConfigCommand::Schema => {
            write_out(format!("{:#}\n", schema()).as_bytes()).map(|()| Ending::Done)
        }
    }
}
