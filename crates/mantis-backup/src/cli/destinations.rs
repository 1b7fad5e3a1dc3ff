//! Several places for one backup: made in the first that can be reached, copied to the others. One may fail.

use mantis_repo::{BackupInfo, RepoError, Repository};
use mantis_stream::ProgressTracker;
use serde_json::{Value, json};

use super::context::Context;
use super::output::size;
use crate::Error;
use crate::jobs::{CopyJob, copy};

/// The repository and its replicas.
pub(crate) struct Destinations<'a> {
    context: &'a Context,
    /// Addresses, the repository's own first.
    urls: Vec<String>,
    opened: Vec<Option<Repository>>,
}

/// Whether it is the store that failed, and not the source, the password or the user. A disk that is not mounted shows
/// as a repository that is not there.
fn is_of_store(error: &Error) -> bool {
    matches!(
        error,
        Error::Sink(_) | Error::Repo(RepoError::Sink { .. } | RepoError::NoRepository { .. })
    )
}

impl<'a> Destinations<'a> {
    pub(crate) fn new(context: &'a Context, copy_to: &[String]) -> Result<Self, Error> {
        let mut urls = vec![context.url()?.to_owned()];
        for url in copy_to {
            if urls.contains(url) {
                return Err(Error::usage(
                    format!(
                        "a place is named twice for one backup: {}",
                        mantis_sink::open_url(url)?.location()
                    ),
                    "name each one once",
                ));
            }
            urls.push(url.clone());
        }
        let opened = urls.iter().map(|_| None).collect();
        Ok(Self { context, urls, opened })
    }

    async fn open(&mut self, at: usize) -> Result<Repository, Error> {
        if let Some(repo) = &self.opened[at] {
            return Ok(repo.clone());
        }
        let repo = self.context.open_at(&self.urls[at]).await?;
        self.opened[at] = Some(repo.clone());
        Ok(repo)
    }

    /// Makes a backup in the first place whose store does not fail, and copies it to those after it. Gives what was
    /// made, what to add to it for those who want JSON, and what failed on the way.
    pub(crate) async fn back_up<T>(
        &mut self,
        make: impl AsyncFn(Repository) -> Result<(T, Option<BackupInfo>), Error>,
    ) -> Result<(T, Option<Value>, Vec<Error>), Error> {
        let mut failures = Vec::new();
        for at in 0..self.urls.len() {
            let made = match self.open(at).await {
                Ok(repo) => make(repo.clone()).await.map(|made| (repo, made)),
                Err(error) => Err(error),
            };
            match made {
                Ok((repo, (made, info))) => {
                    let copies = match info {
                        Some(info) if self.urls.len() > 1 => {
                            Some(self.copy_to_others((&repo, at), &info, &mut failures).await?)
                        }
                        _ => None,
                    };
                    return Ok((made, copies, failures));
                }
                Err(error) if is_of_store(&error) && at + 1 < self.urls.len() => {
                    failures.push(error);
                }
                Err(error) => {
                    failures.iter().for_each(super::report);
                    return Err(error);
                }
            }
        }
        Err(failures
            .pop()
            .unwrap_or_else(|| Error::usage("no place was named", "name one with --repo")))
    }

    async fn copy_to_others(
        &self,
        (repo, at): (&Repository, usize),
        info: &BackupInfo,
        failures: &mut Vec<Error>,
    ) -> Result<Value, Error> {
        let mut copies = Vec::new();
        for url in &self.urls[at + 1..] {
            self.context.check()?;
            let sink = mantis_sink::open_url(url)?;
            let to = sink.location();
            let job = CopyJob {
                from: repo.clone(),
                to: url.clone(),
                credentials: self.context.credentials().given()?,
                write: mantis_repo::WriteOptions::default(),
                temp_folder: None,
                cache: self.context.index_cache(sink.capabilities().remote),
                cancel: self.context.cancel.clone(),
                progress: ProgressTracker::new().into(),
            };
            match copy(job, std::slice::from_ref(info)).await {
                Ok(mut done) => {
                    let failed = done.failed.pop().map(|(_, error)| error);
                    copies.push(json!({ "to": to, "ok": failed.is_none(), "error": failed.as_ref().map(Error::chain) }));
                    if failed.is_none() {
                        let sent = done.sent.map_or(0, |sent| sent.bytes);
                        self.context.say(format!("copied to {to}: {} sent", size(sent)))?;
                    }
                    failures.extend(failed);
                }
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => {
                    copies.push(json!({ "to": to, "ok": false, "error": error.chain() }));
                    failures.push(error);
                }
            }
        }
        Ok(json!({ "made_in": repo.location(), "copies": copies }))
    }
}
