//! What is stored of a session itself: its intent and its outcome.

use bytes::Bytes;
use mantis_sink::Span;
use mantis_stream::Compression;
use serde::{Deserialize, Serialize};

use crate::envelope::{self, Kind};
use crate::{ObjectHash, Place, Purpose, RepoError, Repository, SessionId, UnixMillis};

/// The largest session object or outcome that is read, in bytes.
const MAX_SMALL_LEN: u64 = 16 << 10;

/// What `sess/<s>` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// Who: for people who wonder.
    pub(crate) owner: String,
    /// When it began, by its own clock. It decides when a collector gives it up, never whether that is safe.
    pub(crate) began_at: UnixMillis,
    pub(crate) what: Purpose,
}

/// What `out/<s>` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub(crate) enum SessionOutcome {
    /// The session's backup exists.
    Commit { manifest: ObjectHash },
    /// Someone else gave the session up; it has no backup and never will.
    Fenced,
    /// The session gave itself up.
    Done,
}

pub(crate) fn json<T: Serialize>(object: &str, value: &T) -> Result<Bytes, RepoError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| RepoError::damaged(object, error))
}

/// Creates the outcome of a session where there is none; whether this call did. Whoever creates it decides how the
/// session ended, for ever. After an error it may be there or not: only reading tells.
pub(crate) async fn create_outcome(
    repo: &Repository,
    session: SessionId,
    outcome: &SessionOutcome,
    salt: [u8; 32],
) -> Result<bool, RepoError> {
    let envelope = repo.vault().envelope(Kind::Outcome, salt)?;
    let sealed = envelope::seal(&envelope, &json("the outcome", outcome)?, Compression::None)?;
    let key = Place::Outcome(session).key();
    let key = key.map_err(|error| RepoError::damaged("an outcome", error))?;
    match repo.sink().put_new(&key, sealed).await {
        Ok(()) => Ok(true),
        Err(error) if error.is_already_exists() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// How a session ended.
pub(crate) async fn read_outcome(
    repo: &Repository,
    session: SessionId,
) -> Result<SessionOutcome, RepoError> {
    let place = Place::Outcome(session);
    let key = place.key().map_err(|error| RepoError::damaged("an outcome", error))?;
    repo.read_proved(&key, Span::Whole { limit: MAX_SMALL_LEN }, |bytes| {
        let json = envelope::open(key.as_str(), bytes, Kind::Outcome, repo.vault())?;
        serde_json::from_slice(&json).map_err(|error| RepoError::damaged(&key, error))
    })
    .await
}

/// What a session said of itself when it began.
pub(crate) async fn read_intent(
    repo: &Repository,
    session: SessionId,
) -> Result<Intent, RepoError> {
    let place = Place::Session(session);
    let key = place.key().map_err(|error| RepoError::damaged("a session", error))?;
    let bytes = repo.sink().get(&key, Span::Whole { limit: MAX_SMALL_LEN }).await?;
    let json = envelope::open(key.as_str(), &bytes, Kind::Session, repo.vault())?;
    serde_json::from_slice(&json).map_err(|error| RepoError::damaged(key, error))
}
