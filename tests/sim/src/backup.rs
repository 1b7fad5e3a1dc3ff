//! A backup of a live database, with all that a job does for one.

use std::collections::BTreeMap;
use std::time::Duration;

use mantis_page::{PageNo, PageRange, PageSet};
use mantis_repo::{
    BackupInfo, BackupMeta, BackupWriter, Leftovers, Parent, Purpose, Repository, Session,
    WriteOptions,
};
use mantis_sink::Chance;
use mantis_snapshot::{Outcome, Snapshot};
use mantis_stream::Compression;

use crate::client::{Failure, Shared};
use crate::clock::Clock;
use crate::database::{Databases, NAMES};
use crate::world::plain;

/// Bytes.
const SHORT_SEGMENT: u64 = 4 << 10;
/// Pages that are read at once.
const BATCH: u64 = 16;

/// Who backs up, what and by which clock.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) databases: Databases,
    /// The database's index.
    pub(crate) source: usize,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
}

/// Backs it up.
pub(crate) async fn back_up(
    repo: &Repository,
    job: Job,
    model: &Shared,
) -> Result<BackupInfo, Failure> {
    let Job { databases, source, clock, mut chance } = job;
    let name = NAMES[source];
    let entropy = chance.entropy();
    let session = Session::begin(repo, Purpose::Backup, entropy, "sim", clock.now()).await?;
    // Days of the simulation pass in a second: what such a look found may be long gone.
    let looks = if chance.of_thousand(300) { Duration::from_secs(1) } else { Duration::ZERO };
    let mut session = session.with_looks_good_for(looks);
    let (full, taken_for_dead) = (chance.of_thousand(200), chance.of_thousand(100));
    let taken = async {
        let parent = if full { None } else { session.parent(name).await? };
        let token = parent.as_ref().and_then(Parent::token);
        let frozen = databases.lock().unwrap()[source].freeze(name, token.as_deref())?;
        Ok::<_, Failure>((parent, frozen))
    };
    let (parent, (snapshot, image)) = match taken.await {
        Ok(taken) => taken,
        Err(error) => {
            session.abandon().await;
            return Err(error);
        }
    };
    let meta = describe(name, &snapshot, &clock, model, &image);
    let leftovers = match full {
        true => Leftovers::default(),
        false => {
            let after = parent.as_ref().map(|parent| parent.info().session);
            session.leftovers(after, |_| taken_for_dead).await.unwrap_or_default()
        }
    };
    let (parent, changed) = since(parent, &snapshot)?;
    let others = match &parent {
        None if !full => session.others(name, 16).await.unwrap_or_default(),
        _ => Vec::new(),
    };
    let codec = if chance.of_thousand(500) { Compression::Zstd(1) } else { Compression::None };
    // Of short segments there are some more, and the moment is held for longer.
    let segment_len = if chance.of_thousand(300) { SHORT_SEGMENT } else { 0 };
    let options = WriteOptions { segment_len, ..plain(codec) };
    let writer = BackupWriter::new(session, meta, parent, options);
    let mut writer = writer.map_err(|failed| failed.1)?;
    // What cannot be taken over, or compared with, is sent again.
    let _ = writer.resume(&leftovers).await;
    for other in others {
        let _ = writer.learn(&other).await;
    }
    let written = async {
        send(&snapshot, changed, &mut writer).await?;
        let token = snapshot.finish(Outcome::Committed)?;
        writer.flush().await?;
        Ok::<_, Failure>(token)
    };
    match written.await {
        Ok(token) => {
            let token = token.map(|token| databases.lock().unwrap()[source].remember(token));
            let made = writer.commit(5, token.as_deref()).await?;
            model.lock().unwrap().told(made.id, image);
            Ok(made)
        }
        Err(error) => {
            writer.abandon().await;
            Err(error)
        }
    }
}

/// What the backup says of itself; the model learns that it may come to be.
fn describe(
    name: &str,
    snapshot: &Snapshot,
    clock: &Clock,
    model: &Shared,
    image: &[u8],
) -> BackupMeta {
    let (point, geometry) = (snapshot.point(), snapshot.geometry());
    let created_at = model.lock().unwrap().attempt(name, clock.now(), image);
    BackupMeta {
        source: name.into(),
        engine: "memory".into(),
        object: "memory".into(),
        lsn: point.lsn.get(),
        timeline: String::new(),
        way: point.way.name().into(),
        created_at,
        tags: BTreeMap::new(),
        page_size: geometry.page_size.get(),
        page_count: geometry.page_count,
        byte_len: geometry.byte_len,
    }
}

/// The parent, and which pages are to be read: none where that is all.
fn since(
    parent: Option<Parent>,
    snapshot: &Snapshot,
) -> Result<(Option<Parent>, Option<PageSet>), Failure> {
    let Some(parent) = parent else { return Ok((None, None)) };
    let Some(mut changed) = snapshot.changed()? else { return Ok((Some(parent), None)) };
    let (end, count) = (parent.info().meta.page_count, snapshot.geometry().page_count);
    let past =
        PageNo::from_index(end).and_then(|first| PageRange::new(first, count.saturating_sub(end)));
    if let Some(past) = past {
        changed.insert_range(past);
    }
    let parent = parent.sparse(&mut changed);
    Ok((Some(parent), Some(changed)))
}

async fn send(
    snapshot: &Snapshot,
    changed: Option<PageSet>,
    writer: &mut BackupWriter,
) -> Result<(), Failure> {
    let count = snapshot.geometry().page_count;
    let ranges: Vec<PageRange> = match &changed {
        None => PageRange::new(PageNo::FIRST, count).into_iter().collect(),
        // What was cut off since is no page any more.
        Some(changed) => changed
            .ranges()
            .filter_map(|range| {
                let left = count.checked_sub(range.first().index())?;
                PageRange::new(range.first(), range.len().min(left))
            })
            .collect(),
    };
    for range in ranges.into_iter().flat_map(|range| range.split(BATCH)) {
        writer.push(snapshot.read_run(range)?).await?;
    }
    Ok(())
}
