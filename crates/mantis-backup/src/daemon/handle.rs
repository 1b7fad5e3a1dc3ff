//! Talking to a supervisor that runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::config::Config;

/// What a supervisor can be asked for.
#[derive(Debug)]
pub(super) enum Command {
    Reload(Arc<Config>),
    Pause(String),
    Resume(String),
    RunNow(String),
    Cancel(String),
    /// Verify or prune a repository, now.
    #[cfg(feature = "dashboard")]
    Once(crate::config::Action, String),
    Status,
    /// Whether nothing backs up any of these databases.
    Quiet(Arc<BTreeSet<String>>),
}

/// What it answers.
pub(super) type Answer = Result<Value, String>;

/// Talks to a supervisor that runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(mpsc::Sender<(Command, oneshot::Sender<Answer>)>);

impl Handle {
    pub(super) const fn new(sender: mpsc::Sender<(Command, oneshot::Sender<Answer>)>) -> Self {
        Self(sender)
    }

    pub(super) async fn ask(&self, command: Command) -> Answer {
        let gone = |_| "the daemon is stopping".to_owned();
        let (answer, answered) = oneshot::channel();
        self.0.send((command, answer)).await.map_err(|_| gone(()))?;
        answered.await.map_err(|_| gone(()))?
    }

    /// Has it go on with another configuration. Runs under way go on with theirs.
    ///
    /// # Errors
    /// Where it stops.
    pub async fn reload(&self, config: Arc<Config>) -> Result<(), String> {
        self.ask(Command::Reload(config)).await.map(|_| ())
    }

    /// Whether nothing backs up any of these databases: no run of theirs is under way, and no watch of theirs is yet to end.
    ///
    /// # Errors
    /// Where it stops.
    pub async fn is_quiet(&self, databases: Arc<BTreeSet<String>>) -> Result<bool, String> {
        self.ask(Command::Quiet(databases)).await.map(|quiet| quiet == Value::Bool(true))
    }
}
