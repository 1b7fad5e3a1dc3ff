//! Commands that are killed, or stand still for a while, at random moments, again and again on one repository beside a live writer.
//!
//! What must hold all the while: each backup that a command told of is there until it is forgotten, the list and a verify have nothing
//! to tell, the newest one restores to one moment of the database, and nothing is left behind for good.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use mantis_sink::Chance;
use serde_json::Value;

use crate::{World, make_bank, prove_bank, start_python};

/// How many backups forgetting leaves.
const KEPT: usize = 4;
/// Rounds between two looks at everything.
const LOOK_EVERY: u64 = 10;

/// What happened in all rounds.
#[derive(Debug, Default)]
pub struct Tally {
    /// Commands that ended by themselves and well.
    pub done: u64,
    /// Commands that ended with an error.
    pub failed: u64,
    /// Commands that were killed.
    pub killed: u64,
    /// Commands that stood still while others went on.
    pub stopped: u64,
    /// Looks at everything.
    pub looks: u64,
    /// Backups that were told of.
    pub told: u64,
}

/// A repository that lives through rounds.
#[derive(Debug)]
pub struct Rounds {
    world: World,
    /// The same seed, the same commands; when a kill hits is the machine's matter.
    chance: Chance,
    /// Said behind every prune: `--exclusive`, where a store lets two create one object.
    prune_flags: Vec<&'static str>,
    /// How long a command takes without a kill, about.
    takes: Duration,
    /// Backups of the bank that were told of: when each was taken, oldest first, and its id; those that may have been forgotten left
    /// out.
    told: Vec<(String, String)>,
    /// All backups that were told of or listed, likewise.
    known: BTreeSet<(String, String)>,
    tally: Tally,
    /// What was run, and how it ended; kept, with the repository, when something is wrong.
    log: File,
}

impl Drop for Rounds {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.world.folder.disable_cleanup(true);
            eprintln!("the repository and the log of it all: {}", self.world.path("").display());
        }
    }
}

/// A command under way, and where what it says goes.
struct Running {
    number: u64,
    child: Child,
    said: PathBuf,
    errors: PathBuf,
    backs_up: bool,
    forgets: bool,
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

impl Rounds {
    /// A new repository, and a live database in its folder.
    ///
    /// # Panics
    /// Where they cannot be made.
    #[must_use]
    pub fn new(world: World, seed: u64, prune_flags: Vec<&'static str>, takes: Duration) -> Self {
        world.ok(&["init"]);
        make_bank(&world.path("bank.db"), "wal", 4096);
        let (told, tally) = (Vec::new(), Tally::default());
        let log = File::create(world.path("log")).unwrap();
        Self {
            world,
            chance: Chance::new(seed),
            prune_flags,
            takes,
            told,
            known: BTreeSet::new(),
            tally,
            log,
        }
    }

    /// Starts a command; beside another one, which may be a backup that nobody was told of yet, it forgets none.
    fn start(&mut self, number: u64, beside: bool) -> Running {
        let prune = [&["prune", "--grace", "0s"][..], &self.prune_flags].concat();
        let kept = KEPT.to_string();
        let arguments = match self.chance.below(20) {
            0..=10 => vec!["backup", "bank.db"],
            11 => vec!["backup", "bank.db", "--full"],
            12 | 13 if !beside => vec!["forget", "--source", "bank", "--keep-last", &kept],
            12..=16 => prune,
            17 => vec!["verify"],
            18 => vec!["restore", "latest", "--to", "restored.db", "--force"],
            _ => vec!["copy", "--to", "replica"],
        };
        let forgets = arguments[0] == "forget";
        if forgets {
            self.may_be_forgotten();
        }
        let said = self.world.path(&format!("said-{number}"));
        let errors = self.world.path(&format!("errors-{number}"));
        let mut command = self.world.command(&arguments);
        command.stdout(File::create(&said).unwrap()).stderr(File::create(&errors).unwrap());
        writeln!(self.log, "{number} {}", arguments.join(" ")).unwrap();
        let child = command.spawn().unwrap();
        Running { number, child, said, errors, backs_up: arguments[0] == "backup", forgets }
    }

    /// Forgetting may take any but the newest ones of all there are: a backup whose command was killed between its commit and its
    /// word on it counts, too.
    fn may_be_forgotten(&mut self) {
        let list = self.world.ok(&["list", "--source", "bank"]);
        let text = |backup: &Value, field: &str| backup[field].as_str().unwrap().to_owned();
        let listed = list.as_array().unwrap().iter();
        self.known.extend(listed.map(|backup| (text(backup, "created_at"), text(backup, "id"))));
        self.known.extend(self.told.iter().cloned());
        let oldest_kept = self.known.iter().rev().take(KEPT).next_back();
        self.told.retain(|told| oldest_kept.is_none_or(|oldest| told >= oldest));
    }

    /// Waits for a command's end; notes what it told.
    fn finish(&mut self, mut running: Running) {
        let status = running.child.wait().unwrap();
        let errors = std::fs::read_to_string(&running.errors).unwrap();
        assert!(!errors.contains("panicked"), "{errors}");
        match status.code() {
            Some(0) => self.tally.done += 1,
            Some(_) => {
                assert!(errors.contains("help: "), "{errors}");
                self.tally.failed += 1;
            }
            None => self.tally.killed += 1,
        }
        // Whoever reads what it said believes it, however the process ended then.
        let said = std::fs::read(&running.said).unwrap();
        let words = String::from_utf8_lossy(&said).into_owned() + &errors;
        writeln!(self.log, "{} {status}: {words}", running.number).unwrap();
        if running.backs_up
            && let Ok(said) = serde_json::from_slice::<Value>(&said)
            && let Some(id) = said["id"].as_str()
        {
            let taken = said["created_at"].as_str().unwrap().to_owned();
            self.told.push((taken, id.to_owned()));
            // One that stood still was taken before those that overtook it.
            self.told.sort();
            self.tally.told += 1;
        }
        if running.forgets {
            // It stood still, perhaps, until another one was there, and counted that.
            self.may_be_forgotten();
        }
        for file in [running.said, running.errors] {
            std::fs::remove_file(file).unwrap();
        }
    }

    /// Runs rounds beside a writer, and looks at everything now and then.
    ///
    /// # Panics
    /// Where anything is lost, wrong, or left behind.
    pub fn run(mut self, rounds: u64) -> Tally {
        let writer = start_python(&self.world.path("bank.db"), false);
        for round in 0..rounds {
            let mut running = self.start(2 * round, false);
            let wait = self.chance.below(self.takes.as_micros() as u64 * 5 / 4);
            std::thread::sleep(Duration::from_micros(wait));
            match self.chance.below(8) {
                // It stands still, and another one, which may give it up, goes on; then it does.
                0 | 1 if running.child.try_wait().unwrap().is_none() => {
                    signal(&running.child, "-STOP");
                    writeln!(self.log, "{} stands still", 2 * round).unwrap();
                    self.tally.stopped += 1;
                    let mut other = self.start(2 * round + 1, true);
                    if self.chance.below(4) == 0 {
                        std::thread::sleep(Duration::from_micros(wait));
                        let _ = other.child.kill();
                    }
                    self.finish(other);
                    signal(&running.child, "-CONT");
                }
                2 => {}
                _ => drop(running.child.kill()),
            }
            self.finish(running);
            if round % LOOK_EVERY == LOOK_EVERY - 1 {
                self.look();
            }
        }
        drop(writer);
        self.look();
        // Sessions under way are given up by the first collection that has something to free, and gone with the next.
        self.world.ok(&["backup", "bank.db", "--full"]);
        self.world.ok(&["backup", "bank.db", "--full"]);
        self.world.ok(&["forget", "--keep-last", "1"]);
        for _ in 0..2 {
            let prune = [&["prune", "--grace", "0s"][..], &self.prune_flags].concat();
            self.world.ok(&prune);
        }
        assert_eq!(self.left("sess"), 0, "sessions of killed commands are left");
        std::mem::take(&mut self.tally)
    }

    /// How many files are in a folder of a local repository.
    fn left(&self, folder: &str) -> usize {
        std::fs::read_dir(self.world.path("repo").join(folder)).map_or(0, Iterator::count)
    }

    fn look(&mut self) {
        let prune = [&["prune", "--grace", "0s"][..], &self.prune_flags].concat();
        self.world.ok(&prune);
        let list = self.world.ok(&["list", "--source", "bank"]);
        let there: Vec<&str> =
            list.as_array().unwrap().iter().map(|backup| backup["id"].as_str().unwrap()).collect();
        for (_, id) in &self.told {
            assert!(
                there.contains(&id.as_str()),
                "{id} was told of, and is lost: {:?}",
                self.tally
            );
        }
        assert_eq!(self.world.ok(&["verify"])["damaged"].as_array().unwrap().len(), 0);
        if !there.is_empty() {
            self.world.ok(&["restore", "latest", "--to", "restored.db", "--force", "--check"]);
            assert!(prove_bank(&self.world.path("restored.db")) > 0);
        }
        if self.world.path("repo").is_dir() {
            assert_eq!(self.left(".tmp"), 0, "temporary files outlive a prune");
        }
        self.tally.looks += 1;
    }
}
