//! One history: whose call goes on, and what it meets.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mantis_repo::{RepoError, Repository, UnixMillis};
use mantis_sink::{Chance, MemorySink, Sink, SinkErrorKind};
use tokio::runtime::Builder;
use tokio::task::{JoinHandle, LocalSet};

use crate::client::{NAMES, Task, work};
use crate::model::Model;
use crate::store::{ClientStore, Fate, Gate};

/// Clients at once.
const CLIENTS: usize = 3;
/// Calls between two looks at everything.
const LOOK_EVERY: u64 = 100;
const MINUTE: i64 = 60_000;

/// What happened, in numbers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Told {
    pub(crate) backups: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) faults: u64,
    pub(crate) crashes: u64,
    pub(crate) looks: u64,
}

impl Told {
    pub(crate) fn add(&mut self, other: &Self) {
        self.backups += other.backups;
        self.done += other.done;
        self.failed += other.failed;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.looks += other.looks;
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} backups told, {} tasks done, {} failed, {} calls failed, {} clients killed, {} looks at everything",
            self.backups, self.done, self.failed, self.faults, self.crashes, self.looks
        )
    }
}

struct Client {
    gate: Arc<Gate>,
    task: JoinHandle<Result<(), RepoError>>,
    name: &'static str,
    /// It stands still until that step: its machine sleeps, or its network is slow.
    paused: u64,
}

struct World {
    memory: MemorySink,
    model: Arc<Mutex<Model>>,
    chance: Chance,
    now: i64,
    told: Told,
    /// The last calls and what they met.
    story: Vec<String>,
}

impl World {
    fn client(&mut self) -> Client {
        let gate = Arc::new(Gate::default());
        let sink: Arc<dyn Sink> =
            Arc::new(ClientStore::new(self.memory.clone(), Arc::clone(&gate)));
        let name = NAMES[self.chance.below(NAMES.len() as u64) as usize];
        // No two backups are of the same moment.
        self.now += 1 + self.chance.below(u64::try_from(MINUTE).unwrap()) as i64;
        if self.chance.of_thousand(50) {
            self.now += 24 * 60 * MINUTE * (1 + self.chance.below(3) as i64);
        }
        let task = Task { name, chance: Chance::new(self.chance.next()), now: self.now };
        let model = Arc::clone(&self.model);
        let task = tokio::task::spawn_local(async move {
            let repo = Repository::open(sink, None).await?;
            work(repo, task, model).await
        });
        Client { gate, task, name, paused: 0 }
    }

    fn fate(&mut self) -> Fate {
        const KINDS: [SinkErrorKind; 3] =
            [SinkErrorKind::Unavailable, SinkErrorKind::Other, SinkErrorKind::NoSpace];
        if !self.chance.of_thousand(15) {
            return Fate::Goes;
        }
        self.told.faults += 1;
        let kind = KINDS[self.chance.below(3) as usize];
        if self.chance.of_thousand(500) { Fate::FailsBefore(kind) } else { Fate::FailsAfter(kind) }
    }

    fn note(&mut self, line: String) {
        self.story.push(line);
        if self.story.len() > 60 {
            self.story.remove(0);
        }
    }

    async fn look(&mut self, what: &str) {
        self.told.looks += 1;
        let story = format!("{what}\n{}", self.story.join("\n"));
        let repo = Repository::open(Arc::new(self.memory.clone()), None).await.unwrap();
        // Clients stand still meanwhile: nobody else holds the model.
        let model = std::mem::take(&mut *self.model.lock().unwrap());
        model.check(&repo, &story).await;
        *self.model.lock().unwrap() = model;
    }
}

/// Lives a history.
pub(crate) fn live(seed: u64, steps: u64) -> Told {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let memory = MemorySink::new();
        Repository::init(Arc::new(memory.clone()), [1; 32], UnixMillis(1), None).await.unwrap();
        let (chance, told) = (Chance::new(seed), Told::default());
        let mut world =
            World { memory, model: Arc::default(), chance, now: MINUTE, told, story: Vec::new() };
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| world.client()).collect();
        for step in 0..steps {
            let at = world.chance.below(CLIENTS as u64) as usize;
            let others_go = clients.iter().any(|client| client.paused <= step);
            if clients[at].paused <= step && world.chance.of_thousand(15) {
                clients[at].paused = step + 20 + world.chance.below(150);
                let (name, until) = (clients[at].name, clients[at].paused);
                world.note(format!("{step}: client {at} ({name}) stands still until {until}"));
            } else if clients[at].paused <= step || !others_go {
                step_of(&mut world, &mut clients, at, step).await;
            }
            if step % LOOK_EVERY == LOOK_EVERY - 1 {
                world.look(&format!("seed {seed}, step {step}")).await;
            }
        }
        for client in clients {
            client.task.abort();
            let _ = client.task.await;
        }
        // In the end a prune frees what the killed left, and everything owed is there.
        let repo = Repository::open(Arc::new(world.memory.clone()), None).await.unwrap();
        for round in 0..3 {
            let options =
                mantis_repo::PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
            world.now += 10 * 24 * 60 * MINUTE;
            let entropy = world.chance.entropy();
            let pruned = repo.prune(options, entropy, UnixMillis(world.now)).await;
            pruned.unwrap_or_else(|error| panic!("seed {seed}: the last prune: {error:?}"));
            world.look(&format!("seed {seed}, after prune {round} at the end")).await;
        }
        let known = world.model.lock().unwrap();
        world.told.backups = known.backups.len() as u64;
        drop(known);
        world.told
    })
}

/// Waits until a client calls, or ends.
async fn settle(client: &Client) {
    while client.gate.is_empty() && !client.task.is_finished() {
        tokio::select! {
            () = client.gate.arrival() => {}
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
}

/// One call of a client, its end, or the end of the client itself.
async fn step_of(world: &mut World, clients: &mut [Client], at: usize, step: u64) {
    let client = &mut clients[at];
    settle(client).await;
    let Some(call) = client.gate.first() else {
        match (&mut client.task).await {
            Ok(Ok(())) => world.told.done += 1,
            Ok(Err(error)) => {
                world.told.failed += 1;
                world.note(format!("{step}: client {at} ({}): {error}", client.name));
            }
            Err(error) => {
                eprintln!("{}", world.story.join("\n"));
                std::panic::resume_unwind(error.into_panic());
            }
        }
        clients[at] = world.client();
        return;
    };
    let killed = world.chance.of_thousand(8);
    let fate = if killed {
        let kind = SinkErrorKind::Other;
        if world.chance.of_thousand(500) { Fate::FailsAfter(kind) } else { Fate::FailsBefore(kind) }
    } else {
        world.fate()
    };
    if killed
        || fate != Fate::Goes
        || call.what.starts_with("create")
        || call.what.starts_with("delete")
    {
        let killed = if killed { ", and it is killed" } else { "" };
        world.note(format!(
            "{step}: client {at} ({}): {}: {fate:?}{killed}",
            client.name, call.what
        ));
    }
    call.meets(fate).await;
    settle(client).await;
    if killed {
        world.told.crashes += 1;
        client.task.abort();
        let _ = (&mut client.task).await;
        clients[at] = world.client();
    }
}
