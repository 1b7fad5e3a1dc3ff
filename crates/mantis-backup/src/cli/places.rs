//! The places that the command line names for a backup.

use futures::future::BoxFuture;
use mantis_repo::Repository;
use mantis_stream::ProgressTracker;

use super::context::Context;
use crate::Error;
use crate::destinations::Places;
use crate::jobs::CopyJob;

/// The repository and its replicas, by their addresses.
pub(crate) struct NamedPlaces<'a> {
    context: &'a Context,
    urls: Vec<String>,
}

impl<'a> NamedPlaces<'a> {
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
        Ok(Self { context, urls })
    }

    fn url(&self, at: usize) -> &str {
        self.urls.get(at).map_or("", String::as_str)
    }

    /// What a place is called: its address without secrets.
    pub(crate) fn location(&self, at: usize) -> Result<String, Error> {
        Ok(mantis_sink::open_url(self.url(at))?.location())
    }
}

impl Places for NamedPlaces<'_> {
    fn count(&self) -> usize {
        self.urls.len()
    }

    fn open(&self, at: usize) -> BoxFuture<'_, Result<Repository, Error>> {
        Box::pin(self.context.open_at(self.url(at)))
    }

    fn copy_job<'a>(
        &'a self,
        from: &'a Repository,
        at: usize,
    ) -> BoxFuture<'a, Result<CopyJob, Error>> {
        let job = || {
            Ok(CopyJob {
                from: from.clone(),
                to: self.url(at).to_owned(),
                credentials: self.context.credentials().given()?,
                write: mantis_repo::WriteOptions::default(),
                temp_folder: None,
                cache: self
                    .context
                    .index_cache(mantis_sink::open_url(self.url(at))?.capabilities().remote),
                cancel: self.context.cancel.clone(),
                progress: ProgressTracker::new().into(),
            })
        };
        Box::pin(std::future::ready(job()))
    }

    fn check(&self) -> Result<(), Error> {
        self.context.check()
    }
}
