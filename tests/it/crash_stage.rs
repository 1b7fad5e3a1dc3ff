//! A repository on a disk whose every call is recorded, and what is looked at after a crash.
//!

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use mantis_backup::repo::{Credential, Identity, PruneOptions, Repository, VerifyOptions};
use mantis_backup::{BackupSystem, Source, entropy, now, open_repository};
use mantis_tests::World;
use mantis_tests::contents::contents;
use mantis_tests::disk::{Disk, Image, lay_out};
use mantis_tests::trace::{Effect, Verdict, trace};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::encrypted::{IDENTITY, RECIPIENT, identity_files};

/// Backups by their ids, and what they hold.
pub(crate) type Held = BTreeMap<String, Vec<u8>>;

/// A repository on a disk of which everything is synced, and what is known to be in it.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) flags: Vec<&'static str>,
    pub(crate) held: Held,
}

/// What must be there after a crash, and what may.
#[derive(Default, Clone)]
pub(crate) struct Expected {
    pub(crate) must: Held,
    pub(crate) may: Held,
}

/// A file of pages of which some are alike, some zeros, and some differ from one version to the next.
pub(crate) fn write_data(path: &Path, version: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    for page in 0..24u8 {
        let fill = match page {
            0..4 => 0,
            4..12 => page,
            12..15 => version,
            _ => page.wrapping_mul(31),
        };
        let noise =
            |n: usize| fill.wrapping_mul(1 + (n as u8 & 1)).wrapping_add((n / 7) as u8 & fill);
        bytes.extend((0..4096).map(noise));
    }
    bytes.truncate(bytes.len() - 100);
    std::fs::write(path, &bytes).unwrap();
    bytes
}

impl Stage {
    pub(crate) fn new(encrypted: bool) -> Self {
        let world = World::empty();
        let mut stage =
            Self { world, credentials: Vec::new(), flags: Vec::new(), held: Held::new() };
        if encrypted {
            identity_files(&stage.world);
            stage.credentials =
                vec![Credential::Identities(Identity::parse_file(IDENTITY).unwrap())];
            stage.flags = vec!["--identity-file", "id"];
            stage.world.ok(&["init", "--recipient", RECIPIENT]);
        } else {
            stage.world.ok(&["init"]);
        }
        stage
    }

    pub(crate) fn with_flags<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [arguments, &self.flags[..]].concat()
    }

    /// A backup of the next version, without any crash.
    pub(crate) fn back_up(&mut self, version: u8) {
        self.back_up_with(version, &[]);
    }

    pub(crate) fn back_up_with(&mut self, version: u8, flags: &[&str]) {
        let bytes = write_data(&self.world.path("data"), version);
        let arguments = [&["backup", "file:data"], flags].concat();
        let said = self.world.ok(&self.with_flags(&arguments));
        self.held.insert(said["id"].as_str().unwrap().to_owned(), bytes);
    }

    /// What is expected while backups are forgotten, and when they are.
    pub(crate) fn without(&self, removed: &[Value], done: bool) -> Expected {
        let gone: Vec<&str> = removed.iter().map(|it| it["id"].as_str().unwrap()).collect();
        let (may, must): (Held, Held) =
            self.held.clone().into_iter().partition(|(id, _)| gone.contains(&id.as_str()));
        assert!(!may.is_empty() && !must.is_empty(), "{removed:?}");
        Expected { must, may: if done { Held::new() } else { may } }
    }

    /// What the repository does not list is held no more.
    pub(crate) fn forget_what_is_gone(&mut self) {
        let list = self.world.ok(&self.with_flags(&["list"]));
        let list = list.as_array().unwrap();
        self.held.retain(|id, _| list.iter().any(|backup| backup["id"] == id.as_str()));
    }

    /// Runs a command, and records what it does to files below `watched` until it has said how it ended.
    pub(crate) fn record(&self, arguments: &[&str], watched: &Path) -> (Vec<Effect>, Value) {
        let said = self.world.path("said");
        let mut command = self.world.command(&self.with_flags(arguments));
        command.stdout(std::fs::File::create(&said).unwrap());
        let ended = trace(command, &[watched.to_owned(), said.clone()], &mut |_| Verdict::Go);
        assert_eq!(ended.code, Some(0), "{arguments:?}");
        (ended.effects, serde_json::from_slice(&std::fs::read(said).unwrap()).unwrap())
    }

    /// The disk as it is, and all that it may be after a crash at any point of what was recorded: each state once, with whether the
    /// command had said that it was done.
    pub(crate) fn crashes(
        &self,
        mut disk: Disk,
        effects: &[Effect],
        mut look: impl FnMut(&str, &Image, bool),
    ) -> (usize, usize) {
        let mut seen = HashSet::new();
        let (mut points, mut done) = (0, false);
        for (n, effect) in effects.iter().enumerate() {
            let said = effect.operation.paths().contains(&self.world.path("said").as_path());
            done |= said && effect.written.is_some();
            if effect.operation.only_looks() {
                continue;
            }
            disk.apply(effect);
            points += 1;
            for (what, image) in disk.after_a_crash() {
                let mut hasher = DefaultHasher::new();
                image.hash(&mut hasher);
                if seen.insert((hasher.finish(), done)) {
                    let last = &effect.operation;
                    look(&format!("call {n}, {last:?}, then a crash leaves {what}"), &image, done);
                }
            }
        }
        assert!(done, "it never said that it was done");
        (points, seen.len())
    }

    /// Records a command, and looks at the repository after every crash on the way.
    pub(crate) fn survives(
        &self,
        arguments: &[&str],
        expected: impl Fn(&Value, bool) -> Expected,
    ) -> Value {
        self.survives_and(arguments, expected, |_, _| true)
    }

    /// As [`Self::survives`]; and something more must hold of each state.
    pub(crate) fn survives_and(
        &self,
        arguments: &[&str],
        expected: impl Fn(&Value, bool) -> Expected,
        holds: impl Fn(&Image, bool) -> bool,
    ) -> Value {
        let repo = self.world.path("repo");
        self.survives_from_and(Disk::of(&repo), arguments, expected, holds)
    }

    /// As [`Self::survives`], on a disk of which not everything is synced.
    pub(crate) fn survives_from(
        &self,
        before: Disk,
        arguments: &[&str],
        expected: impl Fn(&Value, bool) -> Expected,
    ) -> Value {
        self.survives_from_and(before, arguments, expected, |_, _| true)
    }

    fn survives_from_and(
        &self,
        before: Disk,
        arguments: &[&str],
        expected: impl Fn(&Value, bool) -> Expected,
        holds: impl Fn(&Image, bool) -> bool,
    ) -> Value {
        let repo = self.world.path("repo");
        let (effects, said) = self.record(arguments, &repo);
        let runtime = Runtime::new().unwrap();
        let (points, states) = self.crashes(before, &effects, |story, image, done| {
            assert!(holds(image, done), "{arguments:?}: {story}: it says that it is done: {done}");
            let expected = expected(&said, done);
            let looked = self.look(image, &expected);
            runtime
                .block_on(looked)
                .unwrap_or_else(|what| panic!("{arguments:?}: {story}: {what}"));
        });
        eprintln!("{arguments:?}: {points} calls, {states} states after a crash");
        said
    }

    /// Opens a repository as a crash left it, and goes on with it.
    pub(crate) async fn look(&self, image: &Image, expected: &Expected) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("repo");
        lay_out(image, &root);
        let told =
            |what: &'static str| move |error: &dyn std::fmt::Display| format!("{what}: {error}");
        let url = root.display().to_string();
        let repo = open_repository(&url, &self.credentials).await;
        let repo = repo.map_err(|error| told("open")(&error))?;
        let mut held = there(&repo, expected).await?;
        // The next backup, and the next collections, of which the second frees what the first had to wait for.
        let source = folder.path().join("data");
        let bytes = write_data(&source, 99);
        let system = BackupSystem::builder().repository(repo.clone());
        let system =
            system.source("data", Source::parse(&format!("file:{}", source.display())).unwrap());
        let next = system.unwrap().build().unwrap().backup("data").run().await;
        let next = next.map_err(|error| told("the next backup")(&error))?;
        held.insert(next.id.to_string(), bytes);
        let mut freed = 0;
        for _ in 0..2 {
            let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
            let pruned = repo.prune(options, entropy().unwrap(), now()).await;
            freed += pruned.map_err(|error| told("the next prune")(&error))?.freed_objects;
        }
        there(&repo, &Expected { must: held, may: Held::new() }).await?;
        let left = std::fs::read_dir(root.join(".tmp")).map_or(0, Iterator::count);
        let open = std::fs::read_dir(root.join("sess")).map_or(0, Iterator::count);
        // Sessions under way are given up by the first collection that has something to free.
        if left > 0 || (open > 0 && freed > 0) {
            return Err(format!("{left} temporary files and {open} sessions are left"));
        }
        Ok(())
    }
}

/// Proves what a repository holds against what it must and may; what it holds.
pub(crate) async fn there(repo: &Repository, expected: &Expected) -> Result<Held, String> {
    let catalogue = repo.catalogue().await.map_err(|error| format!("list: {error}"))?;
    if let Some(unreadable) = catalogue.unreadable.first() {
        return Err(format!("the list shows damage: {unreadable:?}"));
    }
    let mut held = Held::new();
    for info in &catalogue.backups {
        let id = info.id.to_string();
        let wanted = expected.must.get(&id).or_else(|| expected.may.get(&id));
        let wanted = wanted.ok_or_else(|| format!("{id} is there and should not"))?;
        let bytes = contents(repo, info).await.map_err(|error| format!("restore {id}: {error}"))?;
        if bytes != *wanted {
            return Err(format!("{id} restores to something else"));
        }
        held.insert(id, bytes);
    }
    if let Some((lost, _)) = expected.must.iter().find(|(id, _)| !held.contains_key(*id)) {
        return Err(format!("{lost} is lost"));
    }
    let report = repo.verify(&[], &VerifyOptions::default()).await;
    let report = report.map_err(|error| format!("verify: {error}"))?;
    match report.damaged.first() {
        Some(damage) => Err(format!("verify finds damage: {damage:?}")),
        None => Ok(held),
    }
}

/// What backs up one more version must keep what was there, and what it made once it has said so.
pub(crate) fn one_more(held: &Held, said: &Value, bytes: &[u8], done: bool) -> Expected {
    let mut expected = Expected { must: held.clone(), may: Held::new() };
    let made = (said["id"].as_str().unwrap().to_owned(), bytes.to_vec());
    let there = if done { &mut expected.must } else { &mut expected.may };
    there.extend([made]);
    expected
}

/// What there is but for temporary files, which nobody reads.
pub(crate) fn visible(image: &Image) -> Image {
    let temporary = |path: &Path| path.starts_with(".tmp");
    image
        .iter()
        .filter(|(path, _)| !temporary(path))
        .map(|it| (it.0.clone(), it.1.clone()))
        .collect()
}
