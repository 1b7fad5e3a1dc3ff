//! What the pages are made from, and what they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use mantis_repo::Repository;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};

use super::audit::Audit;
use super::catalogues::Catalogues;
use super::facts::Running;
use super::restores::Restores;
use super::sessions::Sessions;
use super::throttle::Throttle;
use crate::Error;
use crate::config::Config;
use crate::daemon::handle::Command;
use crate::daemon::serve::Reload;
use crate::daemon::worker::Place;
use crate::daemon::{Handle, StateDir, Watched};

/// Passwords that are hashed at once: each takes a core, and some memory.
const LOGINS: usize = 2;
/// Browsers that watch at once.
const WATCHERS: usize = 64;

/// What the pages are made from. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::daemon) struct Board {
    config: Arc<RwLock<Arc<Config>>>,
    /// The configuration's file.
    pub(super) file: Arc<Path>,
    /// Held by whoever changes it.
    pub(super) editing: Arc<Mutex<()>>,
    reload: mpsc::Sender<Reload>,
    pub(super) dir: StateDir,
    handle: Handle,
    pub(super) catalogues: Arc<Catalogues>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) throttle: Arc<Throttle>,
    pub(super) logins: Arc<Semaphore>,
    pub(super) watchers: Arc<Semaphore>,
    /// Years that are simulated.
    pub(super) simulations: Arc<Semaphore>,
    pub(super) audit: Audit,
    pub(super) restores: Arc<Restores>,
}

impl Board {
    pub(in crate::daemon) fn new(
        (config, file): (Arc<Config>, PathBuf),
        dir: StateDir,
        handle: Handle,
        reload: mpsc::Sender<Reload>,
    ) -> Self {
        Self {
            config: Arc::new(RwLock::new(config)),
            file: file.into(),
            editing: Arc::default(),
            reload,
            audit: Audit::at(dir.audit_file()),
            dir,
            handle,
            catalogues: Arc::default(),
            sessions: Arc::default(),
            throttle: Arc::default(),
            logins: Arc::new(Semaphore::new(LOGINS)),
            watchers: Arc::new(Semaphore::new(WATCHERS)),
            simulations: Arc::new(Semaphore::new(1)),
            restores: Arc::default(),
        }
    }

    /// The configuration as it is now.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on another one counts.
    pub(in crate::daemon) fn replace(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Has the configuration's file read again.
    pub(super) async fn reload(&self) -> Result<(), String> {
        let stopping = |_| "the daemon is stopping".to_owned();
        let (answer, answered) = oneshot::channel();
        self.reload.send(answer).await.map_err(|_| stopping(()))?;
        answered.await.map_err(|_| stopping(()))?
    }

    /// Whether people log in over plain HTTP.
    pub(in crate::daemon) fn sends_passwords_openly(&self) -> bool {
        self.config().dashboard.sends_passwords_openly()
    }

    /// A repository: the one that is open, so as not to derive its key anew, else opened for this.
    pub(super) async fn repository(&self, place: &Place) -> Result<Repository, Error> {
        match self.catalogues.opened(place) {
            Some(repo) => Ok(repo),
            None => place.open().await,
        }
    }

    /// What runs.
    pub(super) async fn running(&self) -> Vec<Running> {
        self.at_work().await.0
    }

    /// What runs, and how what is watched stands.
    pub(super) async fn at_work(&self) -> (Vec<Running>, Vec<Watched>) {
        let Ok(mut status) = self.handle.ask(Command::Status).await else {
            return Default::default();
        };
        let mut take = |key| status.get_mut(key).map(serde_json::Value::take).unwrap_or_default();
        let (running, watched) = (take("running"), take("watched"));
        let running = serde_json::from_value(running).unwrap_or_default();
        (running, serde_json::from_value(watched).unwrap_or_default())
    }

    /// Asks the supervisor for something.
    pub(super) async fn ask(&self, command: Command) -> Result<serde_json::Value, String> {
        self.handle.ask(command).await
    }

    /// Cancels what was begun by the pages, and waits until it has cleaned up after itself.
    pub(in crate::daemon) async fn stop(&self) {
        self.restores.stop().await;
    }
}
