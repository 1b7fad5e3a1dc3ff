//! Schedules that would undo each other's work.

use std::collections::BTreeMap;

use super::{Action, Config};

/// Pairs of schedules, by their names, that back up under one name in one repository and keep by different rules: retention looks
/// at all backups of a name, so that each would remove what the other is to keep. With the name, and the repository.
pub(super) fn conflicts(config: &Config) -> Vec<(&str, &str, String, String)> {
    let mut seen: BTreeMap<(String, String), (&str, Option<&str>)> = BTreeMap::new();
    let mut found: Vec<(&str, &str, String, String)> = Vec::new();
    let backups = config
        .schedules
        .iter()
        .filter(|(_, schedule)| schedule.action == Action::Backup && schedule.enabled);
    for (schedule_name, schedule) in backups {
        let retention = schedule.retention.as_ref().map(|name| name.get_ref().as_str());
        for repository in schedule.repositories(config) {
            for source in schedule.named(config) {
                let name = schedule.backups_name(schedule_name, source);
                let known = seen
                    .entry((repository.clone(), name.clone()))
                    .or_insert((schedule_name, retention));
                let told = found.iter().any(|(a, b, ..)| (*a, *b) == (known.0, &**schedule_name));
                if known.1 != retention && !told {
                    found.push((known.0, &**schedule_name, name, repository.clone()));
                }
            }
        }
    }
    found
}

/// Pairs of schedules, by their names, that watch one source: each would keep its log from being begun anew for the other. With the source.
pub(super) fn watched_twice(config: &Config) -> Vec<(&str, &str, String)> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut found = Vec::new();
    let watches = config.schedules.iter().filter(|(_, schedule)| schedule.enabled);
    for (name, schedule) in watches.filter(|(_, schedule)| schedule.watch.is_some()) {
        for source in schedule.named(config) {
            let known = *seen.entry(source.to_owned()).or_insert(name);
            if known != name {
                found.push((known, &**name, source.to_owned()));
            }
        }
    }
    found
}
