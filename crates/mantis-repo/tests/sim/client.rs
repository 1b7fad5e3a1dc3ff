//! What clients do, each with a handle of its own.

use std::sync::{Arc, Mutex};

use mantis_repo::{
    CompactOptions, Copier, CopyOptions, PruneOptions, RepoError, Repository, UnixMillis,
};
use mantis_sink::{Chance, Sink};
use mantis_stream::{CancellationToken, Compression};

use crate::keys;
use crate::model::Model;
use crate::world::{backup_by, content, incremental_by, meta, plain, restore, touch};

/// What a client is about to do, and what chance it has.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) name: &'static str,
    pub(crate) chance: Chance,
    pub(crate) now: i64,
}

/// What clients can be about to do.
pub(crate) const NAMES: [&str; 15] = [
    "back up",
    "back up",
    "back up",
    "back up",
    "back up",
    "forget",
    "forget",
    "bring back",
    "prune",
    "prune",
    "prune",
    "compact",
    "restore",
    "copy",
    "change keys",
];

pub(crate) type Shared = Arc<Mutex<Model>>;

/// Where copies go, and what is known of them.
pub(crate) type Replica = (Arc<dyn Sink>, Shared);

/// Does it.
pub(crate) async fn work(
    repo: Repository,
    task: Task,
    model: Shared,
    replica: Replica,
) -> Result<(), RepoError> {
    match task.name {
        "copy" => copy(&repo, task, &model, replica).await,
        "change keys" => {
            let Task { mut chance, now, .. } = task;
            keys::change(&repo, &mut chance, UnixMillis(now)).await
        }
        "back up" => back_up(&repo, task, &model).await,
        "forget" => forget(&repo, task, &model).await,
        "bring back" => bring_back(&repo, task, &model).await,
        "prune" => {
            let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
            let Task { mut chance, now, .. } = task;
            repo.prune(options, chance.entropy(), UnixMillis(now)).await.map(|_| ())
        }
        "compact" => {
            let Task { mut chance, now, .. } = task;
            let options = CompactOptions {
                max_unused: if chance.of_thousand(500) { 0.0 } else { 0.05 },
                dry_run: false,
                owner: "sim".into(),
                cancel: CancellationToken::new(),
            };
            repo.compact(&options, chance.entropy(), UnixMillis(now)).await.map(|_| ())
        }
        _ => restore_one(&repo, task, &model).await,
    }
}

async fn back_up(repo: &Repository, task: Task, model: &Shared) -> Result<(), RepoError> {
    let Task { mut chance, now, .. } = task;
    let source = ["a", "b"][chance.below(2) as usize];
    // What the database is now: what it was, and some pages changed; or another one altogether.
    let newest = {
        let model = model.lock().unwrap();
        let of_source = model.attempts.iter().filter(|((name, _), _)| name == source);
        of_source.max_by_key(|((_, at), _)| *at).map(|(_, bytes)| bytes.clone())
    };
    let bytes = match newest {
        Some(mut bytes) if !chance.of_thousand(100) => {
            let pages = (bytes.len() / 512) as u64;
            for _ in 0..chance.below(6) {
                touch(&mut bytes, chance.below(pages), chance.below(256) as u8);
            }
            bytes
        }
        _ => content(chance.next(), 20 + chance.below(40)),
    };
    let meta = meta(source, now, &bytes);
    model.lock().unwrap().attempts.insert((source.into(), now), bytes.clone());
    let entropy = chance.entropy();
    let made = if chance.of_thousand(200) {
        backup_by(repo, entropy, meta, &bytes, plain(Compression::None)).await?
    } else {
        incremental_by(repo, entropy, meta, &bytes, None).await?
    };
    model.lock().unwrap().told(made.id, bytes);
    Ok(())
}

async fn forget(repo: &Repository, task: Task, model: &Shared) -> Result<(), RepoError> {
    let Task { mut chance, now, .. } = task;
    let catalogue = repo.catalogue().await?;
    let mut ids = Vec::new();
    for backup in &catalogue.backups {
        if chance.of_thousand(500) {
            ids.push(backup.id);
        }
    }
    for id in &ids {
        model.lock().unwrap().doom(*id);
    }
    repo.forget(&catalogue, &ids, chance.entropy(), UnixMillis(now)).await
}

async fn bring_back(repo: &Repository, task: Task, model: &Shared) -> Result<(), RepoError> {
    let Task { mut chance, now, .. } = task;
    let forgotten = repo.forgotten().await?;
    if forgotten.is_empty() {
        return Ok(());
    }
    let (old, _) = &forgotten[chance.below(forgotten.len() as u64) as usize];
    let bytes = {
        let mut model = model.lock().unwrap();
        let bytes = model.content(old).to_vec();
        // It comes back under its old time, as another backup.
        model.attempts.insert((old.meta.source.clone(), old.meta.created_at.0), bytes.clone());
        bytes
    };
    let back =
        repo.bring_back(&old.id.to_string(), chance.entropy(), "sim", UnixMillis(now)).await?;
    model.lock().unwrap().told(back.id, bytes);
    Ok(())
}

/// Some backups, or all, to the replica. Of those who copy some are taken for dead by others while they are alive.
async fn copy(
    repo: &Repository,
    task: Task,
    model: &Shared,
    (sink, there): Replica,
) -> Result<(), RepoError> {
    let Task { mut chance, now, .. } = task;
    let options =
        CopyOptions { owner: "sim".into(), now: UnixMillis(now), ..CopyOptions::default() };
    let dead = chance.of_thousand(200);
    let mut copier = Copier::begin(repo, sink, options, chance.entropy(), |_| dead).await?;
    let copied = async {
        for backup in repo.catalogue().await?.backups {
            if chance.of_thousand(300) {
                continue;
            }
            let bytes = model.lock().unwrap().content(&backup).to_vec();
            let attempt = (backup.meta.source.clone(), backup.meta.created_at.0);
            there.lock().unwrap().attempts.insert(attempt, bytes.clone());
            // It may be forgotten and freed meanwhile.
            if copier.copy(&backup).await? {
                there.lock().unwrap().told(backup.id, bytes);
            }
        }
        Ok(())
    };
    let copied = copied.await;
    copier.end().await;
    copied
}

async fn restore_one(repo: &Repository, task: Task, model: &Shared) -> Result<(), RepoError> {
    let mut chance = task.chance;
    let catalogue = repo.catalogue().await?;
    if catalogue.backups.is_empty() {
        return Ok(());
    }
    let backup = &catalogue.backups[chance.below(catalogue.backups.len() as u64) as usize];
    // It may be forgotten and freed meanwhile; then that is an error, and never other bytes.
    let restored = restore(repo, backup).await?;
    assert!(restored == model.lock().unwrap().content(backup), "{backup:?} gave something else");
    Ok(())
}
