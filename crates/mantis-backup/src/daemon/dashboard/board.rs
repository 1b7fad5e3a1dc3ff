//! What the pages are made from.

use std::sync::{Arc, PoisonError, RwLock};

use super::catalogues::Catalogues;
use super::facts::Running;
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

    /// What runs.
    pub(super) async fn running(&self) -> Vec<Running> {
        let Ok(mut status) = self.handle.ask(Command::Status).await else { return Vec::new() };
        serde_json::from_value(status["running"].take()).unwrap_or_default()
    }
}
