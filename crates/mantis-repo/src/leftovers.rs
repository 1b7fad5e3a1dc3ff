//! Segments of interrupted backups, taken over: what arrived is not sent again.
//!
//! A session whose process is dead is fenced first: from then on it can neither commit nor, should it not be dead
//! after all, remove what it wrote (see `Session::abandon`). Then its segments are as good as those of any backup:
//! nobody but a collector removes them, and a collector waits for this session.

use mantis_page::PageSize;
use mantis_sink::{ObjectInfo, Span};

use crate::envelope::{HEADER_LEN, Header, Kind};
use crate::parent::CALLS;
use crate::segment_builder::{FOOTER_LEN, FOOTER_MAGIC, footer_sum};
use crate::segment_index::{MAX_PAGE_COUNT, SegmentIndex};
use crate::session_records::{SessionOutcome, create_outcome, read_intent, read_outcome};
use crate::{ObjectHash, Place, Purpose, RepoError, Repository, SegmentRef, Session, SessionId};
use futures::future::join_all;
use futures::{Stream, StreamExt};

/// The largest segment index that is read, in bytes.
const MAX_INDEX_LEN: u64 = 64 << 20;

/// The most interrupted backups that are taken over from, the newest first: an index of each is in memory.
const MAX_SESSIONS: usize = 8;

/// Segments that interrupted backups left, for [`BackupWriter::resume`](crate::BackupWriter::resume).
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Those of each session.
    pub(crate) sessions: Vec<Vec<ObjectInfo>>,
}

impl Leftovers {
    /// How many segments there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

enum State {
    /// It ended as a backup that was fenced, or in another way.
    Ended { fenced: bool },
    /// A backup that its owner has not ended.
    UnderWay { owner: String },
}

/// How a session stands: asked of itself, as a list of all that ever ended grows with the repository, and each backup of thousands would ask for it.
async fn state(repo: &Repository, session: SessionId) -> Result<State, RepoError> {
    let intent = read_intent(repo, session).await?;
    if intent.what != Purpose::Backup {
        return Ok(State::Ended { fenced: false });
    }
    match read_outcome(repo, session).await {
        Ok(outcome) => Ok(State::Ended { fenced: matches!(outcome, SessionOutcome::Fenced) }),
        Err(RepoError::Sink { source }) if source.is_not_found() => {
            Ok(State::UnderWay { owner: intent.owner })
        }
        Err(error) => Err(error),
    }
}

impl Session {
    /// Takes over what dead sessions left, and those that were fenced before, by a collector or by one that died
    /// itself after that; only such as began after `after`, the session of the backup that this one is built on. Where this open repository
    /// made that one, nothing is looked for: it removed itself what failed since.
    /// `is_dead` tells from a session's owner whether its process is gone for sure; one that it is wrong about loses
    /// its backup, and nothing else.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn leftovers(
        &mut self,
        after: Option<SessionId>,
        is_dead: impl Fn(&str) -> bool + Send,
    ) -> Result<Leftovers, RepoError> {
        let repo = self.repo.clone();
        let mut leftovers = Leftovers::default();
        if after.is_some_and(|after| repo.memory().made_here(after)) {
            return Ok(leftovers);
        }
        let mut begun = repo.sessions_in(Place::SESSIONS).await?;
        if let Some(newest) = begun.last() {
            repo.memory().saw(newest.sequence, false);
        }
        let is_ours = |session| repo.memory().owner(session).is_some_and(|owner| !is_dead(&owner));
        begun.retain(|session| {
            Some(*session) > after && *session != self.id() && !is_ours(*session)
        });
        begun.reverse();
        for some in begun.chunks(CALLS) {
            let states = join_all(some.iter().map(|session| state(&repo, *session))).await;
            for (session, state) in some.iter().zip(states) {
                if leftovers.sessions.len() < MAX_SESSIONS
                    && self.is_given_up(*session, state, &is_dead).await?
                {
                    leftovers.sessions.push(repo.segments_of(*session).await?);
                }
            }
            if leftovers.sessions.len() == MAX_SESSIONS {
                break;
            }
        }
        leftovers.sessions.retain(|segments| !segments.is_empty());
        Ok(leftovers)
    }

    /// Whether a session is fenced; where its process is dead, it is from here on.
    async fn is_given_up(
        &mut self,
        session: SessionId,
        state: Result<State, RepoError>,
        is_dead: &(impl Fn(&str) -> bool + Send),
    ) -> Result<bool, RepoError> {
        match state {
            Ok(State::Ended { fenced }) => Ok(fenced),
            Ok(State::UnderWay { owner }) if is_dead(&owner) => {
                let salt = self.salt();
                create_outcome(&self.repo, session, &SessionOutcome::Fenced, salt).await
            }
            Ok(State::UnderWay { .. }) => Ok(false),
            Err(error) if error.is_damage() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Repository {
    /// The segments of a session that has ended without a backup, those left out that are to go.
    async fn segments_of(&self, session: SessionId) -> Result<Vec<ObjectInfo>, RepoError> {
        let condemned = self.condemned().await?;
        let folder = format!("{}/{session}", Place::SEGMENTS);
        // Whoever wrote them was killed before it knew them to be durable, perhaps.
        self.sink().settle(&folder).await?;
        let mut listed = self.sink().list(&folder).await?;
        listed.retain(|object| !condemned.contains(&object.key));
        Ok(listed)
    }

    /// What manifests would say of left segments, and the size of their pages, in order; a few reads ahead.
    pub(crate) fn described<'a>(
        &'a self,
        segments: &'a [ObjectInfo],
    ) -> impl Stream<Item = Result<(SegmentRef, PageSize), RepoError>> + 'a {
        let reads = segments.iter().map(|object| self.describe_segment(object));
        futures::stream::iter(reads).buffered(CALLS)
    }

    /// What a manifest would say of a segment, read from the segment itself.
    async fn describe_segment(
        &self,
        object: &ObjectInfo,
    ) -> Result<(SegmentRef, PageSize), RepoError> {
        let name = object.key.as_str();
        let damaged = |what: &str| RepoError::damaged(name, what);
        let (session, hash) =
            Place::written_by(&object.key).ok_or_else(|| damaged("it has no valid name"))?;
        let footer_at = object
            .len
            .checked_sub(FOOTER_LEN as u64)
            .filter(|at| *at > HEADER_LEN as u64)
            .ok_or_else(|| damaged("it is too short for a segment"))?;
        let head = self.sink().get(&object.key, Span::Part(0..HEADER_LEN as u64)).await?;
        let footer = self.sink().get(&object.key, Span::Part(footer_at..object.len)).await?;
        let (fields, tail) = footer.split_at(24);
        if tail[..4] != footer_sum(&head, fields).to_le_bytes() || tail[4..] != FOOTER_MAGIC[..] {
            return Err(damaged("its footer is damaged"));
        }
        let long = fields.get(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let index_at = long.ok_or_else(|| damaged("its footer is damaged"))?;
        let index_len = footer_at.checked_sub(index_at).filter(|len| *len <= MAX_INDEX_LEN);
        let index_len = index_len.ok_or_else(|| damaged("its footer is damaged"))?;
        let frame = self.sink().get(&object.key, Span::Part(index_at..footer_at)).await?;
        let header = Header::read(name, &head, Kind::Segment, Some(self.id()))?;
        let (salt, key) = (ObjectHash(header.salt()), header.generation());
        let envelope = self.vault().envelope_of(name, header)?;
        let fail = |source| RepoError::Frame { object: name.to_owned(), frame: usize::MAX, source };
        let (chunk, _) = envelope.decode(&frame, (0, true)).map_err(fail)?;
        let index = SegmentIndex::read(name, &chunk, MAX_PAGE_COUNT)?;
        let (first, last) = index.bounds().ok_or_else(|| damaged("it holds no pages"))?;
        let reference = SegmentRef {
            session,
            hash,
            len: object.len,
            index_at,
            index_len: u32::try_from(index_len).map_err(|_| damaged("its index is too long"))?,
            index_hash: ObjectHash::of([&frame[..]]),
            salt,
            key,
            first,
            last,
            pages: index.pages(),
        };
        Ok((reference, index.page_size))
    }
}
