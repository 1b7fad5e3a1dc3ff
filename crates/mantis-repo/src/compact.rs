//! Puts layers together that the same backups use, so that stacks stay short and unused pages are freed.
//!
//! For each merge of the plan: a session writes the new layer; then each backup that uses the old ones gets the
//! next generation of its manifest, each committed by a session of its own, and the generation before it is
//! forgotten. These are sessions like any other: they refer to nothing that a collector has listed. A crash
//! leaves some backups on the old layers and some on the new one, each whole; the next run does the rest.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt};
use mantis_page::{PageNo, PageRange};
use mantis_stream::CancellationToken;

use crate::compact_plan::{LayerFacts, LayerId, Merge, Stacks, groups, plan};
use crate::forget::read_forget;
use crate::manifest::Layer;
use crate::segment_reader::SegmentReader;
use crate::{
    BackupInfo, Manifest, ObjectHash, Purpose, RepoError, Repository, Session, SessionId,
    UnixMillis,
};

/// Reads under way at once.
const READS: usize = 16;
/// A layer that borrows more pages than this is left as it is: put together with others, it would have to be
/// stored after all.
const MAX_BORROWED: u64 = 4096;
/// Bytes that a borrowed page is taken to need once it is stored.
const BORROWED_LEN: u64 = 2048;

/// Bytes that the pages of a layer that borrows take once they are stored after all, about.
pub(crate) fn borrowed_len(layer: &Layer) -> u64 {
    let pages = layer.borrows.iter().fold(0u64, |sum, run| sum.saturating_add(run.pages));
    pages.saturating_mul(BORROWED_LEN)
}

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

/// What was stored for a layer; for one that only borrows, nothing was.
fn own_bytes(layer: &Layer) -> u64 {
    match (layer.borrows.is_empty(), layer.shared) {
        (true, _) => layer.segments.iter().map(|segment| segment.len).sum(),
        (false, true) => borrowed_len(layer),
        (false, false) => 0,
    }
}

pub(crate) fn range_of(first: u64, pages: u64) -> Option<PageRange> {
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
            facts.insert(*layer, self.layer_facts(known).await?);
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
                    survey.total = survey.total.saturating_add(own_bytes(&layer));
                    survey.layers.insert(id, layer);
                }
            }
            survey.stacks.insert(session, stack);
        }
        Ok(survey)
    }

    /// The bytes and the pages of a layer, from the indexes of its segments.
    pub(crate) async fn layer_facts(&self, layer: &Layer) -> Result<LayerFacts, RepoError> {
        let mut facts = LayerFacts { bytes: own_bytes(layer), ..LayerFacts::default() };
        if !layer.borrows.is_empty() {
            let ranges = layer.borrows.iter().filter_map(|run| range_of(run.first, run.pages));
            ranges.for_each(|range| facts.pages.insert_range(range));
            facts.borrows = !layer.shared;
            facts.bytes = borrowed_len(layer);
            return Ok(facts);
        }
        let reads = layer.segments.clone().into_iter().map(|segment| async move {
            SegmentReader::new(self.vault(), &segment)?.index(self).await
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
                let segments = {
                    let cancel = &self.options.cancel;
                    self.repo.write_merged(session, &manifest, layers, cancel).await?
                };
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

    /// Forgets the generation whose place was taken. Where somebody forgot the backup meanwhile, the new one too; so where that was so
    /// long ago that nothing is left of it.
    async fn supersede(&self, old: SessionId, new: SessionId) -> Result<(), RepoError> {
        let salt = |session: &SessionId| {
            let input = [&self.entropy[..], &session.unique].concat();
            blake3::derive_key("mantis-backup 2026 supersede salt", &input)
        };
        let forgotten_at = if self.repo.is_swept(old).await? {
            Some(self.now)
        } else if self.repo.mark_forgotten(old, salt(&old), (self.now, true)).await? {
            None
        } else {
            match read_forget(self.repo, old).await {
                Ok((at, superseded)) => (!superseded).then_some(at),
                Err(RepoError::Sink { source }) if source.is_not_found() => Some(self.now),
                Err(error) => return Err(error),
            }
        };
        if let Some(at) = forgotten_at {
            self.repo.mark_forgotten(new, salt(&new), (at, false)).await?;
        }
        Ok(())
    }
}
