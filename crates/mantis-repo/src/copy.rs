//! Backups copied to a replica, without decoding a page.
//!
//! Each backup is a session of the replica like any other: segments under a name of the session's own, a manifest that
//! names them, the outcome. What the replica holds already is named, not sent: segments of its backups, and what copies
//! and backups that were killed left there. A session that only reads is held over the whole run, so that no collector
//! frees what was found at its beginning; before each backup it is asked whether it was given up.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use mantis_sink::{ObjectKey, Sink};
use mantis_stream::{CancellationToken, ProgressTracker};

use crate::layer_pages::blocking;
use crate::layout::segment_key;
use crate::segment_reader::SegmentReader;
use crate::session_records::{SessionOutcome, create_outcome};
use crate::{
    BackupId, BackupInfo, IndexCache, Layer, LayerList, Manifest, ObjectHash, Place, Purpose,
    RepoError, Repository, SegmentRef, Session, SessionId, UnixMillis,
};

/// Segments on their way at once.
const TRANSFERS: usize = 4;
/// Manifests read at once.
const READS: usize = 16;

/// How backups are copied.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// Who copies, for people.
    pub owner: String,
    /// When, by this machine's clock.
    pub now: UnixMillis,
    /// Where indexes of the replica are kept, if they are.
    pub cache: Option<IndexCache>,
    /// Stops the copy; what arrived is not sent again.
    pub cancel: CancellationToken,
    /// Shows how far it is.
    pub progress: Arc<ProgressTracker>,
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyReport {
    /// Backups that were copied.
    pub backups: u64,
    /// Segments sent.
    pub segments: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Bytes that were there already.
    pub bytes_there: u64,
}

/// Copies backups of one repository to a replica of it.
#[derive(Debug)]
pub struct Copier {
    from: Repository,
    to: Repository,
    options: CopyOptions,
    entropy: [u8; 32],
    sessions: u64,
    /// Held from the first look to the end.
    held: Session,
    backups: HashSet<BackupId>,
    segments: HashMap<ObjectHash, SegmentRef>,
    /// Segments of sessions that ended without a backup: of those only names are known.
    left: HashMap<ObjectHash, (SessionId, u64)>,
    /// Lists of segments that the replica has, by what is in them.
    lists: HashMap<ObjectHash, LayerList>,
    report: CopyReport,
}

/// What is in a layer, wherever its segments are.
fn content(layer: &Layer) -> ObjectHash {
    let mut bytes = Vec::new();
    for segment in &layer.segments {
        bytes.extend_from_slice(&segment.hash.0);
    }
    for run in &layer.borrows {
        for number in [run.first, run.pages, run.segment.into(), run.from] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    ObjectHash::of([&bytes[..]])
}

impl Copier {
    /// Looks at what the replica in `sink` has, and makes it where there is none. `is_dead` as in
    /// [`Session::leftovers`].
    ///
    /// # Errors
    /// [`RepoError::OtherRepository`], or what a store reports.
    pub async fn begin(
        from: &Repository,
        sink: Arc<dyn Sink>,
        options: CopyOptions,
        entropy: [u8; 32],
        is_dead: impl Fn(&str) -> bool + Send,
    ) -> Result<Self, RepoError> {
        let mut to = from.replica_in(sink).await?;
        if let Some(cache) = options.cache.clone() {
            to = to.with_cache(cache);
        }
        let own = blake3::derive_key("mantis-backup 2026 held by a copy", &entropy);
        let held = Session::begin(&to, Purpose::Restore, own, &options.owner, options.now).await?;
        let mut copier = Self {
            from: from.clone(),
            to,
            options,
            entropy,
            sessions: 0,
            held,
            backups: HashSet::new(),
            segments: HashMap::new(),
            left: HashMap::new(),
            lists: HashMap::new(),
            report: CopyReport::default(),
        };
        match copier.survey(is_dead).await {
            Ok(()) => Ok(copier),
            Err(error) => {
                copier.held.end().await;
                Err(error)
            }
        }
    }

    async fn survey(&mut self, is_dead: impl Fn(&str) -> bool + Send) -> Result<(), RepoError> {
        let to = self.to.clone();
        let condemned = to.condemned().await?;
        let live = to.live_sessions().await?;
        let there = to.written_objects().await?;
        let reads = live.into_iter().map(|session| to.read_committed(session));
        let mut reads = futures::stream::iter(reads).buffered(READS);
        while let Some(read) = reads.next().await {
            let mut manifest = match read {
                Ok(Some((manifest, _))) => manifest,
                Ok(None) => continue,
                // What cannot be read there is sent again.
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error),
            };
            match to.fill_layers(&mut manifest).await {
                Ok(()) => self.learn(&manifest, &there, &condemned)?,
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        drop(reads);
        let left = self.held.leftovers(None, is_dead).await?;
        for object in left.sessions.into_iter().flatten() {
            if let Some((session, hash)) = Place::written_by(&object.key) {
                self.left.insert(hash, (session, object.len));
            }
        }
        Ok(())
    }

    /// Notes a backup of the replica: what it names that is there and is not about to be freed. A backup that lost a
    /// segment is not taken for one that is there.
    fn learn(
        &mut self,
        manifest: &Manifest,
        there: &BTreeMap<ObjectKey, u64>,
        condemned: &HashSet<ObjectKey>,
    ) -> Result<(), RepoError> {
        let mut complete = true;
        for layer in &manifest.layers {
            let mut whole = true;
            for segment in &layer.segments {
                let key = segment_key(segment.session, segment.hash)?;
                let found = there.get(&key) == Some(&segment.len);
                complete &= found;
                if found && !condemned.contains(&key) {
                    self.segments.insert(segment.hash, segment.clone());
                } else {
                    whole = false;
                }
            }
            if let Some(list) = layer.list.filter(|_| whole) {
                let key = Place::Layer(list.session, list.hash).key();
                let key = key.map_err(|error| RepoError::damaged("a list", error))?;
                if there.contains_key(&key) && !condemned.contains(&key) {
                    self.lists.insert(content(layer), list);
                }
            }
        }
        if complete {
            self.backups.insert(manifest.info.id);
        }
        Ok(())
    }

    /// The replica.
    #[must_use]
    pub const fn replica(&self) -> &Repository {
        &self.to
    }

    /// Whether the replica has a backup.
    #[must_use]
    pub fn has(&self, backup: &BackupInfo) -> bool {
        self.backups.contains(&backup.id)
    }

    /// Copies a backup, unless it is there; whether it was copied.
    ///
    /// # Errors
    /// What is damaged, what a store reports, [`RepoError::Cancelled`]; [`RepoError::Fenced`] where a collector gave the
    /// run up. What arrived is not sent again by the next run.
    pub async fn copy(&mut self, backup: &BackupInfo) -> Result<bool, RepoError> {
        if self.has(backup) {
            return Ok(false);
        }
        let manifest = self.from.manifest(backup).await?;
        self.sessions += 1;
        let input = [&self.entropy[..], &self.sessions.to_le_bytes()].concat();
        let entropy = blake3::derive_key("mantis-backup 2026 copy of a backup", &input);
        let newest = self.held.id().sequence;
        let (owner, now) = (self.options.owner.clone(), self.options.now);
        let mut session =
            Session::begin_after(&self.to, newest, Purpose::Backup, entropy, &owner, now).await?;
        match self.store(&mut session, manifest).await {
            Ok(hash) => {
                session.commit(hash).await?;
                self.backups.insert(backup.id);
                self.report.backups += 1;
                Ok(true)
            }
            Err(error) => {
                // What arrived may be used by the next run, this process's or another's.
                let salt = session.salt();
                let _ = create_outcome(&self.to, session.id(), &SessionOutcome::Fenced, salt).await;
                Err(error)
            }
        }
    }

    /// Sees to it that what was found at the beginning is still there to be named by a session that began now.
    async fn check_held(&mut self) -> Result<(), RepoError> {
        let outcome = Place::Outcome(self.held.id()).key();
        let outcome = outcome.map_err(|error| RepoError::damaged("an outcome", error))?;
        match self.to.sink().stat(&outcome).await {
            Ok(_) => return Err(RepoError::Fenced),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        let condemned = self.to.condemned().await?;
        // A list is as good as all that it names: those that are still whole are found again by the next run.
        if !condemned.is_empty() {
            self.lists.clear();
        }
        for (session, hash) in condemned.iter().filter_map(Place::written_by) {
            if self.segments.get(&hash).is_some_and(|segment| segment.session == session) {
                self.segments.remove(&hash);
            }
            if self.left.get(&hash).is_some_and(|(owner, _)| *owner == session) {
                self.left.remove(&hash);
            }
        }
        Ok(())
    }

    async fn store(
        &mut self,
        session: &mut Session,
        manifest: Manifest,
    ) -> Result<ObjectHash, RepoError> {
        let stored = self.fill(session, manifest).await?;
        session.store_manifest(&stored).await
    }

    /// Sends what is missing; the manifest as the replica stores it.
    async fn fill(
        &mut self,
        session: &mut Session,
        mut manifest: Manifest,
    ) -> Result<Manifest, RepoError> {
        self.check_held().await?;
        let mut needed: HashMap<ObjectHash, SegmentRef> = HashMap::new();
        for segment in manifest.layers.iter().flat_map(|layer| &layer.segments) {
            needed.entry(segment.hash).or_insert_with(|| segment.clone());
        }
        let missing = self.name_what_is_there(&needed);
        let bytes = missing.iter().map(|segment| segment.len).sum();
        self.options.progress.expect(missing.len() as u64, bytes);
        let id = session.id();
        let this = &*self;
        let transfers = missing.into_iter().map(|segment| async move {
            if this.options.cancel.is_cancelled() {
                return Err(RepoError::Cancelled);
            }
            this.send(id, &segment).await?;
            this.options.progress.add(1, segment.len);
            Ok(segment)
        });
        let sent: Vec<SegmentRef> =
            futures::stream::iter(transfers).buffer_unordered(TRANSFERS).try_collect().await?;
        for segment in sent {
            self.report.segments += 1;
            self.report.bytes += segment.len;
            self.segments.insert(segment.hash, SegmentRef { session: id, ..segment });
        }
        for layer in &mut manifest.layers {
            *layer = self.layer(session, layer).await?;
        }
        manifest.info.session = id;
        // What it was built on is another repository's business.
        (manifest.previous, manifest.token) = (None, None);
        Ok(manifest)
    }

    /// Notes segments that are there; those that are not.
    fn name_what_is_there(&mut self, needed: &HashMap<ObjectHash, SegmentRef>) -> Vec<SegmentRef> {
        let mut missing = Vec::new();
        for (hash, segment) in needed {
            let left = self.left.get(hash).filter(|(_, len)| *len == segment.len);
            if let Some((session, _)) = left.filter(|_| !self.segments.contains_key(hash)) {
                let there = SegmentRef { session: *session, ..segment.clone() };
                self.segments.insert(*hash, there);
            }
            if self.segments.contains_key(hash) {
                self.report.bytes_there += segment.len;
            } else {
                missing.push(segment.clone());
            }
        }
        missing
    }

    async fn send(&self, to: SessionId, segment: &SegmentRef) -> Result<(), RepoError> {
        let reader = SegmentReader::new(self.from.vault(), segment)?;
        let bytes = reader.fetch(self.from.sink()).await?;
        let hash = move || Ok((ObjectHash::of([&bytes[..]]), bytes));
        let (hashed, bytes) = blocking(hash).await?;
        if hashed != segment.hash {
            return Err(RepoError::damaged(&reader.object, "its bytes do not match its name"));
        }
        let place = Place::Segment(to, segment.hash);
        crate::session::put_own(self.to.sink(), place, bytes.into()).await
    }

    /// A layer with the replica's own names.
    async fn layer(&mut self, session: &mut Session, layer: &Layer) -> Result<Layer, RepoError> {
        let missing = || RepoError::WrongPages { what: "a segment was not copied".into() };
        let segments: Vec<SegmentRef> = layer
            .segments
            .iter()
            .map(|segment| self.segments.get(&segment.hash).cloned().ok_or_else(missing))
            .collect::<Result<_, _>>()?;
        let content = content(layer);
        if let Some(list) = self.lists.get(&content).copied() {
            return Ok(Layer { list: Some(list), segments, ..layer.clone() });
        }
        let stored = session.store_layer(segments, layer.borrows.clone()).await?;
        let stored = Layer { shared: layer.shared, ..stored };
        self.lists.extend(stored.list.map(|list| (content, list)));
        Ok(stored)
    }

    /// Ends the run; what it did.
    pub async fn end(self) -> CopyReport {
        self.held.end().await;
        self.report
    }
}
