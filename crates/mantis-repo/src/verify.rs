//! Reads back and proves every byte.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use mantis_page::{PageNo, PageRange};
use mantis_sink::error_chain;
use mantis_stream::{CancellationToken, ProgressTracker};
use tokio::sync::Semaphore;

use crate::digest::Tally;
use crate::layer_pages::blocking;
use crate::lost_outcomes;
use crate::segment_reader::SegmentReader;
use crate::session_memory::{Folder, with_later};
use crate::stack_cursor::StackCursor;
use crate::{
    BackupId, BackupInfo, Fingerprint, Manifest, RepoError, Repository, Selector, SessionId,
};

/// Pages whose hashes are looked at in one go.
pub(crate) const PAGES_AT_ONCE: u64 = 4096;

/// How a verification runs.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Segments read at once; 0: one for each core.
    pub jobs: usize,
    /// Which segments are read.
    pub reach: Reach,
    /// Stops it.
    pub cancel: CancellationToken,
    /// Shows how far it is.
    pub progress: Arc<ProgressTracker>,
}

/// Which segments a verification reads. Manifests, lists and indexes are always read and proved.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Reach {
    /// All: every byte is proved.
    #[default]
    Everything,
    /// None: of each, that it is there with its right length.
    Metadata,
    /// A share of them, from 0 to 1; of the others as with `Metadata`. Another `seed`, another choice.
    Sample {
        /// The share.
        share: f64,
        /// What chooses.
        seed: u64,
    },
}

impl Reach {
    fn reads(self, reader: &SegmentReader) -> bool {
        match self {
            Self::Everything => true,
            Self::Metadata => false,
            Self::Sample { share, seed } => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(&seed.to_le_bytes()).update(&reader.reference.hash.0);
                let [a, b, c, d, ..] = *hasher.finalize().as_bytes();
                f64::from(u32::from_le_bytes([a, b, c, d])) < share * (f64::from(u32::MAX) + 1.0)
            }
        }
    }
}

/// Backups of small databases in a store over a network whose manifests and indexes are read at once: most of the time is waiting.
const FAR_AWAY: usize = 16;
/// Bytes of a small database at most: what is in memory of its indexes is little.
const SMALL: u64 = 64 << 20;

/// Segments that were seen in this run: those of a long stack are many backups'.
#[derive(Debug, Default)]
struct Seen(Mutex<HashMap<SessionId, Folder>>);

impl Seen {
    fn of(&self, session: SessionId) -> Option<Folder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&session).cloned()
    }

    fn note(&self, session: SessionId, folder: &Folder) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.entry(session).or_default();
        *known = with_later(known, folder);
    }
}

/// A segment, and the backups that need it.
type Needed = (SegmentReader, Vec<BackupId>);

/// One damaged object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The object's name, or the backup as a whole.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// The backups that need it.
    pub backups: Vec<BackupId>,
    /// The pages that are in it, first and last; none where it holds no pages, or all.
    pub pages: Option<(u64, u64)>,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The backups that were proved, whole or not.
    pub checked: Vec<BackupId>,
    /// Segments read.
    pub segments: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is damaged.
    pub damaged: Vec<Damage>,
}

impl Repository {
    /// Proves backups: every one for an empty `ids`, else those whose ids start so. Every segment is
    /// read once, however many backups share it; all of it from the store, whatever an [`crate::IndexCache`] holds.
    ///
    /// # Errors
    /// A store that fails, an id that names no backup, or a cancellation. Damage is no error here but
    /// the report.
    pub async fn verify(
        &self,
        ids: &[String],
        options: &VerifyOptions,
    ) -> Result<VerifyReport, RepoError> {
        let stored = self.without_cache();
        stored.verify_stored(ids, options).await
    }

    async fn verify_stored(
        &self,
        ids: &[String],
        options: &VerifyOptions,
    ) -> Result<VerifyReport, RepoError> {
        let catalogue = self.catalogue().await?;
        let mut report = VerifyReport::default();
        let mut chosen: Vec<&BackupInfo> = Vec::new();
        if ids.is_empty() {
            chosen.extend(&catalogue.backups);
            report.damaged.extend(catalogue.unreadable.iter().map(|unreadable| Damage {
                object: format!("the backup of session {}", unreadable.session),
                what: error_chain(&unreadable.error),
                backups: vec![unreadable.id()],
                pages: None,
            }));
            report.damaged.extend(self.lost_outcomes().await?.into_iter().map(
                |(manifest, session, _)| Damage {
                    object: manifest.to_string(),
                    what: lost_outcomes::WHAT.to_owned(),
                    backups: vec![BackupId(session.unique)],
                    pages: None,
                },
            ));
        }
        for id in ids {
            let selector = Selector { id: Some(id.clone()), ..Selector::default() };
            chosen.push(catalogue.find(&selector)?);
        }
        let segments = self.check_structures(chosen, options, &mut report).await?;
        self.check_segments(segments, options, &mut report).await?;
        options.progress.finish();
        Ok(report)
    }

    /// Proves that backups have what their manifests say; the segments that they need.
    async fn check_structures(
        &self,
        chosen: Vec<&BackupInfo>,
        options: &VerifyOptions,
        report: &mut VerifyReport,
    ) -> Result<BTreeMap<String, Needed>, RepoError> {
        let all = if self.is_remote() { FAR_AWAY } else { 1 };
        let (turns, seen) = (Semaphore::new(all), Seen::default());
        let checks = chosen.into_iter().map(async |info: &BackupInfo| {
            let share = if info.meta.byte_len <= SMALL { 1 } else { all as u32 };
            // Nobody closes it.
            let _turn = turns.acquire_many(share).await.ok();
            let manifest = match self.manifest(info).await {
                Ok(manifest) => manifest,
                Err(error) => return (info, Vec::new(), Err(error)),
            };
            let readers = manifest.segments().map(|it| SegmentReader::new(self.vault(), it));
            match readers.collect::<Result<Vec<SegmentReader>, RepoError>>() {
                Ok(readers) => (info, readers, self.check_structure(&manifest, &seen).await),
                Err(error) => (info, Vec::new(), Err(error)),
            }
        });
        let mut checks = pin!(futures::stream::iter(checks).buffered(all));
        let mut segments: BTreeMap<String, Needed> = BTreeMap::new();
        while let Some((info, readers, found)) = checks.next().await {
            if options.cancel.is_cancelled() {
                return Err(RepoError::Cancelled);
            }
            report.checked.push(info.id);
            for reader in readers {
                let entry =
                    segments.entry(reader.object.clone()).or_insert_with(|| (reader, Vec::new()));
                if entry.1.last() != Some(&info.id) {
                    entry.1.push(info.id);
                }
            }
            match found {
                Ok(()) => {}
                Err(error) if error.is_damage() => report.damaged.push(Damage {
                    object: format!("backup {}", info.id),
                    what: error_chain(&error),
                    backups: vec![info.id],
                    pages: None,
                }),
                Err(error) => return Err(error),
            }
        }
        Ok(segments)
    }

    /// Proves that the indexes of a backup give every page once and in sum its fingerprint.
    async fn check_structure(&self, manifest: &Manifest, seen: &Seen) -> Result<(), RepoError> {
        let info = &manifest.info;
        let object = format!("backup {}", info.id);
        let missing = self.missing(
            manifest,
            |session| seen.of(session),
            |session, folder| seen.note(session, folder),
        );
        if let Some(missing) = missing.await? {
            let what = format!("{missing} is not there, or has another length");
            return Err(RepoError::damaged(object, what));
        }
        let mut cursor = StackCursor::new(self, manifest, false)?;
        let mut tally = Tally::default();
        let all = PageRange::new(PageNo::FIRST, info.meta.page_count);
        for range in all.into_iter().flat_map(|all| all.split(PAGES_AT_ONCE)) {
            for (page, held) in range.pages().zip(cursor.collect(range).await?) {
                let Some(held) = held else {
                    return Err(RepoError::damaged(
                        object,
                        format!("page {page} is in no segment"),
                    ));
                };
                tally.count(self.page_hasher(), page.get(), held);
            }
        }
        let mut sum = tally.terms;
        sum.add(self.page_hasher().terms().shape(info.meta.page_size, info.meta.byte_len));
        if Fingerprint::from(sum) != info.fingerprint {
            return Err(RepoError::damaged(object, "its pages do not give its fingerprint"));
        }
        Ok(())
    }

    async fn check_segments(
        &self,
        segments: BTreeMap<String, Needed>,
        options: &VerifyOptions,
        report: &mut VerifyReport,
    ) -> Result<(), RepoError> {
        let jobs = self.reads_at_once(options.jobs);
        let chosen: Vec<Needed> =
            segments.into_values().filter(|(reader, _)| options.reach.reads(reader)).collect();
        let total = chosen.iter().map(|(reader, _)| reader.len()).sum();
        options.progress.expect(chosen.len() as u64, total);
        let mut checks =
            futures::stream::iter(chosen.into_iter().map(|(reader, backups)| async move {
                let checked = self.check_segment(&reader).await;
                (reader, backups, checked)
            }))
            .buffer_unordered(jobs);
        loop {
            let next = tokio::select! {
                biased;
                () = options.cancel.cancelled() => return Err(RepoError::Cancelled),
                next = checks.next() => next,
            };
            let Some((reader, backups, checked)) = next else { return Ok(()) };
            report.segments += 1;
            report.bytes += reader.len();
            options.progress.add(1, reader.len());
            match checked {
                Ok(()) => {}
                Err(error) if error.is_damage() => {
                    let what = error_chain(&error);
                    let pages = Some((reader.reference.first, reader.reference.last));
                    report.damaged.push(Damage { object: reader.object, what, backups, pages });
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) async fn check_segment(&self, reader: &SegmentReader) -> Result<(), RepoError> {
        let bytes = reader.fetch(self.sink()).await?;
        let (reader, hasher) = (reader.clone(), self.page_hasher().clone());
        blocking(move || {
            let open = reader.open(bytes, true)?;
            open.read_pages(&hasher, &|_| true, &mut |_| Ok(()))
        })
        .await
    }
}
