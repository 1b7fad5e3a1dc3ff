//! Lists of a store that tell late what is new in it, and what is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mantis_sink::{Chance, ObjectInfo, ObjectKey};

/// How many steps a list may be behind.
const BEHIND: u64 = 40;
/// How many of a thousand changes of the last steps a list does not know of yet.
const UNKNOWN: u64 = 300;

#[derive(Debug)]
struct Change {
    step: u64,
    object: ObjectInfo,
    /// It is there since; else it is gone.
    made: bool,
}

/// What changed of late.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    step: u64,
    all: Vec<Change>,
}

pub(crate) type SharedChanges = Arc<Mutex<Changes>>;

impl Changes {
    pub(crate) fn note(&mut self, object: ObjectInfo, made: bool) {
        self.all.push(Change { step: self.step, object, made });
    }

    /// A step passes.
    pub(crate) fn pass(&mut self) {
        self.step += 1;
    }

    /// So much time passes that every list knows everything.
    pub(crate) fn settle(&mut self) {
        self.all.clear();
    }
}

/// The lists that one client gets.
#[derive(Debug)]
pub(crate) struct LateLists {
    changes: SharedChanges,
    chance: Mutex<Chance>,
}

impl LateLists {
    pub(crate) fn new(changes: SharedChanges, seed: u64) -> Self {
        Self { changes, chance: Mutex::new(Chance::new(seed)) }
    }

    /// What is told instead of what is there.
    pub(crate) fn late(&self, folder: &str, there: Vec<ObjectInfo>) -> Vec<ObjectInfo> {
        let (changes, mut chance) = (self.changes.lock().unwrap(), self.chance.lock().unwrap());
        let mut told: BTreeMap<ObjectKey, ObjectInfo> =
            there.into_iter().map(|object| (object.key.clone(), object)).collect();
        let within = |key: &ObjectKey| {
            folder.is_empty()
                || key.as_str().strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
        };
        let recent = changes.all.iter().rev().take_while(|it| it.step + BEHIND > changes.step);
        for change in recent.filter(|change| within(&change.object.key)) {
            if chance.of_thousand(UNKNOWN) {
                if change.made {
                    told.remove(&change.object.key);
                } else {
                    told.insert(change.object.key.clone(), change.object.clone());
                }
            }
        }
        told.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectInfo {
        ObjectInfo { key: ObjectKey::new(name).unwrap(), len: 1 }
    }

    #[test]
    fn lists_are_late_for_a_while_and_then_right() {
        let changes = SharedChanges::default();
        changes.lock().unwrap().note(object("man/new"), true);
        changes.lock().unwrap().note(object("man/gone"), false);
        let lists = LateLists::new(Arc::clone(&changes), 1);
        let told = |folder| {
            let there = if folder == "man" { vec![object("man/new")] } else { vec![] };
            lists.late(folder, there)
        };
        let mut lens: Vec<usize> = (0..100).map(|_| told("man").len()).collect();
        lens.sort_unstable();
        lens.dedup();
        assert_eq!(lens, [0, 1, 2]);
        assert!((0..100).all(|_| told("seg").is_empty()));
        (0..BEHIND).for_each(|_| changes.lock().unwrap().pass());
        assert!((0..100).all(|_| told("man") == [object("man/new")]));
    }
}
