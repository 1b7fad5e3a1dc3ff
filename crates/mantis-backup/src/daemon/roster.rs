//! The jobs of a configuration, by their names.

use std::collections::BTreeMap;

use mantis_schedule::{Agenda, Job, ScheduleError};

use chrono::{DateTime, Utc};

use super::StateDir;
use crate::Error;
use crate::config::{Action, Config};

/// What a job is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The job's name: the schedule, and the source where it is of one.
    pub id: String,
    /// The schedule.
    pub schedule: String,
    /// The source, where it is of one.
    pub source: Option<String>,
    /// What it does.
    pub action: Action,
}

/// The jobs of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Roster(BTreeMap<String, Entry>);

impl Roster {
    /// The jobs of a configuration that are on, and what they are of.
    #[must_use]
    pub fn of(config: &Config) -> (Self, Vec<Job>) {
        let (mut entries, mut jobs) = (BTreeMap::new(), Vec::new());
        for (name, schedule) in config.schedules.iter().filter(|(_, schedule)| schedule.enabled) {
            for (id, source) in schedule.job_ids(name, config) {
                jobs.push(schedule.job(id.clone(), config));
                let (schedule, action) = (name.clone(), schedule.action);
                entries.insert(id.clone(), Entry { id, schedule, source, action });
            }
        }
        (Self(entries), jobs)
    }

    /// A job by its name.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.0.get(id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }

    /// The names of a schedule's jobs; a job's own name is one too.
    #[must_use]
    pub fn ids_of(&self, name: &str) -> Vec<String> {
        let fits = |entry: &&Entry| entry.schedule == name || entry.id == name;
        self.0.values().filter(fits).map(|entry| entry.id.clone()).collect()
    }
}

/// Gives an agenda the jobs of a configuration: new ones begin now, those that are gone end with their runs.
///
/// # Errors
/// None that can be met: names are unique.
pub fn arrange(
    agenda: &mut Agenda,
    config: &Config,
    now: DateTime<Utc>,
) -> Result<Roster, ScheduleError> {
    let (roster, jobs) = Roster::of(config);
    let gone: Vec<String> = agenda
        .list()
        .map(|(job, _)| job.id.clone())
        .filter(|id| roster.get(id).is_none())
        .collect();
    for id in gone {
        agenda.delete(&id)?;
    }
    for job in jobs {
        if agenda.get(&job.id).is_some() {
            agenda.update(job, now)?;
        } else {
            agenda.create(job, now)?;
        }
    }
    agenda.set_max_running(usize::try_from(config.max_running).unwrap_or(usize::MAX));
    Ok(roster)
}

impl StateDir {
    /// What is due, and the jobs of a configuration put into it, as the next daemon would: to be looked at.
    ///
    /// # Errors
    /// As [`Self::agenda`].
    pub fn planned(&self, config: &Config, now: DateTime<Utc>) -> Result<(Agenda, Roster), Error> {
        let mut agenda = Agenda::new(self.agenda()?, 1);
        let roster = arrange(&mut agenda, config, now)
            .map_err(|error| Error::usage(error.to_string(), "run `mantis config check`"))?;
        Ok((agenda, roster))
    }
}
