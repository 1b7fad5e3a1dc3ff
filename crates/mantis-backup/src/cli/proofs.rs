//! What this machine knows of backups that were proved: by `verify`, by drills, by a daemon.

use std::collections::BTreeMap;

use mantis_repo::{BackupId, Repository};
use serde_json::{Value, json};

use super::context::Context;
use crate::config::{find, load};
use crate::daemon::{Proof, Proofs, StateDir};

/// By backup.
pub(crate) type Known = BTreeMap<String, Proof>;

/// Where it is noted: where the configuration's daemon does, if there is a configuration.
fn noted(context: &Context) -> Option<(StateDir, Proofs)> {
    let config = find(context.config()).ok().and_then(|path| load(&path).ok());
    let dir = StateDir::of(config.as_ref()).ok()?;
    let proofs = dir.proofs();
    Some((dir, proofs))
}

/// What is known of a repository's backups. Where that cannot be read, nothing.
pub(crate) fn known(context: &Context, repo: &Repository) -> Known {
    let known = noted(context).map(|(_, proofs)| proofs.of(repo));
    known.and_then(Result::ok).unwrap_or_default()
}

/// Notes what was found of backups. That it cannot be noted changes nothing of what was found.
pub(crate) fn note(
    context: &Context,
    repo: &Repository,
    found: impl IntoIterator<Item = (BackupId, Proof)>,
    there: &[BackupId],
) {
    let Some((dir, proofs)) = noted(context) else { return };
    if let Err(error) = dir.make().and_then(|()| proofs.add(repo, found, there)) {
        tracing::info!(error = %error.chain(), "what was proved is not noted");
    }
}

/// What is known of a backup, as JSON.
pub(crate) fn as_json(known: &Known, id: BackupId) -> Value {
    known.get(&id.to_string()).map_or(Value::Null, |proof| json!(proof))
}

/// What is known of a backup, for people.
pub(crate) fn as_text(known: &Known, id: BackupId) -> String {
    match known.get(&id.to_string()) {
        None => "-".into(),
        Some(Proof { ok: false, .. }) => "DAMAGED".into(),
        Some(proof) => format!("{} {}", proof.by.name(), proof.at.get(..10).unwrap_or_default()),
    }
}
