//! The daemon put together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mantis_stream::CancellationToken;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

#[cfg(feature = "dashboard")]
use super::dashboard::Board;
use super::finder::Finder;
use super::fleet::{self, Fleet};
use super::http::{self, Pages, Server};
#[cfg(feature = "dashboard")]
use super::listener::Tls;
use super::telemetry::{self, name};
use super::worker::Place;
use super::{Freshness, Handle, Jobs, StateDir, Supervisor, SystemTimer, control, systemd};
use crate::Error;
use crate::config::{Action, Config, load};
use crate::notify::Notifications;

/// How long what is still to be told may take when the daemon stops.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Runs a configuration's schedules until `stop` is cancelled; reads the configuration again on SIGHUP. `listen` comes before
/// the configuration's own.
///
/// # Errors
/// What keeps it from starting. Once it runs, it fails on nothing.
pub async fn serve(
    path: PathBuf,
    config: Config,
    listen: Option<String>,
    stop: CancellationToken,
) -> Result<(), Error> {
    crate::open_files::allow_many();
    let dir = StateDir::of(Some(&config))?;
    let _lock = dir.lock()?;
    let scratch = dir.scratch(config.temp_folder.as_deref())?;
    let metrics = telemetry::install()?;
    metrics::gauge!(name::CONFIG_OK).set(1.0);
    let mut finder = Finder::default();
    let mut fleet = Fleet::default();
    // Of what is shared nothing is protected before others were asked.
    let config = Arc::new(fleet.apply(finder.complete(config).await));
    let leaver = fleet.leaver();
    let freshness = Arc::new(Freshness::default());
    let jobs = Jobs::new(dir.clone(), scratch, Arc::clone(&freshness));
    let notifications = Arc::new(Notifications::new(&config.notifications));
    let (supervisor, handle, status) = Supervisor::new(
        Arc::clone(&config),
        dir.clone(),
        Arc::new(jobs),
        Arc::new(SystemTimer),
        Arc::clone(&notifications),
    )?;
    let (reload, reloads) = mpsc::channel(1);
    #[cfg(feature = "dashboard")]
    let board = Board::new(
        (Arc::clone(&config), path.clone()),
        dir.clone(),
        handle.clone(),
        reload.clone(),
    );
    let pages = Pages {
        #[cfg(feature = "dashboard")]
        board: board.clone(),
        #[cfg(feature = "dashboard")]
        tls: Tls::default(),
        metrics,
        freshness: Arc::clone(&freshness),
        status,
    };
    #[cfg(feature = "dashboard")]
    pages.tls.replace(Tls::read(config.dashboard.tls.as_ref())?);
    let server = http::listen(listen.as_deref().unwrap_or(&config.listen), pages.clone()).await?;
    let _socket = control::listen(&dir, handle.clone())?;
    let reloader = Reloader {
        path,
        config: Arc::clone(&config),
        finder,
        fleet,
        fixed: listen,
        server,
        pages,
        handle,
        asked: (reload, reloads),
    };
    let reloading = tokio::spawn(reloader.run());
    let looking = tokio::spawn(look_around(Arc::clone(&config), freshness));
    systemd::ready();
    tracing::info!(schedules = config.schedules.len(), state = %dir.path().display(), "running");
    supervisor.run(stop).await;
    #[cfg(feature = "dashboard")]
    board.stop().await;
    reloading.abort();
    looking.abort();
    fleet::leave(&leaver).await;
    notifications.flush(LAST_WORDS).await;
    tracing::info!("stopped");
    Ok(())
}

/// Has the configuration read again, and hears how that went.
pub(super) type Reload = oneshot::Sender<Result<(), String>>;

/// Reads the configuration again when it is asked to; in between it looks for databases, and takes its turns as a member of a fleet.
struct Reloader {
    path: PathBuf,
    config: Arc<Config>,
    finder: Finder,
    fleet: Fleet,
    /// The address of the command line.
    fixed: Option<String>,
    server: Option<Server>,
    pages: Pages,
    handle: Handle,
    /// Who asks, but for the signal; with one end of our own, it never closes.
    asked: (mpsc::Sender<Reload>, mpsc::Receiver<Reload>),
}

impl Reloader {
    async fn run(mut self) {
        let mut hangups = signal(SignalKind::hangup())
            .inspect_err(|error| {
                tracing::error!(%error, "the configuration cannot be read again on SIGHUP");
            })
            .ok();
        let mut find_at = Instant::now() + self.config.find_every.0.0;
        loop {
            let (due, has_patterns) = (self.fleet.due(), self.config.has_patterns());
            let hangup = async {
                match &mut hangups {
                    Some(hangups) => hangups.recv().await,
                    None => std::future::pending().await,
                }
            };
            let answer = tokio::select! {
                Some(()) = hangup => None,
                Some(answer) = self.asked.1.recv() => Some(answer),
                () = sleep_until(due.unwrap_or(find_at)), if due.is_some() => {
                    self.take_turn().await;
                    continue;
                }
                () = sleep_until(find_at), if has_patterns => {
                    self.find().await;
                    find_at = Instant::now() + self.config.find_every.0.0;
                    continue;
                }
                else => return,
            };
            systemd::reloading();
            let done = self.reload().await;
            metrics::gauge!(name::CONFIG_OK).set(if done.is_ok() { 1.0 } else { 0.0 });
            match &done {
                Ok(()) => {
                    tracing::info!(path = %self.path.display(), "the configuration was read again");
                }
                Err(error) => tracing::error!("the configuration stays as it was: {error}"),
            }
            systemd::ready();
            if let Some(answer) = answer {
                let _ = answer.send(done);
            }
        }
    }

    /// Looks for databases, and goes on with those that there are.
    async fn find(&mut self) {
        let found = self.finder.complete(Config::clone(&self.config));
        let config = match self.fleet.patience() {
            None => found.await,
            Some(patience) => match timeout(patience, found).await {
                Ok(config) => config,
                Err(_) => {
                    tracing::warn!(
                        "databases were not found in time, as a disk does not answer: those that there were stay"
                    );
                    return;
                }
            },
        };
        self.go_on_with(config).await;
    }

    /// Looks what other members of the fleet tell, goes on with what is protected here from then on, and tells of it once nothing else is.
    async fn take_turn(&mut self) {
        self.fleet.look().await;
        self.go_on_with(Config::clone(&self.config)).await;
        // It fails where the daemon stops: what runs is waited for elsewhere.
        let not_here = Arc::new(self.fleet.not_here(&self.config));
        let Ok(quiet) = self.handle.is_quiet(not_here).await else { return };
        self.fleet.tell(&self.config, quiet).await;
        self.go_on_with(Config::clone(&self.config)).await;
    }

    /// Goes on with other databases, where they are others.
    async fn go_on_with(&mut self, config: Config) {
        let config = self.fleet.apply(config);
        if config.found == self.config.found && config.elsewhere == self.config.elsewhere {
            return;
        }
        let config = Arc::new(config);
        // It fails where the daemon stops, and then it is of no use.
        if self.handle.reload(Arc::clone(&config)).await.is_ok() {
            #[cfg(feature = "dashboard")]
            self.pages.board.replace(Arc::clone(&config));
            self.config = config;
        }
    }

    async fn reload(&mut self) -> Result<(), String> {
        let path = self.path.clone();
        let loaded = tokio::task::spawn_blocking(move || load(&path)).await;
        let config =
            loaded.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let config = Arc::new(self.fleet.apply(self.finder.complete(config).await));
        #[cfg(feature = "dashboard")]
        let tls = Tls::read(config.dashboard.tls.as_ref()).map_err(|error| error.chain())?;
        if self.fixed.is_none() && config.listen != self.config.listen {
            // The new address first: metrics are not lost for one that cannot be had.
            let server = http::listen(&config.listen, self.pages.clone()).await;
            self.server = server.map_err(|error| error.chain())?;
        }
        for (key, same) in [
            ("state_dir", config.state_dir == self.config.state_dir),
            ("temp_folder", config.temp_folder == self.config.temp_folder),
            ("nice", config.nice == self.config.nice),
            ("io_priority", config.io_priority == self.config.io_priority),
            ("log", config.log == self.config.log),
        ] {
            if !same {
                tracing::warn!(key, "takes effect when the daemon is started again");
            }
        }
        self.handle.reload(Arc::clone(&config)).await?;
        #[cfg(feature = "dashboard")]
        {
            self.pages.tls.replace(tls);
            self.pages.board.replace(Arc::clone(&config));
        }
        self.config = config;
        Ok(())
    }
}

/// Looks at what repositories hold, so that the age of the newest backups is known before the first run.
async fn look_around(config: Arc<Config>, freshness: Arc<Freshness>) {
    let backups = config.schedules.values().filter(|schedule| schedule.action == Action::Backup);
    let mut names: Vec<String> =
        backups.flat_map(|schedule| schedule.repositories(&config)).collect();
    names.sort();
    names.dedup();
    for name in names {
        let look = async || -> Result<(), Error> {
            let place = Place::of(&config, &name)?;
            freshness.see(&name, &place.open().await?.catalogue().await?);
            // Shows how much is free, too.
            place.check_space()
        };
        if let Err(error) = look().await {
            let help = error.help().unwrap_or_default();
            tracing::warn!(repository = %name, error = %error.chain(), help, "cannot be looked at yet");
        }
    }
}
