//! What every backup must hold, and which must be there.

use std::collections::{BTreeMap, BTreeSet};

use mantis_repo::{BackupId, BackupInfo, Repository, UnixMillis, VerifyOptions};

use crate::world::restore;

/// What is known of a backup.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// What it must hold.
    pub(crate) bytes: Vec<u8>,
    /// Whether somebody was told that it is there, and nobody has begun to forget it since.
    pub(crate) owed: bool,
}

/// What is known of all that there is.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// What is told, by backup.
    pub(crate) backups: BTreeMap<BackupId, Known>,
    /// What somebody is about to forget, or was: nobody is owed it.
    pub(crate) doomed: BTreeSet<BackupId>,
    /// What is being backed up, or was when its client was gone: it may be there, or not. By source and the time that it has.
    pub(crate) attempts: BTreeMap<(String, i64), Vec<u8>>,
}

impl Model {
    /// Takes note of a backup that is about to be made by a clock that shows `now`; gives the time that it is to have: no two are of the
    /// same.
    pub(crate) fn attempt(&mut self, source: &str, now: UnixMillis, bytes: &[u8]) -> UnixMillis {
        let mut at = now.0;
        while self.attempts.contains_key(&(source.to_owned(), at)) {
            at += 1;
        }
        self.attempts.insert((source.to_owned(), at), bytes.to_vec());
        UnixMillis(at)
    }

    /// Takes note of a backup that somebody was told of.
    pub(crate) fn told(&mut self, id: BackupId, bytes: Vec<u8>) {
        let owed = !self.doomed.contains(&id);
        self.backups.insert(id, Known { bytes, owed });
    }

    /// Takes note of a backup that somebody is about to forget: from here on it may be gone, whatever comes back.
    pub(crate) fn doom(&mut self, id: BackupId) {
        self.doomed.insert(id);
        if let Some(known) = self.backups.get_mut(&id) {
            known.owed = false;
        }
    }

    /// What a backup that is there must hold.
    pub(crate) fn content(&self, backup: &BackupInfo) -> &[u8] {
        if let Some(known) = self.backups.get(&backup.id) {
            return &known.bytes;
        }
        let attempt = (backup.meta.source.clone(), backup.meta.created_at.0);
        self.attempts.get(&attempt).unwrap_or_else(|| panic!("{backup:?} was made by nobody"))
    }

    /// Compares all that is there with what must be.
    pub(crate) async fn check(&self, repo: &Repository, story: &str) {
        let catalogue = repo.catalogue().await.unwrap_or_else(|error| panic!("{story}: {error:?}"));
        assert!(catalogue.unreadable.is_empty(), "{story}: {:?}", catalogue.unreadable);
        for (id, known) in &self.backups {
            let there = catalogue.backups.iter().any(|backup| backup.id == *id);
            assert!(there || !known.owed, "{story}: backup {id} was told, and is not there");
        }
        for backup in &catalogue.backups {
            let restored = restore(repo, backup).await;
            let restored =
                restored.unwrap_or_else(|error| panic!("{story}: {backup:?}: {error:?}"));
            assert!(restored == self.content(backup), "{story}: {backup:?} holds something else");
        }
        let report = repo.verify(&[], &VerifyOptions::default()).await;
        let report = report.unwrap_or_else(|error| panic!("{story}: {error:?}"));
        assert!(report.damaged.is_empty(), "{story}: {:?}", report.damaged);
    }
}
