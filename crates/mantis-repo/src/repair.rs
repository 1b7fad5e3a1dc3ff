//! Puts right what can be put right.
//!
//! - Of the parameters and of each keyring there are two copies: a damaged one is made anew from the other.
//! - A backup whose outcome was lost gets one.
//! - A damaged segment is written anew, where each of its pages can still be had: from its frames that can be read,
//!   or from any other segment that holds a page with the same hash. The backups that use it get the next generation
//!   of their manifest. A damaged object is never changed in its place: nothing that can be read today is put at risk.

use std::collections::{BTreeMap, HashMap};

use bytes::{Bytes, BytesMut};
use mantis_page::{PageNo, PageRange};
use mantis_stream::CancellationToken;

use crate::digest::{Digest, extend};
use crate::encoder::FRAME_LEN;
use crate::layer_pages::blocking;
use crate::segment_index::SegmentIndex;
use crate::segment_reader::SegmentReader;
use crate::segment_stream::SegmentStream;
use crate::{
    BackupId, BackupInfo, Layer, Manifest, ObjectHash, PageHash, Purpose, RepoError, Repository,
    SegmentRef, Session, SessionId, UnixMillis, WriteOptions,
};

/// How a repair runs.
#[derive(Debug, Clone)]
pub struct RepairOptions {
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Tells people who does it.
    pub owner: String,
    /// Stops it.
    pub cancel: CancellationToken,
}

/// A segment of which pages are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostSegment {
    /// Its name.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// The backups that need it.
    pub backups: Vec<BackupId>,
    /// Pages that cannot be had, as ranges of first and last; none where not even that can be told.
    pub pages: Option<Vec<(u64, u64)>>,
}

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairReport {
    /// Copies of the parameters and keyrings that were made anew.
    pub copies: Vec<String>,
    /// Outcomes of backups that were lost, and were made anew.
    pub outcomes: Vec<String>,
    /// Segments that were written anew, whole.
    pub segments: Vec<String>,
    /// Pages among them that came from other segments.
    pub refilled: u64,
    /// Backups that have a new generation of their manifest.
    pub backups: u64,
    /// Segments that cannot be made whole.
    pub lost: Vec<LostSegment>,
}

/// A damaged segment and the sessions whose manifests name it.
struct Damaged {
    reference: SegmentRef,
    what: String,
    users: Vec<(SessionId, BackupId)>,
}

type Pages = BTreeMap<u64, Bytes>;

impl Repository {
    /// Repairs what can be repaired.
    ///
    /// # Errors
    /// A store that fails. What cannot be repaired is no error here but the report.
    pub async fn repair(
        &self,
        options: &RepairOptions,
        entropy: [u8; 32],
        now: UnixMillis,
    ) -> Result<RepairReport, RepoError> {
        let stored = self.without_cache();
        stored.repair_stored(options, entropy, now).await
    }

    async fn repair_stored(
        &self,
        options: &RepairOptions,
        entropy: [u8; 32],
        now: UnixMillis,
    ) -> Result<RepairReport, RepoError> {
        let mut report = RepairReport::default();
        self.repair_copies(options, &mut report).await?;
        let outcomes = self.repair_outcomes(options, entropy, now).await?;
        report.outcomes.extend(outcomes.iter().map(ToString::to_string));
        let (damaged, whole) = self.find_damaged(options).await?;
        let mut replaced: HashMap<ObjectHash, SegmentRef> = HashMap::new();
        let mut users: BTreeMap<SessionId, BackupId> = BTreeMap::new();
        // Announced until the manifests name what they wrote, so that no collector frees it.
        let mut held = Vec::new();
        for (segment, number) in damaged.into_iter().zip(0u64..) {
            let index = SegmentReader::new(self.vault(), &segment.reference)?.index(self).await;
            let object = SegmentReader::new(self.vault(), &segment.reference)?.object;
            let lose = |pages| LostSegment {
                object: object.clone(),
                what: segment.what.clone(),
                backups: segment.users.iter().map(|(_, backup)| *backup).collect(),
                pages,
            };
            let index = match index {
                Ok(index) => index,
                Err(error) if error.is_damage() => {
                    report.lost.push(lose(None));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (pages, refilled) = self.gather_pages(&segment.reference, &index, &whole).await?;
            let missing: Vec<PageNo> = index
                .data_pages()
                .map(|(page, _)| page)
                .filter(|page| !pages.contains_key(&page.get()))
                .collect();
            if !missing.is_empty() {
                let set: mantis_page::PageSet = missing.into_iter().collect();
                let ranges = set.ranges().map(|range| (range.first().get(), range.last().get()));
                report.lost.push(lose(Some(ranges.collect())));
                continue;
            }
            report.segments.push(object);
            report.refilled += refilled;
            users.extend(segment.users.iter().copied());
            if options.dry_run {
                continue;
            }
            let input = [&entropy[..], b"segment", &number.to_le_bytes()].concat();
            let seed = blake3::derive_key("mantis-backup 2026 repair", &input);
            let session = Session::begin(self, Purpose::Compact, seed, &options.owner, now).await?;
            let (new, session) = self.write_segment(session, &index, &pages).await?;
            replaced.insert(segment.reference.hash, new);
            held.push(session);
        }
        if options.dry_run {
            report.backups = users.len() as u64;
            return Ok(report);
        }
        for (user, number) in users.into_keys().zip(0u64..) {
            let input = [&entropy[..], b"manifest", &number.to_le_bytes()].concat();
            let seed = blake3::derive_key("mantis-backup 2026 repair", &input);
            self.replace_in(user, &replaced, (seed, now), &options.owner).await?;
            report.backups += 1;
        }
        for session in held {
            session.end().await;
        }
        Ok(report)
    }

    /// Every segment that is damaged; and those that are whole.
    async fn find_damaged(
        &self,
        options: &RepairOptions,
    ) -> Result<(Vec<Damaged>, Vec<SegmentRef>), RepoError> {
        let mut segments: BTreeMap<ObjectHash, Damaged> = BTreeMap::new();
        for backup in self.catalogue().await?.backups {
            let manifest = match self.manifest(&backup).await {
                Ok(manifest) => manifest,
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error),
            };
            for reference in manifest.segments() {
                let known = segments.entry(reference.hash).or_insert_with(|| Damaged {
                    reference: reference.clone(),
                    what: String::new(),
                    users: Vec::new(),
                });
                known.users.push((backup.session, backup.id));
            }
        }
        let (mut damaged, mut whole) = (Vec::new(), Vec::new());
        for (_, mut segment) in segments {
            if options.cancel.is_cancelled() {
                return Err(RepoError::Cancelled);
            }
            let reader = SegmentReader::new(self.vault(), &segment.reference)?;
            match self.check_segment(&reader).await {
                Ok(()) => whole.push(segment.reference),
                Err(error) if error.is_damage() => {
                    segment.what = mantis_sink::error_chain(&error);
                    damaged.push(segment);
                }
                Err(error) => return Err(error),
            }
        }
        Ok((damaged, whole))
    }

    /// The pages of a damaged segment that can be had, and how many of them came from other segments.
    async fn gather_pages(
        &self,
        reference: &SegmentRef,
        index: &SegmentIndex,
        whole: &[SegmentRef],
    ) -> Result<(Pages, u64), RepoError> {
        let mut pages = self.readable_pages(reference).await?;
        let mut wanted: HashMap<PageHash, Vec<u64>> = HashMap::new();
        for (page, hash) in index.data_pages().filter(|(page, _)| !pages.contains_key(&page.get()))
        {
            wanted.entry(hash).or_default().push(page.get());
        }
        let before = pages.len();
        for other in whole {
            if wanted.is_empty() {
                break;
            }
            let reader = SegmentReader::new(self.vault(), other)?;
            let found = reader.index(self).await?;
            if found.page_size != index.page_size
                || !found.data_pages().any(|(_, hash)| wanted.contains_key(&hash))
            {
                continue;
            }
            let bytes = reader.fetch(self.sink()).await?;
            let hasher = self.page_hasher().clone();
            let hits = wanted.clone();
            let size = index.page_size.bytes();
            let got = blocking(move || {
                let mut got: HashMap<PageHash, Bytes> = HashMap::new();
                let open = reader.open(bytes, false)?;
                open.read_pages(&hasher, &|_| true, &mut |run| {
                    for content in run.bytes().chunks_exact(size) {
                        let hash = hasher.hash(content);
                        if hits.contains_key(&hash) {
                            got.entry(hash).or_insert_with(|| Bytes::copy_from_slice(content));
                        }
                    }
                    Ok(())
                })?;
                Ok(got)
            })
            .await?;
            for (hash, content) in got {
                for page in wanted.remove(&hash).into_iter().flatten() {
                    pages.insert(page, content.clone());
                }
            }
        }
        let refilled = (pages.len() - before) as u64;
        Ok((pages, refilled))
    }

    /// The pages of those frames of a segment that can be read.
    async fn readable_pages(&self, reference: &SegmentRef) -> Result<Pages, RepoError> {
        let reader = SegmentReader::new(self.vault(), reference)?;
        let bytes = match reader.fetch(self.sink()).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_damage() => return Ok(Pages::new()),
            Err(error) => return Err(error),
        };
        let hasher = self.page_hasher().clone();
        blocking(move || {
            let mut pages = Pages::new();
            // A damaged header or footer hides no frame: the manifest tells what they were.
            let open = reader.open_by_manifest(bytes)?;
            for number in 0..open.index.frames.len() {
                let size = open.index.page_size.bytes();
                let mut found = Vec::new();
                let read = open.read_frame(number, &hasher, &mut |run| {
                    for (page, at) in run.range().pages().zip(0..) {
                        found.push((page.get(), run.bytes().slice(at * size..(at + 1) * size)));
                    }
                    Ok(())
                });
                if read.is_ok() {
                    pages.extend(found);
                }
            }
            Ok(pages)
        })
        .await
        .or_else(|error| if error.is_damage() { Ok(Pages::new()) } else { Err(error) })
    }

    /// Writes a segment with these pages; the session is to be ended once manifests name it.
    async fn write_segment(
        &self,
        mut session: Session,
        index: &SegmentIndex,
        pages: &Pages,
    ) -> Result<(SegmentRef, Session), RepoError> {
        // However long it was, it is made anew as one.
        let options = WriteOptions { segment_len: u64::MAX, ..WriteOptions::default() };
        let mut stream = SegmentStream::new(&session, index.page_size, &options);
        let mut digest = Digest { zero: index.zero.clone(), ..Digest::default() };
        let mut bytes = BytesMut::new();
        let mut failed = None;
        for (page, hash) in index.data_pages() {
            let (Some(content), Some(range)) = (pages.get(&page.get()), PageRange::new(page, 1))
            else {
                continue;
            };
            if bytes.len() + content.len() > FRAME_LEN {
                digest.bytes = std::mem::take(&mut bytes).freeze();
                failed = stream.push_digest(&mut session, std::mem::take(&mut digest)).await.err();
                if failed.is_some() {
                    break;
                }
            }
            extend(&mut digest.data, range);
            digest.hashes.push(hash);
            bytes.extend_from_slice(content);
        }
        digest.bytes = bytes.freeze();
        let written = match failed {
            Some(error) => Err(error),
            None => match stream.push_digest(&mut session, digest).await {
                Ok(()) => stream.finish(&mut session).await,
                Err(error) => Err(error),
            },
        };
        match written {
            Ok(segments) => match <[SegmentRef; 1]>::try_from(segments) {
                Ok([only]) => Ok((only, session)),
                Err(_) => {
                    session.abandon().await;
                    Err(RepoError::WrongPages { what: "a segment came out as several".into() })
                }
            },
            Err(error) => {
                stream.settle().await;
                session.abandon().await;
                Err(error)
            }
        }
    }

    /// Commits the next generation of a manifest, with segments replaced.
    async fn replace_in(
        &self,
        user: SessionId,
        replaced: &HashMap<ObjectHash, SegmentRef>,
        (seed, now): ([u8; 32], UnixMillis),
        owner: &str,
    ) -> Result<(), RepoError> {
        let mut session = Session::begin(self, Purpose::Compact, seed, owner, now).await?;
        match self.store_replaced(&mut session, user, replaced).await {
            Ok(hash) => {
                session.commit(hash).await?;
                let salt = blake3::derive_key("mantis-backup 2026 supersede salt", &seed);
                self.mark_forgotten(user, salt, (now, true)).await.map(drop)
            }
            Err(error) => {
                session.abandon().await;
                Err(error)
            }
        }
    }

    async fn store_replaced(
        &self,
        session: &mut Session,
        user: SessionId,
        replaced: &HashMap<ObjectHash, SegmentRef>,
    ) -> Result<ObjectHash, RepoError> {
        let none = || RepoError::NoSuchBackup { wanted: "is there any more".into() };
        let (mut manifest, _) = self.read_committed(user).await?.ok_or_else(none)?;
        self.fill_layers(&mut manifest).await?;
        let mut layers = Vec::with_capacity(manifest.layers.len());
        for layer in manifest.layers {
            if !layer.segments.iter().any(|segment| replaced.contains_key(&segment.hash)) {
                layers.push(layer);
                continue;
            }
            let swap =
                |segment: SegmentRef| replaced.get(&segment.hash).cloned().unwrap_or(segment);
            let segments: Vec<SegmentRef> = layer.segments.into_iter().map(swap).collect();
            let stored = session.store_layer(segments, layer.borrows).await?;
            layers.push(Layer { shared: layer.shared, ..stored });
        }
        let info = BackupInfo {
            generation: manifest.info.generation + 1,
            session: session.id(),
            ..manifest.info
        };
        session.store_manifest(&Manifest { info, layers, ..manifest }).await
    }
}
