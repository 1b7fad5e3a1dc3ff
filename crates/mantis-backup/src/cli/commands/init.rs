//! `mantis init`

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::{Error, init_repository};

/// A password that is given and not used would be a promise broken.
fn refuse_password() -> Result<(), Error> {
    let given = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match ["MANTIS_PASSWORD", "MANTIS_PASSWORD_FILE", "MANTIS_PASSWORD_COMMAND"]
        .into_iter()
        .find(|name| given(name))
    {
        None => Ok(()),
        Some(name) => Err(Error::usage(
            format!("{name} is set, but this version makes repositories without encryption only"),
            format!("unset {name} to make one that is not encrypted"),
        )),
    }
}

pub(crate) async fn run(context: &Context) -> Result<Ending, Error> {
    refuse_password()?;
    let repo = init_repository(context.url()?).await?;
    context.result(
        &json!({ "id": repo.id().to_string(), "url": repo.location(), "encrypted": false }),
    )?;
    context.say(format!("made repository {} at {}: not encrypted", repo.id(), repo.location()))?;
    Ok(Ending::Done)
}
