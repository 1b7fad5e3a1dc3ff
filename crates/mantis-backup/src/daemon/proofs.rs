//! What was proved of backups on this machine: by a verify, or by a drill.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use mantis_repo::{BackupId, Reach, Repository, VerifyReport};
use serde::{Deserialize, Serialize};

use crate::whereabouts::whereabouts;
use crate::{Error, clock, durable, format_time};

/// How a backup was proved; what proves more is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofKind {
    /// A share of it read back.
    Sample,
    /// Every byte read back.
    Verify,
    /// Restored, and checked by its engine.
    Drill,
}

impl ProofKind {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Verify => "verify",
            Self::Drill => "drill",
        }
    }
}

/// How, when, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// How.
    pub by: ProofKind,
    /// When, in RFC 3339.
    pub at: String,
    /// Whether it was whole.
    pub ok: bool,
}

impl Proof {
    /// A proof of now.
    #[must_use]
    pub fn now(by: ProofKind, ok: bool) -> Self {
        Self { by, at: format_time(clock::now()), ok }
    }

    /// Whether it tells more than what was known: damage always does, and after damage only what proves every byte.
    fn outdoes(&self, known: &Self) -> bool {
        !self.ok || if known.ok { self.by >= known.by } else { self.by > ProofKind::Sample }
    }
}

/// What a verification proved of the backups that it looked at; nothing where it did not read them.
#[must_use]
pub fn proofs_of(report: &VerifyReport, reach: Reach) -> Vec<(BackupId, Proof)> {
    let by = match reach {
        Reach::Metadata => return Vec::new(),
        Reach::Sample { .. } => ProofKind::Sample,
        Reach::Everything => ProofKind::Verify,
    };
    let whole = |id: &BackupId| !report.damaged.iter().any(|damage| damage.backups.contains(id));
    report.checked.iter().map(|id| (*id, Proof::now(by, whole(id)))).collect()
}

/// By where the repository is and by backup: a replica is not proved by what it is a replica of.
type Known = BTreeMap<String, BTreeMap<String, Proof>>;

/// What was proved of backups.
#[derive(Debug, Clone)]
pub struct Proofs(PathBuf);

impl Proofs {
    /// Those in a file.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    fn known(&self) -> Result<Known, Error> {
        match std::fs::read(&self.0) {
            // What cannot be understood is of no worth: it is proved again in time.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Known::new()),
            Err(error) => Err(Error::io(format!("read {}", self.0.display()), error)),
        }
    }

    /// What is known of a repository's backups, by their ids.
    ///
    /// # Errors
    /// Where the file is there and cannot be read.
    pub fn of(&self, repo: &Repository) -> Result<BTreeMap<String, Proof>, Error> {
        self.at_place(&whereabouts(repo))
    }

    fn at_place(&self, place: &str) -> Result<BTreeMap<String, Proof>, Error> {
        Ok(self.known()?.remove(place).unwrap_or_default())
    }

    /// Adds what was found, and drops what is known of backups that are not `there` any more.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn add(
        &self,
        repo: &Repository,
        found: impl IntoIterator<Item = (BackupId, Proof)>,
        there: &[BackupId],
    ) -> Result<(), Error> {
        self.add_at_place(whereabouts(repo), found, there)
    }

    fn add_at_place(
        &self,
        place: String,
        found: impl IntoIterator<Item = (BackupId, Proof)>,
        there: &[BackupId],
    ) -> Result<(), Error> {
        let failed = |error| Error::io(format!("write {}", self.0.display()), error);
        let _lock = durable::lock(&self.0).map_err(failed)?;
        let mut known = self.known()?;
        let of_repo = known.entry(place).or_default();
        let there: std::collections::BTreeSet<String> =
            there.iter().map(ToString::to_string).collect();
        for (id, proof) in found {
            let id = id.to_string();
            if of_repo.get(&id).is_none_or(|known| proof.outdoes(known)) {
                of_repo.insert(id, proof);
            }
        }
        of_repo.retain(|id, _| there.contains(id));
        let kept = serde_json::to_vec(&known).map_err(std::io::Error::from);
        let kept = kept.and_then(|bytes| durable::replace(&self.0, &bytes));
        kept.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proves_less_does_not_replace_what_proves_more() {
        let proof = Proof::now;
        use ProofKind::{Drill, Sample, Verify};
        for (new, known, outdoes) in [
            (proof(Sample, true), proof(Verify, true), false),
            (proof(Drill, true), proof(Verify, true), true),
            (proof(Verify, true), proof(Verify, true), true),
            (proof(Sample, false), proof(Drill, true), true),
            (proof(Sample, true), proof(Sample, false), false),
            (proof(Verify, true), proof(Drill, false), true),
        ] {
            assert_eq!(new.outdoes(&known), outdoes, "{new:?} after {known:?}");
        }
    }

    #[test]
    fn what_is_gone_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let proofs = Proofs::at(folder.path().join("p"));
        let proof = |by| Proof { by, at: "2026-11-26T00:00:00Z".into(), ok: true };
        let (a, b) = (BackupId([2; 16]), BackupId([3; 16]));
        let add = |id, by| proofs.add_at_place("/a".into(), [(id, proof(by))], &[id]).unwrap();
        add(a, ProofKind::Verify);
        add(b, ProofKind::Drill);
        let known = proofs.at_place("/a").unwrap();
        assert_eq!(
            known.into_iter().collect::<Vec<_>>(),
            [(b.to_string(), proof(ProofKind::Drill))]
        );
        assert!(proofs.at_place("/b").unwrap().is_empty());
    }
}
