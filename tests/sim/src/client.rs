//! What clients do, each with a handle of its own.

use std::error::Error;
use std::sync::{Arc, Mutex};

use mantis_repo::{CompactOptions, Copier, CopyOptions, PruneOptions, Repository};
use mantis_sink::{Chance, Sink};
use mantis_stream::CancellationToken;

use crate::backup::{Job, back_up};
use crate::clock::{Clock, DAY};
use crate::daemon::{self, Daemon, SharedHost};
use crate::database::{Databases, NAMES as SOURCES};
use crate::keys;
use crate::model::Model;
use crate::store::Gate;
use crate::world::restore;

/// What a client ends with that did not do what it was about to do.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What a client is about to do, and what chance it has.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) name: &'static str,
    pub(crate) chance: Chance,
    pub(crate) clock: Clock,
    /// Nobody else uses the repository meanwhile.
    pub(crate) alone: bool,
}

/// What a client is, and what others have a part in.
pub(crate) struct Client {
    pub(crate) repo: Repository,
    pub(crate) task: Task,
    pub(crate) model: Shared,
    /// Where copies go, and what is known of them.
    pub(crate) replica: (Arc<dyn Sink>, Shared),
    pub(crate) databases: Databases,
    pub(crate) host: SharedHost,
    pub(crate) gate: Arc<Gate>,
    /// Whether what keeps a repository small may run beside others.
    pub(crate) frees: bool,
}

/// What clients can be about to do in every history.
const ALWAYS: [&str; 9] =
    ["back up", "back up", "back up", "back up", "forget", "forget", PRUNE, PRUNE, PRUNE];
/// What they can be about to do in some.
const SOMETIMES: [&str; 8] =
    ["bring back", "compact", "copy", "copy", "change keys", "watch", DAEMON, RESTORE];
pub(crate) const DAEMON: &str = "run the schedules";
pub(crate) const PRUNE: &str = "prune";
pub(crate) const RESTORE: &str = "restore";

pub(crate) type Shared = Arc<Mutex<Model>>;

/// What clients can be about to do in one history. What not all have a part in meets more often what it meets (Groce and others, "Swarm
/// Testing", 2012).
pub(crate) fn names(chance: &mut Chance) -> Vec<&'static str> {
    let mut names = ALWAYS.to_vec();
    names.extend(SOMETIMES.into_iter().filter(|_| chance.of_thousand(500)));
    names
}

/// Does it.
pub(crate) async fn work(client: Client) -> Result<(), Failure> {
    let Client { repo, task, model, replica, databases, host, gate, frees } = client;
    match task.name {
        "copy" => Box::pin(copy(&repo, task, &model, replica)).await,
        "change keys" => {
            let Task { mut chance, clock, .. } = task;
            Ok(keys::change(&repo, &mut chance, clock.now()).await?)
        }
        "back up" => {
            let Task { mut chance, clock, .. } = task;
            let source = chance.index(SOURCES.len());
            let job = Job { databases, source, clock, chance };
            Box::pin(back_up(&repo, job, &model)).await.map(drop)
        }
        // By one handle, which remembers what it did before, while others do as they like.
        "watch" => {
            let Task { mut chance, clock, .. } = task;
            let source = chance.index(SOURCES.len());
            for _ in 0..2 + chance.below(5) {
                let (databases, clock) = (Arc::clone(&databases), clock.clone());
                let chance = Chance::new(chance.next());
                let job = Job { databases, source, clock, chance };
                Box::pin(back_up(&repo, job, &model)).await?;
            }
            Ok(())
        }
        DAEMON => {
            let Task { chance, clock, .. } = task;
            let daemon = Daemon { host, gate, clock, chance, databases, frees, quiet: false };
            Box::pin(daemon::run(&repo, daemon, &model)).await
        }
        "forget" => forget(&repo, task, &model).await,
        "bring back" => bring_back(&repo, task, &model).await,
        PRUNE => {
            let Task { mut chance, clock, alone, .. } = task;
            let grace_ms = if chance.of_thousand(250) { DAY.unsigned_abs() } else { 0 };
            let options = PruneOptions { grace_ms, dry_run: false, exclusive: alone };
            repo.prune(options, chance.entropy(), clock.now()).await?;
            Ok(())
        }
        "compact" => {
            let Task { mut chance, clock, .. } = task;
            let options = CompactOptions {
                max_unused: if chance.of_thousand(500) { 0.0 } else { 0.05 },
                dry_run: false,
                owner: "sim".into(),
                cancel: CancellationToken::new(),
            };
            repo.compact(&options, chance.entropy(), clock.now()).await?;
            Ok(())
        }
        _ => restore_one(&repo, task, &model).await,
    }
}

async fn forget(repo: &Repository, task: Task, model: &Shared) -> Result<(), Failure> {
    let Task { mut chance, clock, .. } = task;
    let catalogue = repo.catalogue().await?;
    let share = if chance.of_thousand(400) { 1000 } else { 500 };
    let mut ids = Vec::new();
    for backup in &catalogue.backups {
        if chance.of_thousand(share) {
            ids.push(backup.id);
        }
    }
    for id in &ids {
        model.lock().unwrap().doom(*id);
    }
    Ok(repo.forget(&catalogue, &ids, chance.entropy(), clock.now()).await?)
}

async fn bring_back(repo: &Repository, task: Task, model: &Shared) -> Result<(), Failure> {
    let Task { mut chance, clock, .. } = task;
    let forgotten = repo.forgotten().await?;
    if forgotten.is_empty() {
        return Ok(());
    }
    let (old, _) = &forgotten[chance.index(forgotten.len())];
    let bytes = {
        let mut model = model.lock().unwrap();
        let bytes = model.content(old).to_vec();
        // It comes back under its old time, as another backup.
        model.attempts.insert((old.meta.source.clone(), old.meta.created_at.0), bytes.clone());
        bytes
    };
    let id = old.id.to_string();
    let back = repo.bring_back(&id, chance.entropy(), "sim", clock.now()).await?;
    model.lock().unwrap().told(back.id, bytes);
    Ok(())
}

/// Some backups, or all, to the replica. Of those who copy some are taken for dead by others while they are alive.
async fn copy(
    repo: &Repository,
    task: Task,
    model: &Shared,
    (sink, there): (Arc<dyn Sink>, Shared),
) -> Result<(), Failure> {
    let Task { mut chance, clock, .. } = task;
    let options = CopyOptions { owner: "sim".into(), now: clock.now(), ..CopyOptions::default() };
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

async fn restore_one(repo: &Repository, task: Task, model: &Shared) -> Result<(), Failure> {
    let mut chance = task.chance;
    let catalogue = repo.catalogue().await?;
    if catalogue.backups.is_empty() {
        return Ok(());
    }
    let backup = &catalogue.backups[chance.index(catalogue.backups.len())];
    // It may be forgotten and freed meanwhile; then that is an error, and never other bytes.
    let restored = restore(repo, backup).await?;
    assert!(restored == model.lock().unwrap().content(backup), "{backup:?} gave something else");
    Ok(())
}
