//! `mantis config`

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use mantis_retention::check;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::Error;
use crate::access::{PasswordHash, new_token};
use crate::cli::args::ConfigCommand;
use crate::cli::context::Context;
use crate::cli::credentials::CredentialSource;
use crate::cli::exit_code::Ending;
use crate::cli::output::{counted, write_out};
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
    let is_reached = |address: std::net::SocketAddr| !address.ip().is_loopback();
    if config.listen.parse().is_ok_and(is_reached) && config.dashboard.sends_passwords_openly() {
        warnings.push(format!(
            "listen: at {} passwords come in the clear: set `tls` of [dashboard], or `behind_https` where a proxy speaks HTTPS",
            config.listen
        ));
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
                "{}: right; {}, {}, {}, {}",
                path.display(),
                counted(config.repositories.len() as u64, "repository", "repositories"),
                counted(config.sources.len() as u64, "source", "sources"),
                counted(config.schedules.len() as u64, "schedule", "schedules"),
                counted(config.notifications.len() as u64, "notification", "notifications"),
            ))?;
            Ok(Ending::Done)
        }
        None => {
            crate::cli::report(&ConfigError::Faults { path: path.to_owned(), faults }.into());
            Ok(Ending::Failed)
        }
    }
}

/// The first line of standard input, or what is typed at the terminal, twice.
fn read_password() -> Result<Zeroizing<Vec<u8>>, Error> {
    if CredentialSource::can_ask() {
        let prompt = |text: &str| {
            let typed = rpassword::prompt_password(text).map(String::into_bytes);
            typed.map(Zeroizing::new).map_err(|error| Error::io("ask for the password", error))
        };
        let first = prompt("Password: ")?;
        if prompt("Again: ")? != first {
            return Err(Error::usage("the two are not the same", "try again"));
        }
        return Ok(first);
    }
    let mut line = Zeroizing::new(Vec::new());
    let input = std::io::stdin().lock().take(1 << 16);
    BufReader::new(input)
        .read_until(b'\n', &mut line)
        .map_err(|error| Error::io("read the password", error))?;
    while line.ends_with(b"\n") || line.ends_with(b"\r") {
        line.pop();
    }
    Ok(line)
}

fn hash_password(context: &Context) -> Result<Ending, Error> {
    let hash = PasswordHash::of(&read_password()?)?;
    context.result(&json!({ "password_hash": hash.as_str() }))?;
    context.say(format!("password_hash = \"{}\"", hash.as_str()))?;
    Ok(Ending::Done)
}

fn make_token(context: &Context) -> Result<Ending, Error> {
    let (token, hash) = new_token()?;
    context.result(&json!({ "token": *token, "token_hash": hash.as_str() }))?;
    context.say(format!(
        "for the program: {}\nfor the file:    token_hash = \"{}\"",
        *token,
        hash.as_str()
    ))?;
    Ok(Ending::Done)
}

pub(crate) fn run(context: &Context, what: &ConfigCommand) -> Result<Ending, Error> {
    match what {
        ConfigCommand::Check => check_file(context, &find(context.config())?),
        ConfigCommand::Example => write_out(EXAMPLE.as_bytes()).map(|()| Ending::Done),
        ConfigCommand::Password => hash_password(context),
        ConfigCommand::Token => make_token(context),
        ConfigCommand::Schema => {
            write_out(format!("{:#}\n", schema()).as_bytes()).map(|()| Ending::Done)
        }
    }
}
