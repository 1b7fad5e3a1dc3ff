//! Page runs in, a committed backup out.

use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use mantis_page::{PageNo, PageRange, PageRun, PageSet, PageSize};
use mantis_sink::RateLimiter;
use mantis_stream::OrderedPipeline;

use crate::digest::{Digest, Held};
use crate::fingerprint::{Fingerprint, Sum};
use crate::leftover_cursor::LeftoverCursor;
use crate::manifest::MAX_LAYER_SEGMENTS;
use crate::own_pages::OwnPages;
use crate::segment_index::MAX_PAGE_COUNT;
use crate::segment_reader::SegmentReader;
use crate::segment_stream::{SegmentStream, jobs};
use crate::stack_cursor::StackCursor;
use crate::twins::Twins;
use crate::{
    BackupId, BackupInfo, BackupKind, BackupMeta, Layer, Leftovers, Manifest, ObjectHash, Parent,
    RepoError, Session, WriteOptions,
};

/// The length of segments for a database of so many bytes. Shorter ones take less memory at the same speed (measured: 1 GiB
/// uncompressed takes as long, and 105 MiB at the peak where 16 MiB take 143), longer ones make lists of a large database shorter.
pub(crate) fn usual_segment_len(byte_len: u64) -> u64 {
    (byte_len.div_ceil(128 << 30)).clamp(1, 3) * (8 << 20)
}

/// Bytes of pages that are looked at as one piece of work, at least: where pages come one by one, handing each over would take longer than
/// looking at it.
const LOOK_LEN: usize = 256 << 10;

type Digested = Result<Vec<Digest>, RepoError>;

/// A run, with what the parent holds of its pages.
type Unseen = (PageRun, Option<Vec<Option<Held>>>);

/// What a backup that is built on another one needs of it.
#[derive(Debug)]
struct Base {
    parent: Parent,
    cursor: StackCursor,
}

/// Takes the pages of one backup, ascending and each once, and commits them.
///
/// With a parent, pages that it holds alike are left out: what is stored is what changed.
///
/// Bounded: at most the runs being encoded and six segments are in memory, and of the spool what its limit says.
#[derive(Debug)]
pub struct BackupWriter {
    session: Session,
    meta: BackupMeta,
    options: WriteOptions,
    page_size: PageSize,
    rate: RateLimiter,
    base: Option<Box<Base>>,
    /// Runs that are being looked at, in their order.
    digests: OrderedPipeline<Digested>,
    /// Runs that are not enough for a piece of work yet, and their bytes.
    short: (Vec<Unseen>, usize),
    /// Pages of the parent that are stored whether they changed or not.
    again: Arc<PageSet>,
    /// How many of them came.
    came_again: u64,
    twins: Twins,
    left: LeftoverCursor,
    stream: SegmentStream,
    /// Once every page is stored.
    stored: Option<OwnPages>,
    next_page: u64,
    bytes_read: u64,
}

fn prepare(
    session: &Session,
    meta: &BackupMeta,
    parent: Option<Parent>,
) -> Result<(PageSize, Option<Box<Base>>), RepoError> {
    let wrong = |what: String| RepoError::WrongPages { what };
    let page_size =
        PageSize::new(meta.page_size.into()).map_err(|error| wrong(error.to_string()))?;
    if meta.page_count > MAX_PAGE_COUNT {
        return Err(wrong(format!("{} pages are more than {MAX_PAGE_COUNT}", meta.page_count)));
    }
    let Some(parent) = parent else { return Ok((page_size, None)) };
    if parent.info().meta.page_size != meta.page_size {
        return Err(wrong("the parent has pages of another size".into()));
    }
    let cursor = parent.cursor(&session.repo)?;
    Ok((page_size, Some(Box::new(Base { parent, cursor }))))
}

impl BackupWriter {
    /// A writer for a backup of which `meta` is known; with a parent, for one that is built on it.
    ///
    /// # Errors
    /// [`RepoError::WrongPages`] where the geometry is impossible, or another than the parent's; the session
    /// is given back with it.
    pub fn new(
        session: Session,
        meta: BackupMeta,
        parent: Option<Parent>,
        mut options: WriteOptions,
    ) -> Result<Self, Box<(Session, RepoError)>> {
        if options.segment_len == 0 {
            options.segment_len = usual_segment_len(meta.byte_len);
        }
        let (page_size, base) = match prepare(&session, &meta, parent) {
            Ok(prepared) => prepared,
            Err(error) => return Err(Box::new((session, error))),
        };
        let again = base.as_ref().map(|base| base.parent.taken_in.pages.clone());
        let again = Arc::new(again.unwrap_or_default());
        Ok(Self {
            stream: SegmentStream::new(&session, page_size, &options),
            session,
            page_size,
            rate: RateLimiter::new(options.rate),
            again,
            came_again: 0,
            base,
            // One more than there are workers, so that none waits while a result is taken.
            digests: OrderedPipeline::new(jobs(&options) + 1, options.cancel.clone()),
            short: (Vec::new(), 0),
            twins: Twins::new(options.known_pages, meta.page_count),
            left: LeftoverCursor::default(),
            stored: None,
            next_page: 1,
            bytes_read: 0,
            meta,
            options,
        })
    }

    /// Notes the pages of another backup of this repository, so that the same ones are not stored again: as many
    /// as there is room for. The backup must have been found live by this writer's session.
    ///
    /// # Errors
    /// What keeps its indexes from being read.
    pub async fn learn(&mut self, other: &Manifest) -> Result<(), RepoError> {
        if other.info.meta.page_size != self.meta.page_size {
            return Ok(());
        }
        let own = other.layers.iter().filter(|layer| layer.borrows.is_empty() || layer.shared);
        for segment in own.flat_map(|layer| &layer.segments) {
            if !self.twins.has_room() {
                break;
            }
            let repo = &self.session.repo;
            let index = SegmentReader::new(repo.vault(), segment)?.index(repo).await?;
            self.twins.learn(segment, &index);
        }
        Ok(())
    }

    /// Notes what interrupted backups left, so that it is not sent again: pages that are where they were. Segments
    /// that are damaged are passed over.
    ///
    /// # Errors
    /// What the store reports; nothing is noted then.
    pub async fn resume(&mut self, leftovers: &Leftovers) -> Result<(), RepoError> {
        let repo = self.session.repo.clone();
        let mut left = LeftoverCursor::default();
        for segments in &leftovers.sessions {
            let mut described = pin!(repo.described(segments));
            let mut readers = Vec::new();
            while let Some(read) = described.next().await {
                match read {
                    Ok((segment, page_size)) if page_size == self.page_size => {
                        let number = self.twins.add_segment(&segment);
                        readers.push((number, SegmentReader::new(repo.vault(), &segment)?));
                    }
                    Ok(_) => {}
                    Err(error) if error.is_damage() => {
                        tracing::info!(%error, "a segment of an interrupted backup is not taken over");
                    }
                    Err(error) => return Err(error),
                }
            }
            left.add(readers);
        }
        self.left = left;
        Ok(())
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
        self.came_again += self.again.len_within(range);
        self.rate.pass(len as usize).await;
        let held = match &mut self.base {
            Some(base) => Some(base.cursor.collect(range).await?),
            None => None,
        };
        self.short.0.push((run, held));
        self.short.1 += len as usize;
        if self.short.1 >= LOOK_LEN {
            self.look().await?;
        }
        self.options.progress.add(range.len(), len);
        Ok(())
    }

    /// Has the runs that are in hand looked at.
    async fn look(&mut self) -> Result<(), RepoError> {
        let (runs, _) = std::mem::take(&mut self.short);
        if runs.is_empty() {
            return Ok(());
        }
        let (encoder, again) = (self.stream.encoder().clone(), Arc::clone(&self.again));
        let work = move || {
            let mut digests = Vec::new();
            for (run, held) in runs {
                digests.extend(encoder.digest(&run, held.as_deref(), &again)?);
            }
            Ok(digests)
        };
        if let Some(digests) = self.digests.push(work).await? {
            self.take(digests).await?;
        }
        Ok(())
    }

    async fn take(&mut self, digests: Digested) -> Result<(), RepoError> {
        for digest in digests? {
            let there = self.left.find(&self.session.repo, &digest).await?;
            let digest = self.twins.sift(digest, self.page_size, &there);
            self.stream.push_digest(&mut self.session, digest).await?;
        }
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
        // Layers that are left out of the stack had these pages: without them the backup would have older ones, or none.
        let wanted = PageRange::new(PageNo::FIRST, self.meta.page_count);
        let wanted = wanted.map_or(0, |all| self.again.len_within(all));
        if self.came_again != wanted {
            let what =
                format!("{} of {wanted} pages came that were to be stored again", self.came_again);
            return Err(RepoError::WrongPages { what });
        }
        self.look().await?;
        while let Some(digests) = self.digests.next().await? {
            self.take(digests).await?;
        }
        self.count_what_was_cut_off().await?;
        self.stored = Some(self.stream.finish_together(&mut self.session).await?);
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
                self.stream.lost.count(self.session.repo.page_hasher(), page.get(), held);
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
        let Some(stored) = self.stored.take() else {
            self.abandon().await;
            return Err(RepoError::WrongPages { what: "some are not stored yet".into() });
        };
        match self.write_manifest(&stored, duration_ms, token).await {
            Ok((info, hash)) => {
                let repo = self.session.repo.clone();
                self.session.commit(hash).await.inspect_err(|_| repo.memory().doubt())?;
                repo.memory().made(&info, hash, stored.named());
                self.options.progress.finish();
                Ok(info)
            }
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    fn info(&self, bytes_stored: u64, duration_ms: u64) -> BackupInfo {
        let (gained, lost) = (&self.stream.gained, &self.stream.lost);
        let session = self.session.id();
        let parent = self.base.as_ref().map(|base| base.parent.info());
        let terms = self.session.repo.page_hasher().terms();
        let mut sum = parent.map_or_else(Sum::default, |parent| {
            let mut sum = Sum::from(parent.fingerprint);
            sum.subtract(terms.shape(parent.meta.page_size, parent.meta.byte_len));
            sum
        });
        sum.add(gained.terms);
        sum.subtract(lost.terms);
        sum.add(terms.shape(self.meta.page_size, self.meta.byte_len));
        // What a parent says of itself is read from the store.
        let zeros = parent.map_or(0, |parent| parent.pages_zero).saturating_add(gained.zeros);
        BackupInfo {
            id: BackupId(session.unique),
            generation: 0,
            session,
            meta: self.meta.clone(),
            kind: if parent.is_some() { BackupKind::Incremental } else { BackupKind::Full },
            parent: parent.map(|parent| parent.id),
            pages_changed: gained.pages,
            pages_zero: zeros.saturating_sub(lost.zeros),
            bytes_read: self.bytes_read,
            bytes_stored,
            duration_ms,
            compression: self.options.compression.to_string(),
            fingerprint: Fingerprint::from(sum),
        }
    }

    async fn write_manifest(
        &mut self,
        stored: &OwnPages,
        duration_ms: u64,
        token: Option<&[u8]>,
    ) -> Result<(BackupInfo, ObjectHash), RepoError> {
        let info = self.info(stored.bytes(), duration_ms);
        let base = self.base.as_ref();
        let mut layers = base.map_or_else(Vec::new, |base| {
            let kept = base.parent.taken_in.kept;
            base.parent.manifest.layers.iter().take(kept).cloned().collect()
        });
        let previous = base.map(|base| base.parent.hash);
        for segments in stored.segments.chunks(MAX_LAYER_SEGMENTS) {
            layers.push(self.session.store_layer(segments.to_vec(), Vec::new()).await?);
        }
        layers.extend(stored.shared.as_ref().map(|(layer, _)| layer.clone()));
        if let Some(borrowed) = self.twins.layer(stored)? {
            let Layer { segments, borrows, .. } = borrowed;
            layers.push(self.session.store_layer(segments, borrows).await?);
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

    /// Gives the backup up and removes what was written of it.
    pub async fn abandon(mut self) {
        self.digests.settle().await;
        self.stream.settle().await;
        self.session.abandon().await;
    }
}
