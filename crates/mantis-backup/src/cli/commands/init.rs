//! `mantis init`

use mantis_repo::{KeyLock, NewKey};
use serde_json::json;

use crate::cli::args::InitArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::known_keys;
use crate::{Error, init_repository};

pub(crate) async fn run(context: &Context, args: InitArgs) -> Result<Ending, Error> {
    let password = context.credentials().password()?.map(KeyLock::Password);
    let for_recipients = !args.recipients.is_empty();
    let locks = password.into_iter().chain(args.recipients.into_iter().map(KeyLock::Recipient));
    let keys: Vec<NewKey> = locks.map(|lock| NewKey { lock, label: args.label.clone() }).collect();
    let encrypted = !keys.is_empty();
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
