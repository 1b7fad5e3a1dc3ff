//! Page runs in, a committed backup out.

use std::collections::VecDeque;
use std::sync::Arc;

use mantis_page::{PageRun, PageSize};
use mantis_stream::{
    CancellationToken, Compression, OrderedPipeline, ProgressTracker, RateLimiter,
};
use tokio::task::JoinHandle;

use crate::encoder::{EncodedChunk, Encoder};
use crate::envelope::{Header, Kind};
use crate::fingerprint::Fingerprinter;
use crate::segment_builder::SegmentBuilder;
use crate::segment_index::MAX_PAGE_COUNT;
use crate::session::put_own;
use crate::{
    BackupId, BackupInfo, BackupKind, BackupMeta, Layer, Manifest, ObjectHash, Place, RepoError,
    SegmentRef, Session,
};

/// Bytes of pages in one segment, before compression. A writer holds up to six in memory: one being
/// filled, those on their way, and the batches in flight.
const SEGMENT_LEN: u64 = 16 << 20;
/// Segments on their way to the store at once. Measured on local disk, 1 GiB uncompressed: two take 1.05 s,
/// four 0.86 s, as syncs of some overlap with the writes of others.
const UPLOADS: usize = 4;

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

type Encoded = Result<(Arc<Header>, Vec<EncodedChunk>), RepoError>;
type Upload = JoinHandle<Result<SegmentRef, RepoError>>;

/// Takes the pages of one backup, ascending and each once, and commits them.
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
    pipeline: OrderedPipeline<Encoded>,
    /// The segment that runs are given to, and the bytes given to it.
    filling: (Arc<Header>, u64),
    builder: Option<SegmentBuilder>,
    uploads: VecDeque<Upload>,
    segments: Vec<SegmentRef>,
    fingerprint: Fingerprinter,
    next_page: u64,
    zero_pages: u64,
    bytes_read: u64,
    bytes_stored: u64,
}

impl BackupWriter {
    /// A writer for a backup of which `meta` is known.
    ///
    /// # Errors
    /// [`RepoError::WrongPages`] where the geometry is impossible; the session is given back with it.
    pub fn new(
        session: Session,
        meta: BackupMeta,
        options: WriteOptions,
    ) -> Result<Self, Box<(Session, RepoError)>> {
        let wrong = |what: String| RepoError::WrongPages { what };
        let page_size = match PageSize::new(meta.page_size.into()) {
            Ok(page_size) if meta.page_count <= MAX_PAGE_COUNT => page_size,
            Ok(_) => {
                let what = format!("{} pages are more than {MAX_PAGE_COUNT}", meta.page_count);
                return Err(Box::new((session, wrong(what))));
            }
            Err(error) => return Err(Box::new((session, wrong(error.to_string())))),
        };
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let jobs = if options.jobs == 0 { cores } else { options.jobs };
        let encoder = Encoder {
            hasher: session.repo.page_hasher().clone(),
            compression: options.compression,
            verify: options.verify,
        };
        options.progress.expect(meta.page_count, meta.page_count * u64::from(meta.page_size));
        let mut session = session;
        let filling = (Arc::new(session.header(Kind::Segment)), 0);
        Ok(Self {
            session,
            page_size,
            encoder,
            rate: RateLimiter::new(options.rate),
            // One more than there are workers, so that none waits while a result is taken.
            pipeline: OrderedPipeline::new(jobs + 1, options.cancel.clone()),
            filling,
            builder: None,
            uploads: VecDeque::new(),
            segments: Vec::new(),
            fingerprint: Fingerprinter::default(),
            next_page: 1,
            zero_pages: 0,
            bytes_read: 0,
            bytes_stored: 0,
            meta,
            options,
        })
    }

    /// Takes the next pages.
    ///
    /// # Errors
    /// [`RepoError::WrongPages`], [`RepoError::Cancelled`], or what keeps earlier pages from being
    /// stored. The writer is to be abandoned then.
    pub async fn push(&mut self, run: PageRun) -> Result<(), RepoError> {
        let range = run.range();
        if range.first().get() != self.next_page || run.page_size() != self.page_size {
            let what = format!("page {} came where page {} was due", range.first(), self.next_page);
            return Err(RepoError::WrongPages { what });
        }
        self.next_page += range.len();
        let len = run.bytes().len() as u64;
        self.bytes_read += len;
        self.rate.pass(len as usize).await;
        if self.filling.1 >= SEGMENT_LEN {
            self.filling = (Arc::new(self.session.header(Kind::Segment)), 0);
        }
        self.filling.1 += len;
        let (encoder, header) = (self.encoder.clone(), Arc::clone(&self.filling.0));
        let work = move || encoder.encode(&run, &header).map(|chunks| (header, chunks));
        if let Some(encoded) = self.pipeline.push(work).await? {
            self.take(encoded).await?;
        }
        self.options.progress.add(range.len(), len);
        Ok(())
    }

    async fn take(&mut self, encoded: Encoded) -> Result<(), RepoError> {
        let (header, chunks) = encoded?;
        if self.builder.as_ref().is_some_and(|builder| !Arc::ptr_eq(&builder.header, &header)) {
            self.upload().await?;
        }
        let builder =
            self.builder.get_or_insert_with(|| SegmentBuilder::new(header, self.page_size));
        for chunk in chunks {
            for (hash, blank) in &chunk.hashes {
                self.fingerprint.add(hash);
                self.zero_pages += u64::from(*blank);
            }
            builder.push(chunk);
        }
        Ok(())
    }

    /// Sends the segment in hand on its way; waits while too many are under way.
    async fn upload(&mut self) -> Result<(), RepoError> {
        let Some(builder) = self.builder.take() else { return Ok(()) };
        while self.uploads.len() >= UPLOADS {
            self.acknowledge().await?;
        }
        let (session, sink) = (self.session.id(), self.session.repo.shared_sink());
        let progress = Arc::clone(&self.options.progress);
        self.uploads.push_back(tokio::spawn(async move {
            let finished = tokio::task::spawn_blocking(move || builder.finish()).await;
            let (payload, reference) = finished.map_err(|_| worker_died())??;
            put_own(&*sink, Place::Segment(session, reference.hash), payload).await?;
            progress.add_out(reference.len);
            Ok(reference)
        }));
        Ok(())
    }

    /// Waits for the oldest segment under way. Only what the store acknowledged gets into a manifest.
    async fn acknowledge(&mut self) -> Result<(), RepoError> {
        let Some(upload) = self.uploads.front_mut() else { return Ok(()) };
        let acknowledged = tokio::select! {
            biased;
            () = self.options.cancel.cancelled() => return Err(RepoError::Cancelled),
            acknowledged = upload => acknowledged,
        };
        self.uploads.pop_front();
        let reference = acknowledged.map_err(|_| worker_died())??;
        self.bytes_stored += reference.len;
        self.segments.push(reference);
        Ok(())
    }

    /// Waits until every page is stored.
    ///
    /// # Errors
    /// As [`Self::push`]; [`RepoError::WrongPages`] where pages are missing.
    pub async fn flush(&mut self) -> Result<(), RepoError> {
        if self.next_page != self.meta.page_count + 1 {
            let what = format!("{} pages came of {}", self.next_page - 1, self.meta.page_count);
            return Err(RepoError::WrongPages { what });
        }
        while let Some(encoded) = self.pipeline.next().await? {
            self.take(encoded).await?;
        }
        self.upload().await?;
        while !self.uploads.is_empty() {
            self.acknowledge().await?;
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
        if self.builder.is_some() || !self.uploads.is_empty() {
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

    async fn write_manifest(
        &mut self,
        duration_ms: u64,
        token: Option<&[u8]>,
    ) -> Result<(BackupInfo, ObjectHash), RepoError> {
        let session = self.session.id();
        let info = BackupInfo {
            id: BackupId(session.unique),
            generation: 0,
            session,
            meta: self.meta.clone(),
            kind: BackupKind::Full,
            parent: None,
            pages_changed: self.meta.page_count,
            pages_zero: self.zero_pages,
            bytes_read: self.bytes_read,
            bytes_stored: self.bytes_stored,
            duration_ms,
            compression: self.options.compression.to_string(),
            fingerprint: self.fingerprint.finish(),
        };
        let manifest = Manifest {
            required: Vec::new(),
            info: info.clone(),
            previous: None,
            token: token.map(|token| token.iter().map(|byte| format!("{byte:02x}")).collect()),
            layers: vec![Layer { session, segments: std::mem::take(&mut self.segments) }],
        };
        let salt = self.session.next_salt();
        let sealed = manifest.seal(self.session.repo.id(), salt)?.to_bytes();
        let hash = ObjectHash::of([&sealed[..]]);
        let place = Place::Manifest(session, hash);
        put_own(self.session.repo.sink(), place, sealed.clone().into()).await?;
        let key = place.key().map_err(|error| RepoError::damaged("the manifest", error))?;
        let span = mantis_sink::Span::Whole { limit: sealed.len() as u64 };
        if self.session.repo.sink().get(&key, span).await? != sealed {
            return Err(RepoError::damaged(key, "it does not read back as it was written"));
        }
        Ok((info, hash))
    }

    /// Gives the backup up and removes what was written of it.
    pub async fn abandon(mut self) {
        self.pipeline.settle().await;
        for upload in std::mem::take(&mut self.uploads) {
            let _ = upload.await;
        }
        self.session.abandon().await;
    }
}

fn worker_died() -> RepoError {
    RepoError::Stream { source: mantis_stream::StreamError::Worker }
}
