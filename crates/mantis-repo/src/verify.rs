//! Reads back and proves every byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use mantis_stream::{CancellationToken, ProgressTracker};

use crate::fingerprint::Fingerprinter;
use crate::page_walk::PageWalk;
use crate::segment_reader::SegmentReader;
use crate::{BackupId, BackupInfo, Manifest, RepoError, Repository, Selector};

/// How a verification runs.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Segments read at once; 0: one for each core.
    pub jobs: usize,
    /// Stops it.
    pub cancel: CancellationToken,
    /// Shows how far it is.
    pub progress: Arc<ProgressTracker>,
}

/// One damaged object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The object's name, or the backup as a whole.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// The backups that need it.
    pub backups: Vec<BackupId>,
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

/// An error with all its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl Repository {
    /// Proves backups: every one for an empty `ids`, else those whose ids start so. Every segment is
    /// read once, however many backups share it.
    ///
    /// # Errors
    /// A store that fails, an id that names no backup, or a cancellation. Damage is no error here but
    /// the report.
    pub async fn verify(
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
                what: chain(&unreadable.error),
                backups: vec![BackupId(unreadable.session.unique)],
            }));
        }
        for id in ids {
            let selector = Selector { id: Some(id.clone()), ..Selector::default() };
            chosen.push(catalogue.find(&selector)?);
        }
        let mut segments: BTreeMap<String, (SegmentReader, Vec<BackupId>)> = BTreeMap::new();
        for info in chosen {
            if options.cancel.is_cancelled() {
                return Err(RepoError::Cancelled);
            }
            report.checked.push(info.id);
            let found = match self.manifest(info).await {
                Ok(manifest) => self.check_structure(&manifest, &mut segments).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(()) => {}
                Err(error) if error.is_damage() => report.damaged.push(Damage {
                    object: format!("backup {}", info.id),
                    what: chain(&error),
                    backups: vec![info.id],
                }),
                Err(error) => return Err(error),
            }
        }
        self.check_segments(segments, options, &mut report).await?;
        options.progress.finish();
        Ok(report)
    }

    /// Notes the segments of a backup, then proves that its indexes give every page once and in sum
    /// its fingerprint.
    async fn check_structure(
        &self,
        manifest: &Manifest,
        segments: &mut BTreeMap<String, (SegmentReader, Vec<BackupId>)>,
    ) -> Result<(), RepoError> {
        let info = &manifest.info;
        for layer in &manifest.layers {
            for reference in &layer.segments {
                let reader =
                    SegmentReader::new(self.id(), info.meta.page_count, layer.session, reference)?;
                let entry =
                    segments.entry(reader.object.clone()).or_insert_with(|| (reader, Vec::new()));
                entry.1.push(info.id);
            }
        }
        let object = format!("backup {}", info.id);
        let zeros = vec![0; manifest.page_size(&object)?.bytes()];
        let zero_hash = self.page_hasher().hash(&zeros);
        let mut walk = PageWalk::new(self.id(), manifest, self.sink()).await?;
        let mut fingerprint = Fingerprinter::default();
        let mut due = 1;
        while let Some((page, hash)) = walk.next(self.sink()).await? {
            if page.get() != due {
                return Err(RepoError::damaged(object, format!("page {due} is in no segment")));
            }
            fingerprint.add(&hash.unwrap_or(zero_hash));
            due += 1;
        }
        if due != info.meta.page_count + 1 {
            return Err(RepoError::damaged(object, format!("page {due} is in no segment")));
        }
        if fingerprint.finish() != info.fingerprint {
            return Err(RepoError::damaged(object, "its pages do not give its fingerprint"));
        }
        Ok(())
    }

    async fn check_segments(
        &self,
        segments: BTreeMap<String, (SegmentReader, Vec<BackupId>)>,
        options: &VerifyOptions,
        report: &mut VerifyReport,
    ) -> Result<(), RepoError> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let jobs = if options.jobs == 0 { cores } else { options.jobs };
        let total = segments.values().map(|(reader, _)| reader.len()).sum();
        options.progress.expect(segments.len() as u64, total);
        let mut checks =
            futures::stream::iter(segments.into_values().map(|(reader, backups)| async move {
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
                    let what = chain(&error);
                    report.damaged.push(Damage { object: reader.object, what, backups });
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn check_segment(&self, reader: &SegmentReader) -> Result<(), RepoError> {
        let bytes = reader.fetch(self.sink()).await?;
        let (reader, hasher) = (reader.clone(), self.page_hasher().clone());
        let checked = tokio::task::spawn_blocking(move || {
            let open = reader.open(bytes, true)?;
            open.read_pages(&hasher, &|_| true, &mut |_| Ok(()))
        });
        checked
            .await
            .map_err(|_| RepoError::Stream { source: mantis_stream::StreamError::Worker })?
    }
}
