//! Segments that small backups share, which are made at the same time by one process.
//!
//! A backup of few pages costs the store as many requests as one of many, and leaves as many objects. Where thousands of small databases are
//! backed up, those that end while one of them sends its segment send theirs together, as commits of a database share a sync of its log: whoever is
//! first once that one is done takes in what waits, numbers its pages anew, one backup's behind the other's, and sends a segment of its own session
//! that holds all of them. Each of the backups borrows its pages from it. To a store over a network, where each object costs money and time, it waits for a moment while other
//! sessions are under way, as they may have something to store too. One that is alone sends its own.
//!
//! The segment is of a session that may fail yet, or be given up. So from then on that session removes no segment ([`Session::abandon`]); what nobody
//! needs is left to collectors. These see the others, each of which was announced before the segment was there
//! (`docs/protocol.md`). A crash before the segment is acknowledged leaves nothing that a manifest names; one after it, a segment that a collector frees.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mantis_page::{PageNo, PageRange, PageSize};
use mantis_stream::{CancellationToken, Compression};
use tokio::sync::oneshot;

use crate::digest::Digest;
use crate::encoder::{Encoder, FRAME_LEN};
use crate::envelope::Kind;
use crate::layer_pages::blocking;
use crate::segment_builder::SegmentBuilder;
use crate::session::INLINE_BORROWS;
use crate::{Borrow, Layer, Place, RepoError, SegmentRef, Session};

/// Bytes of pages in one segment that is shared, before compression: who needs a page of it may have to read all.
const MOST_LEN: usize = 2 << 20;

/// How long others are waited for that are under way: about as long as a put takes.
const GATHERS: Duration = Duration::from_millis(50);

/// Where the pages of one backup are in a segment that is shared.
#[derive(Debug, Clone)]
pub(crate) struct SharedPlace {
    segment: SegmentRef,
    /// The number in the segment of its first page; the others follow without a gap.
    from: u64,
    /// Bytes of the segment that are there for this backup.
    pub(crate) bytes: u64,
}

/// A backup's pages that wait.
#[derive(Debug)]
struct Waiting {
    number: u64,
    page_size: PageSize,
    compression: Compression,
    digest: Digest,
    place: oneshot::Sender<SharedPlace>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Of the one that comes next.
    number: u64,
}

impl Queue {
    /// Takes one out; none where it does not wait any more.
    fn remove(&mut self, number: u64) -> Option<Waiting> {
        let at = self.waiting.iter().position(|waiting| waiting.number == number)?;
        Some(self.waiting.remove(at))
    }
}

/// What waits, and who sends.
#[derive(Debug, Default)]
pub(crate) struct SharedSegments {
    queue: Mutex<Queue>,
    /// Held by the one that sends.
    sending: Arc<tokio::sync::Mutex<()>>,
}

/// What became of pages that were to be shared.
#[derive(Debug)]
pub(crate) enum Sharing {
    /// They are in a segment.
    Stored(SharedPlace),
    /// They are to be sent by who has them. While that is held, those that come wait, to be sent together.
    Alone(Option<tokio::sync::OwnedMutexGuard<()>>),
}

impl SharedPlace {
    /// The layer of a backup that stores these pages.
    pub(crate) fn layer(&self, pages: &[PageRange]) -> Layer {
        let mut from = self.from;
        let borrows = pages.iter().map(|range| {
            let run = Borrow { first: range.first().get(), pages: range.len(), segment: 0, from };
            from += range.len();
            run
        });
        let borrows = borrows.collect();
        Layer { list: None, segments: vec![self.segment.clone()], borrows, shared: true }
    }
}

/// Whether pages are few enough, and such as can be borrowed: a page of zeros is in no frame, and many runs make a manifest long.
fn may_share(digest: &Digest) -> bool {
    (1..=FRAME_LEN).contains(&digest.bytes.len())
        && digest.zero.is_empty()
        && digest.data.len() <= INLINE_BORROWS
}

impl SharedSegments {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that wait and go together with the one of that number, which is the first of them; none where it does not wait any more.
    fn take(&self, number: u64) -> Vec<Waiting> {
        let mut queue = self.queue();
        queue.waiting.retain(|waiting| !waiting.place.is_closed());
        let Some(own) = queue.remove(number) else { return Vec::new() };
        let (page_size, compression) = (own.page_size, own.compression);
        let mut len = own.digest.bytes.len();
        let mut taken = vec![own];
        let fits = |waiting: &mut Waiting| {
            let is_alike = waiting.page_size == page_size && waiting.compression == compression;
            let with_it = len + waiting.digest.bytes.len();
            let is_taken = is_alike && with_it <= MOST_LEN;
            if is_taken {
                len = with_it;
            }
            is_taken
        };
        taken.extend(queue.waiting.extract_if(.., fits));
        taken
    }

    /// Has the last pages of a backup, which are all of it, sent together with those of others, or alone. `session` was announced before.
    ///
    /// # Errors
    /// What keeps them from being stored; [`RepoError::Cancelled`].
    pub(crate) async fn store(
        &self,
        session: &mut Session,
        (page_size, encoder): (PageSize, &Encoder),
        digest: &Digest,
        cancel: &CancellationToken,
    ) -> Result<Sharing, RepoError> {
        if !may_share(digest) {
            return Ok(Sharing::Alone(None));
        }
        let (place, mut answer) = oneshot::channel();
        let number = {
            let mut queue = self.queue();
            queue.number += 1;
            let (number, digest) = (queue.number, digest.clone());
            let compression = encoder.compression;
            queue.waiting.push(Waiting { number, page_size, compression, digest, place });
            number
        };
        let repo = session.repo.clone();
        let turn = async {
            let turn = Arc::clone(&self.sending).lock_owned().await;
            if repo.is_remote() && repo.memory().under_way() > self.queue().waiting.len() {
                tokio::time::sleep(GATHERS).await;
            }
            turn
        };
        let turn = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                drop(self.queue().remove(number));
                return Err(RepoError::Cancelled);
            }
            // Who took it in may be done before there is a turn.
            stored = &mut answer => {
                return Ok(stored.map_or(Sharing::Alone(None), Sharing::Stored));
            }
            turn = turn => turn,
        };
        let taken = self.take(number);
        if taken.is_empty() {
            // Where it failed, the others' pages are not to be lost for it.
            return Ok(answer.try_recv().map_or(Sharing::Alone(None), Sharing::Stored));
        }
        if taken.len() == 1 {
            return Ok(Sharing::Alone(Some(turn)));
        }
        let own = send(session, page_size, encoder, taken).await?;
        drop(turn);
        Ok(Sharing::Stored(own))
    }
}

/// Sends a segment of the pages of several backups, and tells each where they are; where those of the first one are.
async fn send(
    session: &mut Session,
    page_size: PageSize,
    encoder: &Encoder,
    taken: Vec<Waiting>,
) -> Result<SharedPlace, RepoError> {
    let envelope = Arc::new(session.envelope(Kind::Segment)?);
    let digests: Vec<Digest> = taken.iter().map(|waiting| waiting.digest.clone()).collect();
    let (encoder, id) = (encoder.clone(), session.id());
    let encode = move || {
        let mut builder = SegmentBuilder::new(Arc::clone(&envelope), page_size);
        let (mut due, mut parts) = (PageNo::FIRST, Vec::new());
        for digest in digests {
            let wrong = || RepoError::WrongPages { what: "no place in a shared segment".into() };
            let pages = PageRange::new(due, digest.hashes.len() as u64).ok_or_else(wrong)?;
            let renumbered = Digest {
                data: vec![pages],
                hashes: digest.hashes,
                bytes: digest.bytes,
                ..Digest::default()
            };
            let chunk = encoder.encode(renumbered, &envelope)?;
            let bytes = chunk.frame.as_ref().map_or(0, |frame| frame.len() as u64);
            builder.push(chunk);
            parts.push((due.get(), bytes));
            due = pages.last().checked_add(1).ok_or_else(wrong)?;
        }
        let (payload, segment) = builder.finish(id)?;
        Ok((payload, segment, parts))
    };
    let (payload, segment, parts) = blocking(encode).await?;
    // Whatever becomes of this session: others may name it from here on.
    session.shares_its_segments = true;
    session.put(Place::Segment(id, segment.hash), payload).await?;
    let folder = std::iter::once((segment.hash, segment.len)).collect();
    session.repo.memory().saw_segments(id, Arc::new(folder));
    tracing::debug!(backups = taken.len(), bytes = segment.len, "small backups share a segment");
    let of_others: u64 = parts.iter().skip(1).map(|(_, bytes)| bytes).sum();
    // What is not in a frame of another's is the first one's.
    let bytes = segment.len.saturating_sub(of_others);
    let own = SharedPlace { segment: segment.clone(), from: PageNo::FIRST.get(), bytes };
    for (waiting, (from, bytes)) in taken.into_iter().zip(parts).skip(1) {
        // One that was cancelled meanwhile does without.
        let _ = waiting.place.send(SharedPlace { segment: segment.clone(), from, bytes });
    }
    Ok(own)
}

#[cfg(test)]
#[path = "shared_segments_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "shared_segments_world.rs"]
mod world;
