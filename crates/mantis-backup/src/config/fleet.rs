//! Daemons that share their databases.

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::check::Checker;
use super::{Config, Interval, Text};

/// Shorter leases end with a request that takes a moment, longer ones leave databases alone for too long.
const LEASES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(3)..=Duration::from_secs(3600);

const fn thirty_seconds() -> Text<Interval> {
    Text(Interval(Duration::from_secs(30)))
}

/// Daemons that share their databases, each backed up by one of them.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetConfig {
    /// In which repository they tell one another of themselves; may be left out where there is only one
    #[schemars(with = "Option<String>")]
    pub repository: Option<Spanned<String>>,
    /// Which sources they share; all without it. Of those that they do not share each daemon backs up its own
    #[schemars(with = "Option<Vec<String>>")]
    pub sources: Option<Vec<Spanned<String>>>,
    /// How long a daemon that is not heard of keeps what it protects from the others; from 3s to 1h
    #[serde(default = "thirty_seconds")]
    pub lease: Text<Interval>,
}

impl FleetConfig {
    /// The name of its repository.
    #[must_use]
    pub fn repository_of(&self, config: &Config) -> Option<String> {
        let named = self.repository.as_ref().map(|named| named.get_ref().clone());
        named.or_else(|| config.repositories.keys().next().cloned())
    }

    /// The names of the databases that are shared, as far as they are found.
    #[must_use]
    pub fn databases(&self, config: &Config) -> BTreeSet<String> {
        let is_shared = |name: &str| {
            let source = if config.sources.contains_key(name) {
                name
            } else {
                name.split_once('/').map_or(name, |(source, _)| source)
            };
            self.sources
                .as_ref()
                .is_none_or(|shared| shared.iter().any(|it| it.get_ref() == source))
        };
        config
            .databases()
            .map(|(name, _)| name)
            .filter(|name| is_shared(name))
            .map(str::to_owned)
            .collect()
    }
}

impl Checker<'_> {
    /// What is wrong with the fleet.
    pub(super) fn fleet(&mut self, config: &Config) {
        let Some(fleet) = &config.fleet else { return };
        if let Some(repository) = &fleet.repository {
            self.known(repository, "repositories", &config.repositories);
        } else if config.repositories.len() != 1 {
            self.tell(&["fleet"], "say with `repository` in which one daemons tell of themselves");
        }
        for source in fleet.sources.iter().flatten() {
            self.known(source, "sources", &config.sources);
        }
        if !LEASES.contains(&fleet.lease.0.0) {
            self.tell(&["fleet", "lease"], "a lease is from 3s to 1h");
        }
    }
}
