//! Who changed what: each change is noted before it is made, and again if it failed.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::visitor::Visitor;
use crate::daemon::json_lines::JsonLines;
use crate::{Error, clock};

/// Something that somebody did, or tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct Change {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(super) at: DateTime<Utc>,
    /// The user; for a login, the name that was given.
    pub(super) user: String,
    /// The address that asked.
    pub(super) from: String,
    /// What: `login`, `logout`, `run`, `pause`, `resume`, `cancel`, `restore`, `schedule`, `retention`.
    pub(super) what: String,
    /// To what.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) of: String,
    /// Why it failed, or was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// The log of changes, `audit.jsonl` in the state folder. Its older half goes when it is longer than 8 MiB.
#[derive(Debug, Clone)]
pub(super) struct Audit(JsonLines);

/// The start of a text that somebody may have made endless.
fn start(text: &str) -> String {
    text.chars().take(1000).collect()
}

impl Audit {
    pub(super) const fn at(path: PathBuf) -> Self {
        Self(JsonLines::at(path))
    }

    fn failed(&self, doing: &str, error: std::io::Error) -> Error {
        Error::io(format!("{doing} the log of changes in {}", self.0.path().display()), error)
    }

    /// Notes something. It is on disk when this returns.
    ///
    /// # Errors
    /// What the file system reports: what cannot be noted is not to be done.
    pub(super) async fn note(
        &self,
        visitor: &Visitor,
        (what, of): (&str, &str),
        error: Option<&str>,
    ) -> Result<(), Error> {
        let change = Change {
            at: clock::calendar_now(),
            user: start(visitor.name()),
            from: visitor.from.clone(),
            what: what.to_owned(),
            of: start(of),
            error: error.map(start),
        };
        tracing::info!(
            user = change.user,
            from = change.from,
            what,
            of = change.of,
            error,
            "by hand"
        );
        let log = self.clone();
        let noted = tokio::task::spawn_blocking(move || {
            let mut line = serde_json::to_vec(&change)?;
            line.push(b'\n');
            log.0.add(line)
        });
        let noted = noted.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        noted.map_err(|error| self.failed("add to", error))
    }

    /// The newest, newest first.
    ///
    /// # Errors
    /// What the file system reports.
    pub(super) fn newest(&self, limit: usize) -> Result<Vec<Change>, Error> {
        let newest = self.0.newest(limit, |_: &Change| true);
        let newest = newest.map_err(|error| self.failed("read", error))?;
        Ok(newest.into_iter().rev().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_noted_is_read_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::at(folder.path().join("audit.jsonl"));
        assert_eq!(audit.newest(10).unwrap(), []);
        let visitor = Visitor::from("192.0.2.7".into());
        audit.note(&visitor, ("login", ""), Some("wrong")).await.unwrap();
        audit.note(&visitor, ("run", &"x".repeat(1 << 20)), None).await.unwrap();
        let newest = audit.newest(10).unwrap();
        assert_eq!((newest[0].what.as_str(), newest[0].of.len()), ("run", 1000));
        assert_eq!(newest[1].error.as_deref(), Some("wrong"));
        assert_eq!(audit.newest(1).unwrap().len(), 1);
        let nowhere = Audit::at(folder.path().join("no/audit.jsonl"));
        assert!(nowhere.note(&visitor, ("run", ""), None).await.is_err());
    }
}
