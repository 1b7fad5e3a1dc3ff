//! What every command needs: the repository, how to print, and when to stop.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use etcetera::base_strategy::{BaseStrategy, choose_base_strategy};
use mantis_repo::{IndexCache, RepoError, Repository};
use mantis_stream::CancellationToken;

use super::args::Cli;
use super::credentials::CredentialSource;
use crate::{Error, known_keys, open_repository};

/// What every command needs.
#[derive(Debug)]
pub(crate) struct Context {
    repo: Option<String>,
    config: Option<PathBuf>,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) bars: bool,
    pub(crate) cancel: CancellationToken,
    credentials: CredentialSource,
    /// Where indexes are kept, if that was said; `Some(None)`: nowhere.
    cache: Option<Option<PathBuf>>,
}

impl Context {
    pub(crate) fn new(cli: &Cli) -> Self {
        let bars = !cli.no_progress && !cli.quiet && std::io::stderr().is_terminal();
        let cancel = CancellationToken::new();
        let credentials = CredentialSource::of(cli);
        let cache = match (&cli.cache_dir, cli.no_cache) {
            (_, true) => Some(None),
            (Some(folder), false) => Some(Some(folder.clone())),
            (None, false) => None,
        };
        Self {
            repo: cli.repo.clone(),
            config: cli.config.clone(),
            json: cli.json,
            quiet: cli.quiet,
            bars,
            cancel,
            credentials,
            cache,
        }
    }

    /// The first signal asks jobs to stop and clean up; the second ends the process.
    pub(crate) fn stop_on_signals(&self) {
        use tokio::signal::unix::{SignalKind, signal};
        let cancel = self.cancel.clone();
        tokio::spawn(async move {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            for turn in 0.. {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if turn > 0 {
                    std::process::exit(130);
                }
                eprintln!("stopping and cleaning up; once more ends at once");
                cancel.cancel();
            }
        });
    }

    /// The configuration file that was named.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The repository's address.
    pub(crate) fn url(&self) -> Result<&str, Error> {
        self.repo.as_deref().filter(|url| !url.is_empty()).ok_or_else(|| {
            Error::usage(
                "no repository was named",
                "name it with --repo or MANTIS_REPO, or make one with `mantis init`",
            )
        })
    }

    /// Where passwords and identities come from.
    pub(crate) const fn credentials(&self) -> &CredentialSource {
        &self.credentials
    }

    /// Opens the repository. Where it is encrypted, nothing to open it was given and there is a terminal, the
    /// password is asked for there. Where identities were given, its keys must be those that they were.
    pub(crate) async fn open(&self) -> Result<Repository, Error> {
        self.open_at(self.url()?).await
    }

    /// As [`Self::open`], the repository at an address.
    pub(crate) async fn open_at(&self, url: &str) -> Result<Repository, Error> {
        let given = self.credentials.given()?;
        let repo = match open_repository(url, &given).await {
            Err(Error::Repo(RepoError::NeedsPassword { .. })) if CredentialSource::can_ask() => {
                let password = CredentialSource::ask(&format!("Password of {url}: "))?;
                open_repository(url, &[password.into()]).await?
            }
            opened => opened?,
        };
        if self.credentials.has_identities() {
            known_keys::check(&repo)?;
        }
        Ok(match self.index_cache(repo.is_remote()) {
            Some(cache) => repo.with_cache(cache),
            None => repo,
        })
    }

    /// Where indexes of a repository are kept, if they are.
    pub(crate) fn index_cache(&self, remote: bool) -> Option<IndexCache> {
        let folder = match &self.cache {
            Some(said) => said.clone(),
            None if remote => {
                choose_base_strategy().ok().map(|dirs| dirs.cache_dir().join("mantis"))
            }
            None => None,
        };
        folder.map(|folder| IndexCache::new(folder, IndexCache::USUAL_LIMIT))
    }

    /// Fails where someone asked to stop.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() { Err(RepoError::Cancelled.into()) } else { Ok(()) }
    }

    /// Prints a line for people, unless they want none or want JSON.
    pub(crate) fn say(&self, line: impl AsRef<str>) -> Result<(), Error> {
        if self.quiet || self.json {
            return Ok(());
        }
        super::output::write_out(format!("{}\n", line.as_ref()).as_bytes())
    }

    /// Prints the result as JSON, if that is wanted.
    pub(crate) fn result(&self, value: &serde_json::Value) -> Result<(), Error> {
        if !self.json {
            return Ok(());
        }
        super::output::write_out(format!("{value:#}\n").as_bytes())
    }
}
