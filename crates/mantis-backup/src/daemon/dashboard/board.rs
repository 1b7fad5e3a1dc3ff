//! What the pages are made from.

use std::sync::{Arc, PoisonError, RwLock};

use super::catalogues::Catalogues;
use crate::config::Config;
use crate::daemon::handle::Command;
use crate::daemon::{Handle, StateDir};

/// What the pages are made from. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::daemon) struct Board {
    config: Arc<RwLock<Arc<Config>>>,
    pub(super) dir: StateDir,
    handle: Handle,
    pub(super) catalogues: Arc<Catalogues>,
}

impl Board {
    pub(in crate::daemon) fn new(config: Arc<Config>, dir: StateDir, handle: Handle) -> Self {
        let config = Arc::new(RwLock::new(config));
        Self { config, dir, handle, catalogues: Arc::default() }
    }

    /// The configuration as it is now.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on another one counts.
    pub(in crate::daemon) fn replace(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// What runs, by the name of its job: when it was due, which try it is, and for how many seconds it has run.
    pub(super) async fn running(&self) -> Vec<(String, super::facts::Running)> {
        let Ok(status) = self.handle.ask(Command::Status).await else { return Vec::new() };
        let running = status["running"].as_array().cloned().unwrap_or_default();
        let of = |run: &serde_json::Value| {
            let job = run["job"].as_str()?.to_owned();
            let facts = super::facts::Running {
                job: job.clone(),
                attempt: u32::try_from(run["attempt"].as_u64()?).ok()?,
                scheduled: run["scheduled"].as_str()?.to_owned(),
                seconds: run["seconds"].as_u64()?,
            };
            Some((job, facts))
        };
        running.iter().filter_map(of).collect()
    }
}
