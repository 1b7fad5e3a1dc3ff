//! What a history happens to: stores, databases, the daemon's machine, time and chance.

use std::collections::BTreeSet;
use std::sync::Arc;

use mantis_repo::{PruneOptions, Repository};
use mantis_sink::{Chance, SinkErrorKind};
use tokio::task::JoinHandle;

use crate::client::{Client, DAEMON, Failure, PRUNE, RESTORE, Task, names, work};
use crate::clock::{DAY, MINUTE, Time, wrong_by};
use crate::daemon::{self, Daemon, SharedHost};
use crate::database::{self, Databases};
use crate::history::Plan;
use crate::places::{Place, begin, open};
use crate::store::{Fate, Gate};
use crate::told::Told;

/// Lines of a story that are told: a history that was made short has no more.
const LINES: usize = 200;

/// A client that lives.
pub(crate) struct Living {
    pub(crate) gate: Arc<Gate>,
    pub(crate) task: JoinHandle<Result<(), Failure>>,
    pub(crate) name: &'static str,
    /// Nobody else is to live meanwhile.
    pub(crate) alone: bool,
    /// It stands still until that step: its machine sleeps, or its network is slow.
    pub(crate) paused: u64,
}

/// How often what happens in a history, of a thousand times: not the same in each, as what is rare everywhere meets nothing.
pub(crate) struct Weather {
    commits: u64,
    pub(crate) pauses: u64,
    faults: u64,
    pub(crate) kills: u64,
    wrong_clocks: u64,
}

impl Weather {
    fn of(chance: &mut Chance) -> Self {
        let mut one_of = |rates: [u64; 3]| rates[chance.index(3)];
        Self {
            commits: one_of([10, 50, 400]),
            pauses: one_of([5, 20, 60]),
            faults: one_of([3, 15, 40]),
            kills: one_of([2, 8, 20]),
            wrong_clocks: one_of([0, 0, 600]),
        }
    }
}

pub(crate) struct World {
    encrypted: bool,
    /// Lists come late. What frees then waits until it is alone.
    pub(crate) late: bool,
    spared: BTreeSet<u64>,
    /// Disturbances so far, spared ones too.
    disturbances: u64,
    /// What clients can be about to do.
    names: Vec<&'static str>,
    pub(crate) weather: Weather,
    pub(crate) main: Place,
    pub(crate) replica: Place,
    databases: Databases,
    pub(crate) host: SharedHost,
    pub(crate) chance: Chance,
    time: Time,
    pub(crate) told: Told,
    /// The calls that changed something or met something.
    story: Vec<String>,
}

impl World {
    pub(crate) async fn new(plan: &Plan) -> Self {
        let encrypted = plan.seed % 2 == 1;
        let (main, replica) = begin(encrypted).await;
        let mut chance = Chance::new(plan.seed);
        let databases = database::all(&mut chance);
        let (names, weather) = (names(&mut chance), Weather::of(&mut chance));
        Self {
            encrypted,
            late: plan.seed.is_multiple_of(5),
            spared: plan.spared.clone(),
            names,
            weather,
            disturbances: 0,
            main,
            replica,
            databases,
            host: SharedHost::default(),
            chance,
            time: Time::new(),
            told: Told::default(),
            story: Vec::new(),
        }
    }

    /// Whether chance has something happen that need not.
    pub(crate) fn disturbed(&mut self, of_thousand: u64) -> bool {
        let happens = self.chance.of_thousand(of_thousand);
        self.disturbances += u64::from(happens);
        happens && !self.spared.contains(&self.disturbances)
    }

    /// Somebody writes; now and then a database's process ends, and another one goes on.
    pub(crate) fn write(&mut self) {
        if self.chance.of_thousand(self.weather.commits) {
            let at = self.chance.index(database::NAMES.len());
            self.databases.lock().unwrap()[at].commit(&mut self.chance);
            self.told.commits += 1;
        }
        if self.disturbed(3) {
            let at = self.chance.index(database::NAMES.len());
            self.databases.lock().unwrap()[at].restart(&mut self.chance);
        }
    }

    /// What the next client is about to do.
    pub(crate) fn name(&mut self) -> &'static str {
        let name = self.names[self.chance.index(self.names.len())];
        if name == DAEMON && self.host.lock().unwrap().alive { RESTORE } else { name }
    }

    pub(crate) fn client(&mut self, name: &'static str, alone: bool) -> Living {
        let gate = Arc::new(Gate::default());
        self.time.goes_on(1 + self.chance.below(MINUTE.unsigned_abs()).cast_signed());
        if self.disturbed(50) {
            self.time.goes_on(DAY * (1 + self.chance.below(3).cast_signed()));
        }
        let wrong = self.disturbed(self.weather.wrong_clocks);
        self.told.wrong_clocks += u64::from(wrong);
        let ahead = if wrong { wrong_by(&mut self.chance) } else { 0 };
        let chance = Chance::new(self.chance.next());
        let task = Task { name, chance, clock: self.time.clock(ahead), alone };
        // What keeps a repository small is done to the replica, too.
        let there = ["forget", PRUNE, RESTORE].contains(&name) && self.chance.of_thousand(250);
        let seeds = [(); 2].map(|()| self.late.then(|| self.chance.next()));
        let place = if there { &self.replica } else { &self.main };
        let (sink, model) = (place.store(&gate, seeds[0]), Arc::clone(&place.model));
        let replica = (self.replica.store(&gate, seeds[1]), Arc::clone(&self.replica.model));
        let (encrypted, frees) = (self.encrypted, !self.late);
        let (databases, host) = (Arc::clone(&self.databases), Arc::clone(&self.host));
        let mine = Arc::clone(&gate);
        if name == DAEMON {
            host.lock().unwrap().alive = true;
        }
        let task = tokio::task::spawn_local(async move {
            let repo = open(sink, encrypted).await?;
            work(Client { repo, task, model, replica, databases, host, gate: mine, frees }).await
        });
        Living { gate, task, name, alone, paused: 0 }
    }

    pub(crate) fn fate(&mut self) -> Fate {
        const KINDS: [SinkErrorKind; 3] =
            [SinkErrorKind::Unavailable, SinkErrorKind::Other, SinkErrorKind::NoSpace];
        if !self.disturbed(self.weather.faults) {
            return Fate::Goes;
        }
        self.told.faults += 1;
        let kind = KINDS[self.chance.index(3)];
        if self.chance.of_thousand(500) { Fate::FailsBefore(kind) } else { Fate::FailsAfter(kind) }
    }

    /// A client has ended, or is gone.
    pub(crate) fn ended(&mut self, client: &Living) {
        if client.alone {
            self.settle_lists();
        }
        if client.name == DAEMON {
            self.host.lock().unwrap().alive = false;
        }
    }

    /// So much time passes that every list knows everything.
    pub(crate) fn settle_lists(&self) {
        for place in [&self.main, &self.replica] {
            place.changes.lock().unwrap().settle();
        }
    }

    pub(crate) fn pass(&self) {
        for place in [&self.main, &self.replica] {
            place.changes.lock().unwrap().pass();
        }
    }

    pub(crate) fn note(&mut self, line: String) {
        self.story.push(line);
    }

    pub(crate) fn tell(&self, what: &str) -> String {
        let last = self.story.len().saturating_sub(LINES);
        format!("{what}\n{}", self.story[last..].join("\n"))
    }

    pub(crate) async fn look(&mut self, what: &str) {
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

    /// In the end the daemon has all the time that it needs, and a prune frees what the killed left; everything owed is there.
    pub(crate) async fn end(&mut self, seed: u64) {
        self.settle_lists();
        let held = self.databases.lock().unwrap().iter().any(database::Database::is_held);
        assert!(!held, "seed {seed}: a moment is held, and nobody is there who would want it");
        self.time.goes_on(2 * DAY);
        let _ = self.quiet_daemon().await;
        // Where its clock had been ahead by some hours, it waited for the time to come.
        self.time.goes_on(DAY);
        self.last_day(seed).await;
        self.look(&format!("seed {seed}, after the daemon's last day")).await;
        for round in 0..3 {
            self.time.goes_on(10 * DAY);
            for memory in [self.main.memory.clone(), self.replica.memory.clone()] {
                let repo = open(Arc::new(memory), self.encrypted).await.unwrap();
                self.prune(&repo, seed).await;
            }
            self.look(&format!("seed {seed}, after prune {round} at the end")).await;
        }
    }

    async fn prune(&mut self, repo: &Repository, seed: u64) {
        let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
        let (entropy, clock) = (self.chance.entropy(), self.time.clock(0));
        let pruned = repo.prune(options, entropy, clock.now()).await;
        pruned.unwrap_or_else(|error| panic!("seed {seed}: the last prune: {error:?}"));
    }

    /// The daemon goes on until nothing is due, and nothing is in its way.
    pub(crate) async fn quiet_daemon(&mut self) -> Repository {
        let repo = open(Arc::new(self.main.memory.clone()), self.encrypted).await.unwrap();
        let clock = self.time.clock(0);
        let daemon = Daemon {
            host: Arc::clone(&self.host),
            gate: Arc::new(Gate::open()),
            clock,
            chance: Chance::new(self.chance.next()),
            databases: Arc::clone(&self.databases),
            frees: true,
            quiet: true,
        };
        let ran = Box::pin(daemon::run(&repo, daemon, &self.main.model)).await;
        ran.unwrap_or_else(|error| panic!("nothing is in the daemon's way: {error:?}"));
        repo
    }

    /// What was due when the daemon was down, or failed, is made up for: every source has a backup of its last day.
    async fn last_day(&mut self, seed: u64) {
        let began = self.time.clock(0).now();
        let repo = self.quiet_daemon().await;
        let catalogue = repo.catalogue().await.unwrap();
        for name in database::NAMES {
            let mut of_it = catalogue.backups.iter().filter(|it| it.meta.source == name);
            let protected = of_it.any(|it| it.meta.created_at >= began);
            assert!(protected, "seed {seed}: {name} was not backed up: {catalogue:?}");
        }
    }
}
