//! One history: whose call goes on, and what it meets.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mantis_repo::{Copier, CopyOptions, RepoError, Repository, UnixMillis};
use mantis_sink::{Chance, MemorySink, Sink, SinkErrorKind};
use tokio::runtime::Builder;
use tokio::task::{JoinHandle, LocalSet};

use crate::client::{NAMES, Shared, Task, work};
use crate::keys;
use crate::store::{ClientStore, Fate, Gate};

/// Clients at once.
const CLIENTS: usize = 3;
/// Calls between two looks at everything.
const LOOK_EVERY: u64 = 100;
const MINUTE: i64 = 60_000;
/// Lines of a story that are told: a history that was made short has no more.
const LINES: usize = 200;

/// What happened, in numbers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Told {
    pub(crate) backups: u64,
    pub(crate) copies: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) faults: u64,
    pub(crate) crashes: u64,
    pub(crate) looks: u64,
}

impl Told {
    pub(crate) fn add(&mut self, other: &Self) {
        self.backups += other.backups;
        self.copies += other.copies;
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
            "{} backups told, {} copies of them, {} tasks done, {} failed, {} calls failed, {} clients killed, {} looks at everything",
            self.backups,
            self.copies,
            self.done,
            self.failed,
            self.faults,
            self.crashes,
            self.looks
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

/// A store, and what is known of what it holds.
#[derive(Default)]
struct Place {
    memory: MemorySink,
    model: Shared,
}

impl Place {
    fn store(&self, gate: &Arc<Gate>) -> Arc<dyn Sink> {
        Arc::new(ClientStore::new(self.memory.clone(), Arc::clone(gate)))
    }
}

/// A history to be lived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Calls to the store that go on, or fail.
    pub(crate) steps: u64,
    /// Disturbances that do not happen, by their number: failing calls, kills, pauses, days that pass.
    pub(crate) spared: BTreeSet<u64>,
}

struct World {
    encrypted: bool,
    spared: BTreeSet<u64>,
    /// Disturbances so far, spared ones too.
    disturbances: u64,
    main: Place,
    replica: Place,
    chance: Chance,
    now: i64,
    told: Told,
    /// The calls that changed something or met something.
    story: Vec<String>,
}

impl World {
    /// Whether chance has something happen that need not.
    fn disturbed(&mut self, of_thousand: u64) -> bool {
        let happens = self.chance.of_thousand(of_thousand);
        self.disturbances += u64::from(happens);
        happens && !self.spared.contains(&self.disturbances)
    }

    fn client(&mut self) -> Client {
        let gate = Arc::new(Gate::default());
        let name = NAMES[self.chance.below(NAMES.len() as u64) as usize];
        // No two backups are of the same moment.
        self.now += 1 + self.chance.below(u64::try_from(MINUTE).unwrap()) as i64;
        if self.disturbed(50) {
            self.now += 24 * 60 * MINUTE * (1 + self.chance.below(3) as i64);
        }
        let task = Task { name, chance: Chance::new(self.chance.next()), now: self.now };
        // What keeps a repository small is done to the replica, too.
        let there = ["forget", "prune", "restore"].contains(&name) && self.chance.of_thousand(250);
        let place = if there { &self.replica } else { &self.main };
        let (sink, model) = (place.store(&gate), Arc::clone(&place.model));
        let replica = (self.replica.store(&gate), Arc::clone(&self.replica.model));
        let encrypted = self.encrypted;
        let task = tokio::task::spawn_local(async move {
            work(open(sink, encrypted).await?, task, model, replica).await
        });
        Client { gate, task, name, paused: 0 }
    }

    fn fate(&mut self) -> Fate {
        const KINDS: [SinkErrorKind; 3] =
            [SinkErrorKind::Unavailable, SinkErrorKind::Other, SinkErrorKind::NoSpace];
        if !self.disturbed(15) {
            return Fate::Goes;
        }
        self.told.faults += 1;
        let kind = KINDS[self.chance.below(3) as usize];
        if self.chance.of_thousand(500) { Fate::FailsBefore(kind) } else { Fate::FailsAfter(kind) }
    }

    fn note(&mut self, line: String) {
        self.story.push(line);
    }

    fn tell(&self, what: &str) -> String {
        let last = self.story.len().saturating_sub(LINES);
        format!("{what}\n{}", self.story[last..].join("\n"))
    }

    async fn look(&mut self, what: &str) {
        self.told.looks += 1;
        for (name, place) in [("", &self.main), (", the replica", &self.replica)] {
            let story = self.tell(&format!("{what}{name}"));
            let repo = open(Arc::new(place.memory.clone()), self.encrypted).await;
            let repo = repo.unwrap_or_else(|error| panic!("{story}: {error:?}"));
            // Clients stand still meanwhile: nobody else holds the model.
            let model = std::mem::take(&mut *place.model.lock().unwrap());
            model.check(&repo, &story).await;
            *place.model.lock().unwrap() = model;
        }
    }
}

async fn open(sink: Arc<dyn Sink>, encrypted: bool) -> Result<Repository, RepoError> {
    Repository::open(sink, encrypted.then(keys::credential).as_ref()).await
}

/// An empty repository, and an empty replica of it.
async fn begin(encrypted: bool) -> (Place, Place) {
    let (main, replica) = (Place::default(), Place::default());
    let sink: Arc<dyn Sink> = Arc::new(main.memory.clone());
    let key = encrypted.then(keys::first_key);
    let repo = Repository::init(sink, [1; 32], UnixMillis(1), key).await.unwrap();
    let to = Arc::new(replica.memory.clone());
    let copier = Copier::begin(&repo, to, CopyOptions::default(), [2; 32], |_| false).await;
    copier.unwrap().end().await;
    (main, replica)
}

/// Lives a history.
///
/// # Panics
/// Where a backup is lost, or gives other bytes.
pub(crate) fn live(plan: &Plan) -> Told {
    let Plan { seed, steps, ref spared } = *plan;
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let encrypted = seed % 2 == 1;
        let (main, replica) = begin(encrypted).await;
        let (chance, told) = (Chance::new(seed), Told::default());
        let mut world = World {
            encrypted,
            spared: spared.clone(),
            disturbances: 0,
            main,
            replica,
            chance,
            now: MINUTE,
            told,
            story: Vec::new(),
        };
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| world.client()).collect();
        for step in 0..steps {
            let at = world.chance.below(CLIENTS as u64) as usize;
            let others_go = clients.iter().any(|client| client.paused <= step);
            if clients[at].paused <= step && world.disturbed(15) {
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
        for round in 0..3 {
            let options =
                mantis_repo::PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
            world.now += 10 * 24 * 60 * MINUTE;
            for memory in [world.main.memory.clone(), world.replica.memory.clone()] {
                let repo = open(Arc::new(memory), encrypted).await.unwrap();
                let entropy = world.chance.entropy();
                let pruned = repo.prune(options, entropy, UnixMillis(world.now)).await;
                pruned.unwrap_or_else(|error| panic!("seed {seed}: the last prune: {error:?}"));
            }
            world.look(&format!("seed {seed}, after prune {round} at the end")).await;
        }
        let known = |place: &Place| place.model.lock().unwrap().backups.len() as u64;
        (world.told.backups, world.told.copies) = (known(&world.main), known(&world.replica));
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
                eprintln!("{}", world.tell("a client panicked"));
                std::panic::resume_unwind(error.into_panic());
            }
        }
        clients[at] = world.client();
        return;
    };
    let killed = world.disturbed(8);
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
