//! Verifies and prunes that somebody asks for, of a repository rather than of a schedule.
//!
//! They run as those of schedules do, one of a kind at a time in each repository, and are told of and noted as those are. They are tried once, and
//! not begun again by the next daemon: whoever asked may ask again.

use std::sync::Arc;

use mantis_schedule::Run;
use serde_json::json;
use toml::Spanned;

use super::handle::Answer;
use super::records::ONCE;
use super::{Entry, Supervisor};
use crate::config::{Action, Config, ScheduleConfig};

/// What the job of such a run is called: nothing that a schedule of a file can be called.
pub(super) fn job(action: Action, repository: &str) -> String {
    format!("{}:{repository}", action.name())
}

/// The run's job, and a configuration with a schedule for it.
fn order(config: &Config, action: Action, repository: &str) -> Result<(Entry, Config), String> {
    if !config.repositories.contains_key(repository) {
        return Err(format!("the configuration has no repository called {repository:?}"));
    }
    let schedule: Result<ScheduleConfig, _> = toml::from_str("cron = '@yearly'");
    let mut schedule = schedule.map_err(|error| error.to_string())?;
    schedule.action = action;
    schedule.repository = Some(Spanned::new(0..0, repository.to_owned()));
    let name = job(action, repository);
    let mut config = config.clone();
    config.schedules.insert(name.clone(), schedule);
    Ok((Entry { id: name.clone(), schedule: name, source: None, action }, config))
}

impl Supervisor {
    /// Begins one, if none like it runs.
    pub(super) fn once(&mut self, action: Action, repository: &str) -> Answer {
        let (entry, config) = order(&self.config, action, repository)?;
        if self.under_way.values().any(|under_way| under_way.entry.id == entry.id) {
            return Err(format!("a {} of {repository} runs already", action.name()));
        }
        let (job, now) = (entry.id.clone(), self.timer.now());
        let run = Run {
            run: ONCE,
            scheduled: now,
            attempt: 1,
            at: now,
            manual: true,
            late: false,
            interruptions: 0,
        };
        self.start(entry, run, None, Arc::new(config));
        Ok(json!({ "jobs": [job] }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{is_name, parse};

    #[test]
    fn a_run_by_hand_is_of_its_repository_alone() {
        let config = parse("[repositories.a]\nurl = 'a'\n[repositories.b]\nurl = 'b'\n").unwrap();
        let (entry, with) = order(&config, Action::Prune, "b").unwrap();
        assert!(!is_name(&entry.schedule), "no schedule of a file has this name");
        let schedule = &with.schedules[&entry.schedule];
        assert_eq!(schedule.repositories(&with), ["b"]);
        assert_eq!((schedule.action, schedule.sample), (Action::Prune, None));
        assert!(config.schedules.is_empty());
        assert!(order(&config, Action::Verify, "c").is_err());
    }
}
