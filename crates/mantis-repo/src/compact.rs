//! Puts layers together that the same backups use, so that stacks stay short and unused pages are freed.
//!
//! For each merge of the plan: a session writes the new layer; then each backup that uses the old ones gets the
//! next generation of its manifest, each committed by a session of its own, and the generation before it is
//! forgotten. These are sessions like any other: they refer to nothing that a collector has listed. A crash
//! leaves some backups on the old layers and some on the new one, each whole; the next run does the rest.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use mantis_page::{PageNo, PageRange};
use mantis_stream::{CancellationToken, Compression};

use crate::borrow_pages::BorrowPages;
use crate::compact_plan::{LayerFacts, LayerId, Merge, Stacks, groups, plan};
use crate::digest::{Digest, Held, extend};
use crate::encoder::FRAME_LEN;
use crate::forget::read_forget;
use crate::layer_pages::{LayerPage, LayerPages};
use crate::manifest::Layer;
use crate::segment_reader::SegmentReader;
use crate::segment_stream::SegmentStream;
use crate::{
    BackupInfo, Manifest, ObjectHash, Purpose, RepoError, Repository, SegmentRef, Session,
    SessionId, UnixMillis, WriteOptions,
};

/// Reads under way at once.
const READS: usize = 16;
/// A layer that borrows more pages than this is left as it is: put together with others, it would have to be
/// stored after all.
const MAX_BORROWED: u64 = 4096;
/// Bytes that a borrowed page is taken to need once it is stored.
const BORROWED_LEN: u64 = 2048;
/// Bytes of segments that a merge may hold open at once: one for each layer.
const MAX_OPEN: u64 = 192 << 20;

/// How layers are put together.
#[derive(Debug, Clone)]
pub struct CompactOptions {
    /// The share of the repository's bytes that may be unused, from 0 to 1.
    pub max_unused: f64,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Tells people who does it.
    pub owner: String,
    /// Stops it.
    pub cancel: CancellationToken,
}

/// What was put together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Merges made; with a dry run, to be made.
    pub merges: u64,
    /// Layers that went into them.
    pub layers: u64,
    /// Backups that have a new generation of their manifest.
    pub backups: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes that nothing needs any more, about: the next collection frees them with the old layers.
    pub unused_bytes: u64,
}

fn id_of(layer: &Layer) -> LayerId {
    let borrows = layer.borrows.iter().map(|borrow| format!("{borrow:?}")).collect::<String>();
    let segments = layer.segments.iter().map(|segment| &segment.hash.0[..]);
    ObjectHash::of(segments.chain([borrows.as_bytes()]))
}

/// What a layer's own segments take; one that borrows has none.
fn own_bytes(layer: &Layer) -> u64 {
    if layer.borrows.is_empty() {
        layer.segments.iter().map(|segment| segment.len).sum()
    } else {
        0
    }
}

fn range_of(first: u64, pages: u64) -> Option<PageRange> {
    PageNo::new(first).and_then(|first| PageRange::new(first, pages))
}

/// The layers of all backups.
#[derive(Default)]
struct Survey {
    stacks: Stacks,
    layers: BTreeMap<LayerId, Layer>,
    /// Layers that borrow much: they are left as they are, and nothing is put together across them.
    fixed: BTreeSet<LayerId>,
    total: u64,
}

impl Repository {
    /// Plans and makes merges. Each is whole before the next begins.
    ///
    /// # Errors
    /// What is damaged, or what the store reports; [`RepoError::Cancelled`].
    pub async fn compact(
        &self,
        options: &CompactOptions,
        entropy: [u8; 32],
        now: UnixMillis,
    ) -> Result<CompactReport, RepoError> {
        let survey = self.survey().await?;
        let mut facts: BTreeMap<LayerId, LayerFacts> = BTreeMap::new();
        for layer in groups(&survey.stacks, &survey.fixed).iter().flat_map(|(run, _)| run) {
            let Some(known) = survey.layers.get(layer) else { continue };
            facts.insert(*layer, self.facts(known).await?);
        }
        let merges =
            plan((&survey.stacks, &survey.fixed), &facts, survey.total, options.max_unused);
        let mut report = CompactReport::default();
        // Which session made the newest generation of what another one had made, in the merges so far.
        let mut newest: BTreeMap<SessionId, SessionId> = BTreeMap::new();
        for (merge, number) in merges.into_iter().zip(0u64..) {
            if options.cancel.is_cancelled() {
                return Err(RepoError::Cancelled);
            }
            report.merges += 1;
            report.layers += merge.layers.len() as u64;
            report.unused_bytes += merge.unused;
            if options.dry_run {
                report.backups += merge.users.len() as u64;
                continue;
            }
            let input = [&entropy[..], &number.to_le_bytes()].concat();
            let entropy = blake3::derive_key("mantis-backup 2026 merge", &input);
            let layers = merge.layers.iter().filter_map(|id| survey.layers.get(id).cloned());
            let run = Run { repo: self, options, entropy, now, merge: &merge, sessions: 0 };
            run.make(layers.collect(), &mut newest, &mut report).await?;
        }
        Ok(report)
    }

    async fn survey(&self) -> Result<Survey, RepoError> {
        let catalogue = self.catalogue().await?;
        let mut survey = Survey::default();
        // Lists are shared by many manifests: each is read once.
        let mut lists: BTreeMap<ObjectHash, LayerId> = BTreeMap::new();
        let sessions: Vec<SessionId> =
            catalogue.backups.iter().map(|backup| backup.session).collect();
        let reads = sessions.into_iter().map(|session| self.read_committed(session));
        let mut reads = futures::stream::iter(reads).buffered(READS);
        while let Some(read) = reads.try_next().await? {
            let Some((manifest, _)) = read else { continue };
            let session = manifest.info.session;
            let mut stack = Vec::with_capacity(manifest.layers.len());
            for mut layer in manifest.layers {
                if let Some(list) = layer.list {
                    if let Some(known) = lists.get(&list.hash) {
                        stack.push(*known);
                        continue;
                    }
                    layer = Layer { list: Some(list), ..self.read_list(list).await? };
                }
                let id = id_of(&layer);
                lists.extend(layer.list.map(|list| (list.hash, id)));
                stack.push(id);
                if layer.borrows.iter().map(|run| run.pages).sum::<u64>() > MAX_BORROWED {
                    survey.fixed.insert(id);
                } else if !survey.layers.contains_key(&id) {
                    survey.total += own_bytes(&layer);
                    survey.layers.insert(id, layer);
                }
            }
            survey.stacks.insert(session, stack);
        }
        Ok(survey)
    }

    async fn facts(&self, layer: &Layer) -> Result<LayerFacts, RepoError> {
        let mut facts = LayerFacts { bytes: own_bytes(layer), ..LayerFacts::default() };
        if !layer.borrows.is_empty() {
            let ranges = layer.borrows.iter().filter_map(|run| range_of(run.first, run.pages));
            ranges.for_each(|range| facts.pages.insert_range(range));
            facts.borrows = true;
            // What they take once they are stored after all, about.
            facts.bytes = facts.pages.len() * BORROWED_LEN;
            return Ok(facts);
        }
        let reads = layer.segments.clone().into_iter().map(|segment| async move {
            SegmentReader::new(self.vault(), &segment)?.index(self.sink()).await
        });
        let mut reads = futures::stream::iter(reads).buffered(READS);
        while let Some(index) = reads.try_next().await? {
            index.zero.iter().chain(&index.data).for_each(|range| facts.pages.insert_range(*range));
        }
        Ok(facts)
    }
}

/// One merge being made.
struct Run<'a> {
    repo: &'a Repository,
    options: &'a CompactOptions,
    entropy: [u8; 32],
    now: UnixMillis,
    merge: &'a Merge,
    sessions: u64,
}

impl Run<'_> {
    async fn session(&mut self) -> Result<Session, RepoError> {
        self.sessions += 1;
        let input = [&self.entropy[..], &self.sessions.to_le_bytes()].concat();
        let entropy = blake3::derive_key("mantis-backup 2026 merge session", &input);
        let (owner, now) = (&self.options.owner, self.now);
        Session::begin(self.repo, Purpose::Compact, entropy, owner, now).await
    }

    /// The manifest of a user, if it is still live, nothing of it is condemned, and all of it is there.
    async fn usable(&self, user: SessionId) -> Result<Option<Manifest>, RepoError> {
        let condemned = self.repo.condemned().await?;
        if self.repo.live_sessions().await?.binary_search(&user).is_err() {
            return Ok(None);
        }
        let Some((mut manifest, _)) = self.repo.read_committed(user).await? else {
            return Ok(None);
        };
        self.repo.fill_layers(&mut manifest).await?;
        let doubtful = manifest.keys()?.iter().any(|key| condemned.contains(key))
            || self.repo.missing_segment(&manifest).await?.is_some();
        Ok((!doubtful).then_some(manifest))
    }

    async fn make(
        mut self,
        layers: Vec<Layer>,
        newest: &mut BTreeMap<SessionId, SessionId>,
        report: &mut CompactReport,
    ) -> Result<(), RepoError> {
        // Those that are open at once must fit; the older ones wait for the next run.
        let largest = |layer: &Layer| layer.segments.iter().map(|segment| segment.len).max();
        let mut open = 0;
        let fitting = layers.iter().rev().take_while(|layer| {
            open += largest(layer).unwrap_or(0);
            open <= MAX_OPEN
        });
        let layers = layers[layers.len() - fitting.count()..].to_vec();
        if layers.len() < 2 {
            return Ok(());
        }
        let mut merged: Option<Layer> = None;
        for first in self.merge.users.clone() {
            let user = newest.get(&first).copied().unwrap_or(first);
            let mut session = self.session().await?;
            match self.next_generation(&mut session, user, &layers, &mut merged, report).await {
                Ok(Some(hash)) => {
                    let next = session.id();
                    session.commit(hash).await?;
                    self.supersede(user, next).await?;
                    newest.insert(first, next);
                    report.backups += 1;
                }
                Ok(None) => session.abandon().await,
                Err(error) => {
                    session.abandon().await;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Stores the next generation of a user's manifest, and before the first one the new layer.
    async fn next_generation(
        &self,
        session: &mut Session,
        user: SessionId,
        layers: &[Layer],
        merged: &mut Option<Layer>,
        report: &mut CompactReport,
    ) -> Result<Option<ObjectHash>, RepoError> {
        let Some(manifest) = self.usable(user).await? else { return Ok(None) };
        let run = manifest.layers.windows(layers.len()).position(|run| run == layers);
        let Some(at) = run else { return Ok(None) };
        let layer = match merged {
            Some(layer) => layer.clone(),
            None => {
                let segments = self.write(session, &manifest, layers).await?;
                let own = segments.iter().filter(|segment| segment.session == session.id());
                report.written_bytes += own.map(|segment| segment.len).sum::<u64>();
                merged.insert(session.store_layer(segments, Vec::new()).await?).clone()
            }
        };
        let mut next = manifest;
        next.layers.splice(at..at + layers.len(), [layer]);
        next.info =
            BackupInfo { generation: next.info.generation + 1, session: session.id(), ..next.info };
        session.store_manifest(&next).await.map(Some)
    }

    /// Forgets the generation whose place was taken. Where somebody forgot the backup meanwhile, the new one too.
    async fn supersede(&self, old: SessionId, new: SessionId) -> Result<(), RepoError> {
        let salt = |session: &SessionId| {
            let input = [&self.entropy[..], &session.unique].concat();
            blake3::derive_key("mantis-backup 2026 supersede salt", &input)
        };
        self.repo.mark_forgotten(old, salt(&old), (self.now, true)).await?;
        let (at, superseded) = read_forget(self.repo, old).await?;
        if !superseded {
            self.repo.mark_forgotten(new, salt(&new), (at, false)).await?;
        }
        Ok(())
    }

    /// Writes the pages of layers as one layer. Segments that no other layer touches are taken as they are.
    async fn write(
        &self,
        session: &mut Session,
        manifest: &Manifest,
        layers: &[Layer],
    ) -> Result<Vec<SegmentRef>, RepoError> {
        let page_size = manifest.page_size("the manifest")?;
        let compression = manifest.info.compression.parse::<Compression>().unwrap_or_default();
        let options = WriteOptions {
            compression,
            cancel: self.options.cancel.clone(),
            ..WriteOptions::default()
        };
        let mut stream = SegmentStream::new(session, page_size, &options);
        let written = self.write_clusters(session, layers, &mut stream).await;
        if written.is_err() {
            stream.settle().await;
        }
        written
    }

    async fn write_clusters(
        &self,
        session: &mut Session,
        layers: &[Layer],
        stream: &mut SegmentStream,
    ) -> Result<Vec<SegmentRef>, RepoError> {
        let mut segments = Vec::new();
        for cluster in clusters(layers) {
            if let [Piece { segment: Some(only), .. }] = cluster[..] {
                stream.cut(session).await?;
                segments.push(only.clone());
                continue;
            }
            let bounds = (
                cluster.iter().map(|piece| piece.first).min().unwrap_or(0),
                cluster.iter().map(|piece| piece.last).max().unwrap_or(0),
            );
            let mut sources = Vec::new();
            for (layer, number) in layers.iter().zip(0..) {
                let own = cluster.iter().filter(|piece| piece.layer == number);
                let own = own.filter_map(|piece| piece.segment);
                let mut pages = if layer.borrows.is_empty() {
                    Pages::Own(LayerPages::new(self.repo, own)?)
                } else {
                    Pages::Borrowed(BorrowPages::new(self.repo, layer, bounds)?)
                };
                let first = pages.next().await?;
                sources.push((pages, first));
            }
            merge_pages(session, &mut sources, stream).await?;
        }
        segments.extend(stream.finish(session).await?);
        segments.sort_by_key(|segment| segment.first);
        Ok(segments)
    }
}

/// The pages of a layer of either kind.
enum Pages {
    Own(LayerPages),
    Borrowed(BorrowPages),
}

impl Pages {
    async fn next(&mut self) -> Result<Option<LayerPage>, RepoError> {
        match self {
            Self::Own(pages) => pages.next().await,
            Self::Borrowed(pages) => pages.next().await,
        }
    }
}

/// A segment of a layer, or a run that it borrows.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    layer: usize,
    first: u64,
    last: u64,
    segment: Option<&'a SegmentRef>,
}

fn pieces(layer: &Layer, number: usize) -> Vec<Piece<'_>> {
    if layer.borrows.is_empty() {
        let piece = |segment: &'_ SegmentRef| (segment.first, segment.last);
        let all = layer.segments.iter().map(|segment| (piece(segment), Some(segment)));
        return all
            .map(|((first, last), segment)| Piece { layer: number, first, last, segment })
            .collect();
    }
    let runs = layer.borrows.iter().map(|run| (run.first, run.first + run.pages - 1));
    runs.map(|(first, last)| Piece { layer: number, first, last, segment: None }).collect()
}

/// Pieces that overlap, directly or through others; clusters ascend.
fn clusters(layers: &[Layer]) -> Vec<Vec<Piece<'_>>> {
    let mut all: Vec<Piece<'_>> =
        layers.iter().enumerate().flat_map(|(number, layer)| pieces(layer, number)).collect();
    all.sort_by_key(|piece| (piece.first, piece.layer));
    let mut clusters: Vec<Vec<Piece<'_>>> = Vec::new();
    let mut end = 0;
    for piece in all {
        match clusters.last_mut() {
            Some(cluster) if piece.first <= end => cluster.push(piece),
            _ => clusters.push(vec![piece]),
        }
        end = end.max(piece.last);
    }
    clusters
}

/// Gives out the pages of layers, oldest layer first, in the order of the pages; of two copies the newer one.
async fn merge_pages(
    session: &mut Session,
    sources: &mut [(Pages, Option<LayerPage>)],
    stream: &mut SegmentStream,
) -> Result<(), RepoError> {
    let mut digest = Digest::default();
    let mut bytes = BytesMut::new();
    loop {
        let smallest =
            sources.iter().filter_map(|(_, next)| next.as_ref()).map(|next| next.0).min();
        let Some(page) = smallest else { break };
        let mut newest = None;
        for (pages, next) in sources.iter_mut() {
            if next.as_ref().is_some_and(|next| next.0 == page) {
                newest = next.take();
                *next = pages.next().await?;
            }
        }
        let Some((page, held, content)) = newest else { continue };
        let Some(range) = range_of(page, 1) else { continue };
        if bytes.len() + content.len() > FRAME_LEN {
            digest.bytes = std::mem::take(&mut bytes).freeze();
            stream.push_digest(session, std::mem::take(&mut digest)).await?;
        }
        match held {
            Held::Zero => extend(&mut digest.zero, range),
            Held::Page(hash) => {
                extend(&mut digest.data, range);
                digest.hashes.push(hash);
                bytes.extend_from_slice(&content);
            }
        }
    }
    digest.bytes = Bytes::from(bytes);
    stream.push_digest(session, digest).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(first: u64, last: u64) -> SegmentRef {
        let session = SessionId { sequence: 1, unique: [0; 16] };
        let (hash, len) = (ObjectHash([0; 32]), 0);
        SegmentRef {
            session,
            hash,
            len,
            index_at: 0,
            index_len: 0,
            index_hash: hash,
            salt: hash,
            key: 0,
            first,
            last,
            pages: 1,
        }
    }

    #[test]
    fn segments_that_nothing_touches_stay_alone() {
        let layer = |bounds: &[(u64, u64)]| Layer {
            list: None,
            borrows: Vec::new(),
            segments: bounds.iter().map(|(first, last)| segment(*first, *last)).collect(),
        };
        let layers =
            [layer(&[(1, 10), (11, 20), (21, 30)]), layer(&[(15, 16), (18, 25), (40, 50)])];
        let found: Vec<Vec<(usize, u64)>> = clusters(&layers)
            .iter()
            .map(|cluster| cluster.iter().map(|piece| (piece.layer, piece.first)).collect())
            .collect();
        assert_eq!(found, [vec![(0, 1)], vec![(0, 11), (1, 15), (1, 18), (0, 21)], vec![(1, 40)],]);
    }
}
