//! Pages in, segments out: encoded on all cores, cut into segments, on their way to the store several at once.

use std::sync::Arc;

use mantis_page::PageSize;
use mantis_stream::OrderedPipeline;

use crate::digest::{Digest, Tally};
use crate::encoder::{EncodedChunk, Encoder, FRAME_LEN};
use crate::envelope::{Envelope, Kind};
use crate::own_pages::OwnPages;
use crate::segment_builder::SegmentBuilder;
use crate::shared_segments::Sharing;
use crate::uploads::Uploads;
use crate::{RepoError, SegmentRef, Session, WriteOptions};

/// Bytes of pages that are encoded as one piece of work: several frames, so that a worker does not wait for the
/// next piece more often than need be. Measured with zstd 1: one frame at a time takes 6% longer.
const BATCH_LEN: usize = 1 << 20;

type Encoded = Result<(Arc<Envelope>, Vec<EncodedChunk>), RepoError>;

/// Writes the segments of one session. Pages ascend. The length of segments is settled: 0 would make each piece of work one.
#[derive(Debug)]
pub(crate) struct SegmentStream {
    page_size: PageSize,
    encoder: Encoder,
    options: WriteOptions,
    pipeline: OrderedPipeline<Encoded>,
    /// Pages that do not fill a frame yet.
    gathered: Digest,
    /// Full frames that are not enough for a piece of work yet, and their bytes.
    batch: (Vec<Digest>, usize),
    /// The segment that pages are given to, and the bytes given to it.
    filling: Option<(Arc<Envelope>, u64)>,
    builder: Option<SegmentBuilder>,
    uploads: Uploads,
    segments: Vec<SegmentRef>,
    pub(crate) gained: Tally,
    pub(crate) lost: Tally,
}

/// Pieces of work at once.
pub(crate) fn jobs(options: &WriteOptions) -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    if options.jobs == 0 { cores } else { options.jobs }
}

impl SegmentStream {
    pub(crate) fn new(session: &Session, page_size: PageSize, options: &WriteOptions) -> Self {
        Self {
            page_size,
            encoder: Encoder {
                hasher: session.repo.page_hasher().clone(),
                compression: options.compression,
                verify: options.verify,
            },
            // More than there are workers, so that none waits while results are taken and segments sent.
            pipeline: OrderedPipeline::new(2 * jobs(options) + 1, options.cancel.clone()),
            uploads: Uploads::new(session, options),
            options: options.clone(),
            gathered: Digest::default(),
            batch: (Vec::new(), 0),
            filling: None,
            builder: None,
            segments: Vec::new(),
            gained: Tally::default(),
            lost: Tally::default(),
        }
    }

    pub(crate) const fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The segment that the next `len` bytes of pages go to: known before they are compressed, so that they
    /// can be sealed for it on any core.
    fn segment_for(&mut self, session: &mut Session, len: u64) -> Result<Arc<Envelope>, RepoError> {
        let filled = self.filling.take().filter(|(_, filled)| *filled < self.options.segment_len);
        let (envelope, filled) = match filled {
            Some(filling) => filling,
            None => (Arc::new(session.envelope(Kind::Segment)?), 0),
        };
        self.filling = Some((Arc::clone(&envelope), filled + len));
        Ok(envelope)
    }

    async fn encode(
        &mut self,
        work: impl FnOnce() -> Encoded + Send + 'static,
    ) -> Result<(), RepoError> {
        match self.pipeline.push(work).await? {
            Some(encoded) => self.take(encoded).await,
            None => Ok(()),
        }
    }

    /// Stores the pages of a digest, put together with those before and behind it to full frames.
    pub(crate) async fn push_digest(
        &mut self,
        session: &mut Session,
        digest: Digest,
    ) -> Result<(), RepoError> {
        if self.gathered.bytes.len() + digest.bytes.len() <= FRAME_LEN {
            self.gathered.append(digest);
            return Ok(());
        }
        let full = std::mem::replace(&mut self.gathered, digest);
        self.push_frame(session, full).await
    }

    async fn push_frame(&mut self, session: &mut Session, digest: Digest) -> Result<(), RepoError> {
        if digest.is_empty() {
            self.gained.add(&digest.gained);
            self.lost.add(&digest.lost);
            return Ok(());
        }
        self.batch.1 += digest.bytes.len();
        self.batch.0.push(digest);
        let enough = BATCH_LEN.min(self.options.segment_len.try_into().unwrap_or(BATCH_LEN));
        if self.batch.1 >= enough { self.push_batch(session).await } else { Ok(()) }
    }

    async fn push_batch(&mut self, session: &mut Session) -> Result<(), RepoError> {
        let (digests, len) = std::mem::take(&mut self.batch);
        if digests.is_empty() {
            return Ok(());
        }
        let envelope = self.segment_for(session, len as u64)?;
        let encoder = self.encoder.clone();
        let work = move || {
            let chunks = digests.into_iter().map(|digest| encoder.encode(digest, &envelope));
            chunks.collect::<Result<_, _>>().map(|chunks| (envelope, chunks))
        };
        self.encode(work).await
    }

    async fn take(&mut self, encoded: Encoded) -> Result<(), RepoError> {
        let (envelope, chunks) = encoded?;
        if self.builder.as_ref().is_some_and(|builder| !Arc::ptr_eq(&builder.envelope, &envelope)) {
            self.upload().await?;
        }
        let builder =
            self.builder.get_or_insert_with(|| SegmentBuilder::new(envelope, self.page_size));
        for chunk in chunks {
            self.gained.add(&chunk.gained);
            self.lost.add(&chunk.lost);
            builder.push(chunk);
        }
        Ok(())
    }

    /// Sends the segment in hand on its way; waits while too many are under way.
    async fn upload(&mut self) -> Result<(), RepoError> {
        let Some(builder) = self.builder.take() else { return Ok(()) };
        self.segments.extend(self.uploads.begin(builder, &self.options.cancel).await?);
        Ok(())
    }

    /// What comes next goes to another segment.
    pub(crate) async fn cut(&mut self, session: &mut Session) -> Result<(), RepoError> {
        let rest = std::mem::take(&mut self.gathered);
        self.push_frame(session, rest).await?;
        self.push_batch(session).await?;
        self.filling = None;
        Ok(())
    }

    /// As [`Self::finish`]; few pages are stored together with those of other backups that end now.
    pub(crate) async fn finish_together(
        &mut self,
        session: &mut Session,
    ) -> Result<OwnPages, RepoError> {
        let is_all = self.batch.0.is_empty()
            && self.filling.is_none()
            && self.builder.is_none()
            && self.segments.is_empty();
        if !is_all {
            return self.finish(session).await.map(OwnPages::from);
        }
        let together = Arc::clone(session.repo.together());
        let (how, cancel) = ((self.page_size, &self.encoder), &self.options.cancel);
        match together.segments.store(session, how, &self.gathered, cancel).await? {
            Sharing::Stored(place) => {
                let digest = std::mem::take(&mut self.gathered);
                self.gained.add(&digest.gained);
                self.lost.add(&digest.lost);
                self.options.progress.add_out(place.bytes);
                let layer = place.layer(&digest.data);
                Ok(OwnPages { segments: Vec::new(), shared: Some((layer, place.bytes)) })
            }
            // Others wait while this is held.
            Sharing::Alone(_sending) => self.finish(session).await.map(OwnPages::from),
        }
    }

    /// Waits until every page is stored; the segments, in the order of their pages.
    pub(crate) async fn finish(
        &mut self,
        session: &mut Session,
    ) -> Result<Vec<SegmentRef>, RepoError> {
        let rest = std::mem::take(&mut self.gathered);
        self.push_frame(session, rest).await?;
        self.push_batch(session).await?;
        while let Some(encoded) = self.pipeline.next().await? {
            self.take(encoded).await?;
        }
        self.upload().await?;
        self.segments.extend(self.uploads.finish(&self.options.cancel).await?);
        Ok(std::mem::take(&mut self.segments))
    }

    /// Waits until nothing is under way any more, whatever became of it.
    pub(crate) async fn settle(&mut self) {
        self.pipeline.settle().await;
        self.uploads.settle().await;
    }
}
