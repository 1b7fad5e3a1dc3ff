//! Keys that change while a repository is used. Those of recipients of age: opening with one takes no time that anyone would notice.

use mantis_repo::{Credential, Identity, KeyLock, NewKey, RepoError, Repository, UnixMillis};
use mantis_sink::Chance;

/// What every client opens an encrypted repository with.
const IDENTITY: &str = "AGE-SECRET-KEY-1U3ES59HHG4ZZCWGWCZ3XKRLAYZ5UMCQHU42PSTHJGWALSAX39H2QEUZQ06";
/// Whose key comes and goes.
const OTHER: &str = "AGE-SECRET-KEY-1VMC4DGJTMRYD5095E0PWQSUFS0T47EQCNKQ6DERWCU4WJF0N3CFS7QH793";

fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

fn key_of(text: &str, label: &str) -> NewKey {
    NewKey { lock: KeyLock::Recipient(identity(text).recipient()), label: label.into() }
}

/// The key that a repository is made with.
pub(crate) fn first_key() -> NewKey {
    key_of(IDENTITY, "first")
}

/// What opens it.
pub(crate) fn credential() -> Credential {
    Credential::Identities(vec![identity(IDENTITY)])
}

/// A new master key, a key more, or one less; never the first.
pub(crate) async fn change(
    repo: &Repository,
    chance: &mut Chance,
    now: UnixMillis,
) -> Result<(), RepoError> {
    if !repo.is_encrypted() {
        return Ok(());
    }
    if chance.of_thousand(400) {
        return repo.rotate(chance.entropy()).await.map(drop);
    }
    let keys = repo.keys().await?;
    match keys.iter().find(|key| key.label == "other") {
        Some(other) => repo.remove_key(&other.id.to_string()).await.map(drop),
        None => repo.add_key(key_of(OTHER, "other"), chance.entropy(), now).await.map(drop),
    }
}
