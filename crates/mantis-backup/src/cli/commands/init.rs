//! `mantis init`

use mantis_repo::{KeyLock, NewKey};
use mantis_sink::open_url;
use serde_json::json;

use crate::cli::args::InitArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::known_keys;
use crate::{Error, init_repository, probe_store};

/// Tries a store over a network out before anything is kept there: what it lacks is told now, not on the day of the
/// restore.
async fn check_store(context: &Context) -> Result<(), Error> {
    let url = context.url()?;
    if !open_url(url)?.capabilities().remote {
        return Ok(());
    }
    let report = probe_store(url, false).await?;
    for (name, fault) in report.faults() {
        if !fault.bearable {
            return Err(Error::Other {
                doing: format!("use the store: {name}"),
                source: fault.what.clone().into(),
                help: Some(fault.cure.into()),
            });
        }
        context.say(format!("warning: {}; {}", fault.what, fault.cure))?;
    }
    Ok(())
}

pub(crate) async fn run(context: &Context, args: InitArgs) -> Result<Ending, Error> {
    let password = context.credentials().password()?.map(KeyLock::Password);
    let for_recipients = !args.recipients.is_empty();
    let locks = password.into_iter().chain(args.recipients.into_iter().map(KeyLock::Recipient));
    let keys: Vec<NewKey> = locks.map(|lock| NewKey { lock, label: args.label.clone() }).collect();
    let encrypted = !keys.is_empty();
    check_store(context).await?;
    let repo = init_repository(context.url()?, keys).await?;
    if for_recipients {
        known_keys::remember(&repo)?;
    }
    context.result(
        &json!({ "id": repo.id().to_string(), "url": repo.location(), "encrypted": encrypted }),
    )?;
    let how = if encrypted {
        "encrypted; without its password or identity nobody can read it again, so keep that in a safe place too"
    } else {
        "not encrypted"
    };
    context.say(format!("made repository {} at {}: {how}", repo.id(), repo.location()))?;
    Ok(Ending::Done)
}
