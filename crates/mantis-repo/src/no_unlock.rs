//! A build without encryption: it makes and opens no encrypted repository.

use mantis_sink::Sink;

use crate::vault::Vault;
use crate::{Credential, NewKey, RepoError, RepoId, UnixMillis};

/// Nothing: this build opens no encrypted repository.
#[derive(Debug)]
pub(crate) enum Unlocked {}

pub(crate) async fn create(
    _: &dyn Sink,
    _: RepoId,
    _: [u8; 32],
    _: [u8; 32],
    _: (Vec<NewKey>, UnixMillis),
) -> Result<(Vault, Unlocked), RepoError> {
    Err(RepoError::NoEncryption)
}

pub(crate) async fn open(
    _: &dyn Sink,
    _: RepoId,
    _: &Credential,
) -> Result<(Vault, Unlocked), RepoError> {
    Err(RepoError::NoEncryption)
}
