//! `mantis init`

use mantis_repo::NewKey;
use serde_json::json;

use crate::cli::args::InitArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::{Error, init_repository};

pub(crate) async fn run(context: &Context, args: InitArgs) -> Result<Ending, Error> {
    let password = context.password().given()?;
    let key = password.map(|password| NewKey { password, label: args.label });
    let encrypted = key.is_some();
    let repo = init_repository(context.url()?, key).await?;
    context.result(
        &json!({ "id": repo.id().to_string(), "url": repo.location(), "encrypted": encrypted }),
    )?;
    let how = if encrypted {
        "encrypted; without the password nobody can read it again, so keep it in a safe place too"
    } else {
        "not encrypted"
    };
    context.say(format!("made repository {} at {}: {how}", repo.id(), repo.location()))?;
    Ok(Ending::Done)
}
