//! `mantis key`

use std::path::PathBuf;

use mantis_repo::{KeyInfo, KeyKind, KeyLock, NewKey, Password};
use serde_json::{Value, json};

use crate::cli::args::KeyCommand;
use crate::cli::context::Context;
use crate::cli::credentials::{CredentialSource, read_password};
use crate::cli::exit_code::Ending;
use crate::cli::output::table;
use crate::{Error, clock, format_time};

fn key_json(key: &KeyInfo) -> Value {
    let (kind, recipient) = match &key.kind {
        KeyKind::Password => ("password", None),
        KeyKind::Age { recipient } => ("age", Some(recipient)),
        KeyKind::Unknown => ("unknown", None),
    };
    json!({
        "id": key.id.to_string(),
        "kind": kind,
        "recipient": recipient,
        "created_at": format_time(key.created_at),
        "label": key.label,
        "current": key.current,
    })
}

fn new_password(file: Option<PathBuf>) -> Result<Password, Error> {
    match file {
        Some(file) => read_password(&file),
        None if CredentialSource::can_ask() => CredentialSource::ask("New password: "),
        None => Err(Error::usage(
            "no new password was given",
            "name a file with --new-password-file or a --recipient, or run this at a terminal",
        )),
    }
}

pub(crate) async fn run(context: &Context, what: KeyCommand) -> Result<Ending, Error> {
    let repo = context.open().await?;
    match what {
        KeyCommand::List => {
            let keys = repo.keys().await?;
            context.result(&Value::Array(keys.iter().map(key_json).collect()))?;
            let mut rows =
                vec![["ID", "ADDED", "OPENED BY", "LABEL", ""].map(str::to_owned).to_vec()];
            rows.extend(keys.iter().map(|key| {
                let mark = if key.current { "opened with it" } else { "" };
                let by = match &key.kind {
                    KeyKind::Password => "a password",
                    KeyKind::Age { recipient } => recipient,
                    KeyKind::Unknown => "something newer than this version",
                };
                let id = key.id.to_string()[..8].to_owned();
                vec![id, format_time(key.created_at), by.into(), key.label.clone(), mark.into()]
            }));
            context.say(table(&rows).trim_end())?;
        }
        KeyCommand::Add { new_password_file, recipient, label } => {
            let lock = match recipient {
                Some(recipient) => KeyLock::Recipient(recipient),
                None => KeyLock::Password(new_password(new_password_file)?),
            };
            let key = NewKey { lock, label };
            let key = repo.add_key(key, clock::entropy()?, clock::now()).await?;
            context.result(&key_json(&key))?;
            context.say(format!("added key {}", key.id))?;
        }
        KeyCommand::Remove { id } => {
            let key = repo.remove_key(&id).await?;
            context.result(&key_json(&key))?;
            context.say(format!("removed key {}", key.id))?;
        }
        KeyCommand::Rotate => {
            let (_, generation) = repo.rotate(clock::entropy()?).await?;
            context.result(&json!({ "generation": generation }))?;
            context.say(format!(
                "what is written from now on is sealed with master key {generation}; what is there stays \
                 as it is, and every key opens both"
            ))?;
        }
    }
    Ok(Ending::Done)
}
