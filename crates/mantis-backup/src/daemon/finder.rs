//! Databases that patterns mean, found, taken up and let go of while the daemon runs.

use std::collections::BTreeSet;

use super::telemetry::name;
use crate::config::{Config, Found, Search};

/// Looks for databases, and tells what came and what went.
#[derive(Debug, Default)]
pub(super) struct Finder {
    found: Found,
    /// What was told, so that it is told once.
    told: BTreeSet<String>,
}

impl Finder {
    /// A configuration with the databases that its patterns mean now.
    pub(super) async fn complete(&mut self, config: Config) -> Config {
        if !config.has_patterns() {
            *self = Self::default();
            return Config { found: Found::default(), ..config };
        }
        let (before, of) = (self.found.clone(), config.clone());
        let found = match tokio::task::spawn_blocking(move || of.search(&before)).await {
            Ok(search) => self.take(search),
            Err(error) => {
                tracing::error!(%error, "databases were not looked for");
                self.found.clone()
            }
        };
        Config { found, ..config }
    }

    fn take(&mut self, Search { found, problems }: Search) -> Found {
        for problem in problems.iter().filter(|problem| !self.told.contains(*problem)) {
            tracing::warn!("{problem}");
        }
        self.told = problems.into_iter().collect();
        for source in found.without(&self.found) {
            tracing::info!(source, "found");
        }
        for source in self.found.without(&found) {
            tracing::warn!(source, "gone, and no longer backed up; its backups stay");
        }
        for (source, count) in found.counts() {
            metrics::gauge!(name::FOUND, "source" => source.to_owned()).set(count as f64);
        }
        self.found = found.clone();
        found
    }
}
