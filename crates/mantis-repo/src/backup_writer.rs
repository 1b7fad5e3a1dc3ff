//! Page runs in, a committed backup out.

use std::sync::Arc;

use mantis_page::{PageNo, PageRange, PageRun, PageSize};
use mantis_stream::{
    CancellationToken, Compression, OrderedPipeline, ProgressTracker, RateLimiter,
};

use crate::digest::{Digest, Tally};
use crate::encoder::{EncodedChunk, Encoder, FRAME_LEN};
use crate::envelope::{Envelope, Kind};
use crate::fingerprint::{Fingerprint, Sum};
use crate::manifest::{Layer, LayerList, MAX_LAYER_SEGMENTS, seal_list};
use crate::segment_builder::SegmentBuilder;
use crate::segment_index::MAX_PAGE_COUNT;
use crate::session::put_own;
use crate::stack_cursor::StackCursor;
use crate::uploads::Uploads;
use crate::{
    BackupId, BackupInfo, BackupKind, BackupMeta, Manifest, ObjectHash, Parent, Place, RepoError,
    SegmentRef, Session,
};

/// Bytes of pages in one segment, before compression. A writer holds up to six in memory: one being
/// filled, those on their way, and the batches in flight.
const SEGMENT_LEN: u64 = 16 << 20;
/// Segments listed in the manifest itself. More are listed in an object of their own, which the manifests of
/// later backups name: so a manifest is as short as what changed, however large the database.
const INLINE_SEGMENTS: usize = 4;

/// How a backup is written.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// How frames are compressed.
    pub compression: Compression,
    /// Decompress every frame again before it is let out.
    pub verify: bool,
    /// Runs encoded at once; 0: one for each core.
    pub jobs: usize,
    /// Bytes read from the source per second, at most.
    pub rate: Option<u64>,
    /// Stops the backup.
    pub cancel: CancellationToken,
    /// Shows how far it is.
    pub progress: Arc<ProgressTracker>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            verify: true,
            jobs: 0,
            rate: None,
            cancel: CancellationToken::new(),
            progress: Arc::default(),
        }
    }
}

type Encoded = Result<(Arc<Envelope>, Vec<EncodedChunk>), RepoError>;
type Digested = Result<Vec<Digest>, RepoError>;

/// What a backup that is built on another one needs of it.
#[derive(Debug)]
struct Base {
    parent: Parent,
    cursor: StackCursor,
    digests: OrderedPipeline<Digested>,
    /// Changed pages that do not fill a frame yet.
    gathered: Digest,
}

/// Takes the pages of one backup, ascending and each once, and commits them.
///
/// With a parent, pages that it holds alike are left out: what is stored is what changed.
///
/// Bounded: at most the runs being encoded and six segments are in memory.
#[derive(Debug)]
pub struct BackupWriter {
    session: Session,
    meta: BackupMeta,
    options: WriteOptions,
    page_size: PageSize,
    encoder: Encoder,
    rate: RateLimiter,
    base: Option<Base>,
    pipeline: OrderedPipeline<Encoded>,
    /// The segment that pages are given to, and the bytes given to it.
    filling: (Arc<Envelope>, u64),
    builder: Option<SegmentBuilder>,
    uploads: Uploads,
    segments: Vec<SegmentRef>,
    gained: Tally,
    lost: Tally,
    next_page: u64,
    bytes_read: u64,
    flushed: bool,
}

impl BackupWriter {
    /// A writer for a backup of which `meta` is known; with a parent, for one that is built on it.
    ///
    /// # Errors
    /// [`RepoError::WrongPages`] where the geometry is impossible, or another than the parent's; the session
    /// is given back with it.
    pub fn new(
        mut session: Session,
        meta: BackupMeta,
        parent: Option<Parent>,
        options: WriteOptions,
    ) -> Result<Self, Box<(Session, RepoError)>> {
        match Self::prepare(&mut session, &meta, parent, &options) {
            Ok((page_size, base, envelope, jobs)) => Ok(Self {
                encoder: Encoder {
                    hasher: session.repo.page_hasher().clone(),
                    compression: options.compression,
                    verify: options.verify,
                },
                uploads: Uploads::new(&session, Arc::clone(&options.progress)),
                session,
                page_size,
                rate: RateLimiter::new(options.rate),
                base,
                // One more than there are workers, so that none waits while a result is taken.
                pipeline: OrderedPipeline::new(jobs + 1, options.cancel.clone()),
                filling: (Arc::new(envelope), 0),
                builder: None,
                segments: Vec::new(),
                gained: Tally::default(),
                lost: Tally::default(),
                next_page: 1,
                bytes_read: 0,
                flushed: false,
                meta,
                options,
            }),
            Err(error) => Err(Box::new((session, error))),
        }
    }

    fn prepare(
        session: &mut Session,
        meta: &BackupMeta,
        parent: Option<Parent>,
        options: &WriteOptions,
    ) -> Result<(PageSize, Option<Base>, Envelope, usize), RepoError> {
        let wrong = |what: String| RepoError::WrongPages { what };
        let page_size =
            PageSize::new(meta.page_size.into()).map_err(|error| wrong(error.to_string()))?;
        if meta.page_count > MAX_PAGE_COUNT {
            return Err(wrong(format!("{} pages are more than {MAX_PAGE_COUNT}", meta.page_count)));
        }
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let jobs = if options.jobs == 0 { cores } else { options.jobs };
        let base = match parent {
            None => None,
            Some(parent) if parent.info().meta.page_size != meta.page_size => {
                return Err(wrong("the parent has pages of another size".into()));
            }
            Some(parent) => Some(Base {
                cursor: parent.cursor(&session.repo)?,
                parent,
                digests: OrderedPipeline::new(jobs + 1, options.cancel.clone()),
                gathered: Digest::default(),
            }),
        };
        Ok((page_size, base, session.envelope(Kind::Segment)?, jobs))
    }

    /// Whether pages may be left out between the last one that came and this one.
    fn may_skip_to(&self, page: u64) -> bool {
        let sparse = self.base.as_ref().filter(|base| base.parent.sparse);
        let held = sparse.map_or(0, |base| base.parent.info().meta.page_count);
        page == self.next_page || (page > self.next_page && page <= held + 1)
    }

    /// Takes the next pages.
    ///
    /// # Errors
    /// [`RepoError::WrongPages`], [`RepoError::Cancelled`], or what keeps earlier pages from being
    /// stored. The writer is to be abandoned then.
    pub async fn push(&mut self, run: PageRun) -> Result<(), RepoError> {
        let range = run.range();
        let fits = range.last().get() <= self.meta.page_count && run.page_size() == self.page_size;
        if !fits || !self.may_skip_to(range.first().get()) {
            let what = format!("page {} came where page {} was due", range.first(), self.next_page);
            return Err(RepoError::WrongPages { what });
        }
        self.next_page = range.last().get() + 1;
        let len = run.bytes().len() as u64;
        self.bytes_read += len;
        self.rate.pass(len as usize).await;
        match &mut self.base {
            None => {
                let (encoder, envelope) = (self.encoder.clone(), self.segment_for(len)?);
                let work =
                    move || encoder.encode_all(&run, &envelope).map(|chunks| (envelope, chunks));
                self.encode(work).await?;
            }
            Some(base) => {
                let held = base.cursor.collect(range).await?;
                let encoder = self.encoder.clone();
                let work = move || encoder.digest(&run, Some(&held));
                if let Some(digests) = base.digests.push(work).await? {
                    self.gather(digests?).await?;
                }
            }
        }
        self.options.progress.add(range.len(), len);
        Ok(())
    }

    /// The segment that the next `len` bytes of pages go to: known before they are compressed, so that they
    /// can be sealed for it on any core.
    fn segment_for(&mut self, len: u64) -> Result<Arc<Envelope>, RepoError> {
        if self.filling.1 >= SEGMENT_LEN {
            self.filling = (Arc::new(self.session.envelope(Kind::Segment)?), 0);
        }
        self.filling.1 += len;
        Ok(Arc::clone(&self.filling.0))
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

    /// Puts changed pages together to frames.
    async fn gather(&mut self, digests: Vec<Digest>) -> Result<(), RepoError> {
        for digest in digests {
            let Some(base) = &mut self.base else { return Ok(()) };
            if base.gathered.bytes.len() + digest.bytes.len() > FRAME_LEN {
                let full = std::mem::replace(&mut base.gathered, digest);
                self.encode_digest(full).await?;
            } else {
                base.gathered.append(digest);
            }
        }
        Ok(())
    }

    async fn encode_digest(&mut self, digest: Digest) -> Result<(), RepoError> {
        if digest.is_empty() {
            self.gained.add(&digest.gained);
            self.lost.add(&digest.lost);
            return Ok(());
        }
        let (encoder, envelope) =
            (self.encoder.clone(), self.segment_for(digest.bytes.len() as u64)?);
        let work = move || encoder.encode(digest, &envelope).map(|chunk| (envelope, vec![chunk]));
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

    /// Waits until every page is stored.
    ///
    /// # Errors
    /// As [`Self::push`]; [`RepoError::WrongPages`] where pages are missing.
    pub async fn flush(&mut self) -> Result<(), RepoError> {
        if !self.may_skip_to(self.meta.page_count + 1) {
            let what = format!("{} pages came of {}", self.next_page - 1, self.meta.page_count);
            return Err(RepoError::WrongPages { what });
        }
        while let Some(base) = &mut self.base {
            let Some(digests) = base.digests.next().await? else { break };
            self.gather(digests?).await?;
        }
        if let Some(base) = &mut self.base {
            let rest = std::mem::take(&mut base.gathered);
            self.encode_digest(rest).await?;
        }
        self.count_what_was_cut_off().await?;
        while let Some(encoded) = self.pipeline.next().await? {
            self.take(encoded).await?;
        }
        self.upload().await?;
        self.segments.extend(self.uploads.finish(&self.options.cancel).await?);
        self.flushed = true;
        Ok(())
    }

    /// Takes the parent's pages past the end of this backup out of the sums.
    async fn count_what_was_cut_off(&mut self) -> Result<(), RepoError> {
        let Some(base) = &mut self.base else { return Ok(()) };
        let (ours, parents) = (self.meta.page_count, base.parent.info().meta.page_count);
        let first = PageNo::new(ours + 1);
        let cut = first.and_then(|first| PageRange::new(first, parents.saturating_sub(ours)));
        for range in cut.into_iter().flat_map(|cut| cut.split(4096)) {
            let held = base.cursor.collect(range).await?;
            for (page, held) in range.pages().zip(held) {
                let Some(held) = held else { continue };
                self.lost.count(&self.encoder.hasher, page.get(), held);
            }
        }
        Ok(())
    }

    /// Writes the manifest and commits: from here on the backup exists. [`Self::flush`] first, then
    /// whatever proves that the pages were right.
    ///
    /// # Errors
    /// What keeps the commit from happening; what was written is removed then, unless it cannot be
    /// told whether the commit happened.
    pub async fn commit(
        mut self,
        duration_ms: u64,
        token: Option<&[u8]>,
    ) -> Result<BackupInfo, RepoError> {
        if !self.flushed {
            self.abandon().await;
            return Err(RepoError::WrongPages { what: "some are not stored yet".into() });
        }
        match self.write_manifest(duration_ms, token).await {
            Ok((info, hash)) => {
                self.session.commit(hash).await?;
                self.options.progress.finish();
                Ok(info)
            }
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    fn info(&self, duration_ms: u64) -> BackupInfo {
        let session = self.session.id();
        let parent = self.base.as_ref().map(|base| base.parent.info());
        let terms = self.encoder.hasher.terms();
        let mut sum = parent.map_or_else(Sum::default, |parent| {
            let mut sum = Sum::from(parent.fingerprint);
            sum.subtract(terms.shape(parent.meta.page_size, parent.meta.byte_len));
            sum
        });
        sum.add(self.gained.terms);
        sum.subtract(self.lost.terms);
        sum.add(terms.shape(self.meta.page_size, self.meta.byte_len));
        let zeros = parent.map_or(0, |parent| parent.pages_zero) + self.gained.zeros;
        BackupInfo {
            id: BackupId(session.unique),
            generation: 0,
            session,
            meta: self.meta.clone(),
            kind: if parent.is_some() { BackupKind::Incremental } else { BackupKind::Full },
            parent: parent.map(|parent| parent.id),
            pages_changed: self.gained.pages,
            pages_zero: zeros.saturating_sub(self.lost.zeros),
            bytes_read: self.bytes_read,
            bytes_stored: self.segments.iter().map(|segment| segment.len).sum(),
            duration_ms,
            compression: self.options.compression.to_string(),
            fingerprint: Fingerprint::from(sum),
        }
    }

    async fn write_manifest(
        &mut self,
        duration_ms: u64,
        token: Option<&[u8]>,
    ) -> Result<(BackupInfo, ObjectHash), RepoError> {
        let info = self.info(duration_ms);
        let base = self.base.as_ref();
        let mut layers = base.map_or_else(Vec::new, |base| base.parent.manifest.layers.clone());
        let previous = base.map(|base| base.parent.hash);
        for segments in std::mem::take(&mut self.segments).chunks(MAX_LAYER_SEGMENTS) {
            layers.push(self.store_layer(segments.to_vec()).await?);
        }
        let manifest = Manifest {
            required: Vec::new(),
            info: info.clone(),
            previous,
            token: token.map(crate::ids::hex),
            layers,
        };
        let hash = self.session.store_manifest(&manifest).await?;
        Ok((info, hash))
    }

    async fn store_layer(&mut self, segments: Vec<SegmentRef>) -> Result<Layer, RepoError> {
        if segments.len() <= INLINE_SEGMENTS {
            return Ok(Layer { list: None, segments });
        }
        let sealed = seal_list(&segments, &self.session.envelope(Kind::Layer)?)?.to_bytes();
        let list = LayerList { session: self.session.id(), hash: ObjectHash::of([&sealed[..]]) };
        let place = Place::Layer(list.session, list.hash);
        put_own(self.session.repo.sink(), place, sealed.into()).await?;
        Ok(Layer { list: Some(list), segments })
    }

    /// Gives the backup up and removes what was written of it.
    pub async fn abandon(mut self) {
        if let Some(base) = &mut self.base {
            base.digests.settle().await;
        }
        self.pipeline.settle().await;
        self.uploads.settle().await;
        self.session.abandon().await;
    }
}
