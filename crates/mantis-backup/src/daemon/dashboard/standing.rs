//! How sources stand.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use mantis_repo::BackupInfo;

use super::facts::{Run, Source, Standing};
use super::gather::{AllSeen, problem, taken_at};
use crate::clock::{self, host_name};
use crate::config::{Action, Config, ScheduleConfig};
use crate::daemon::{Record, RunOutcome, Watched};
use crate::human::time;
use crate::when::format_seconds;

/// Runs of a source that are shown.
const STRIP: usize = 30;
/// Runs from now on that tell how often one is to be.
const AHEAD: usize = 10;

/// Whether a schedule, if it is on, backs a source up.
fn backs_up(schedule: &ScheduleConfig, config: &Config, source: &str) -> bool {
    schedule.action == Action::Backup && schedule.is_of(config, source)
}

/// The schedules that are on and back a source up.
fn schedules_of<'a>(
    config: &'a Config,
    source: &'a str,
) -> impl Iterator<Item = &'a ScheduleConfig> {
    let on = config.schedules.values().filter(|schedule| schedule.enabled);
    on.filter(move |schedule| backs_up(schedule, config, source))
}

/// How old a source's newest backup may become, in seconds, and when its next run is: of the schedule that runs most often.
fn objective(config: &Config, source: &str, now: DateTime<Utc>) -> Option<(i64, DateTime<Utc>)> {
    let of = |schedule: &ScheduleConfig| {
        let runs = schedule.cron.0.after(now, schedule.zone(config));
        let next: Vec<DateTime<Utc>> = runs.take(AHEAD).collect();
        let longest = next.windows(2).map(|two| (two[1] - two[0]).num_seconds()).max()?;
        Some((longest.saturating_mul(2), *next.first()?))
    };
    let all: Vec<(i64, DateTime<Utc>)> = schedules_of(config, source).filter_map(of).collect();
    let objective = all.iter().map(|(objective, _)| *objective).min()?;
    Some((objective, all.iter().map(|(_, next)| *next).min()?))
}

/// What a source's backups may be called in the repositories: its own name, and those that its schedules give, on or not, where a date and
/// a time are left open.
fn names_of(config: &Config, source: &str) -> Vec<String> {
    let own = std::iter::once(source.to_owned());
    let given = config.schedules.iter().filter(|(_, schedule)| backs_up(schedule, config, source));
    let given = given.map(|(name, schedule)| {
        schedule.backups_name(name, source).replace("{host}", &host_name())
    });
    own.chain(given).collect()
}

/// Whether a name is one that a template makes, whatever its date and its time.
fn is_named(template: &str, name: &str) -> bool {
    let open = template.replace("{time}", "{date}");
    let mut pieces = open.split("{date}");
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    true
}

/// What there is of all sources, each to be found by its name.
pub(super) struct Known<'a> {
    seen: &'a AllSeen,
    /// By what they are called in the repositories.
    backups: HashMap<&'a str, Vec<&'a BackupInfo>>,
    /// By source.
    runs: HashMap<&'a str, Vec<&'a Record>>,
    /// By source: there is one watch of each at most.
    watched: HashMap<&'a str, &'a Watched>,
}

impl<'a> Known<'a> {
    pub(super) fn of(
        seen: &'a AllSeen,
        records: impl Iterator<Item = &'a Record>,
        watched: &'a [Watched],
    ) -> Self {
        let mut backups: HashMap<&str, Vec<&BackupInfo>> = HashMap::new();
        for backup in seen.values().flat_map(|seen| &seen.backups) {
            backups.entry(&backup.meta.source).or_default().push(backup);
        }
        let mut runs: HashMap<&str, Vec<&Record>> = HashMap::new();
        for record in records {
            runs.entry(record.source.as_deref().unwrap_or_default()).or_default().push(record);
        }
        let by_source = |watch: &'a Watched| Some((watch.job.split_once('/')?.1, watch));
        Self { seen, backups, runs, watched: watched.iter().filter_map(by_source).collect() }
    }

    /// Backups that are called by one of the names.
    fn backups(&self, names: &[String]) -> Vec<&'a BackupInfo> {
        let is_open = |name: &String| name.contains("{date}") || name.contains("{time}");
        let found = if names.iter().any(is_open) {
            let fits = |called: &str| names.iter().any(|name| is_named(name, called));
            self.backups.iter().filter(|(called, _)| fits(called)).map(|(_, all)| all).collect()
        } else {
            let mut names: Vec<&String> = names.iter().collect();
            names.sort_unstable();
            names.dedup();
            let all = names.into_iter().filter_map(|name| self.backups.get(&**name));
            all.collect::<Vec<&Vec<&BackupInfo>>>()
        };
        found.into_iter().flatten().copied().collect()
    }
}

fn too_late(watch: &Watched) -> String {
    let why = watch.error.as_deref().unwrap_or("a backup takes that long");
    format!("what was committed within the last {} is in no backup: {why}", time(watch.exposed()))
}

/// How a source stands, by what its repositories hold, by its runs, and by its watch.
pub(super) fn stand(config: &Config, (name, path): (&str, &str), known: &Known<'_>) -> Source {
    let now = clock::calendar_now();
    let backups = known.backups(&names_of(config, name));
    let newest = backups.iter().map(|backup| taken_at(backup)).max();
    let age = newest.map(|newest| (now - newest).num_seconds());
    let promise = objective(config, name, now);
    let is_here = !config.elsewhere.contains(name);
    let ended = known.runs.get(name).into_iter().flatten().copied();
    // A run that failed and is tried again has not failed for good; it stands badly all the same.
    let tells = |record: &&Record| record.decides() || record.outcome == RunOutcome::Failed;
    let failed = ended.clone().rfind(tells).filter(|last| last.outcome == RunOutcome::Failed);
    let watched = known.watched.get(name).copied();
    let (standing, because) = match (failed, promise, age) {
        _ if watched.is_some_and(Watched::is_late) => {
            (Standing::Late, watched.map(too_late).unwrap_or_default())
        }
        // What failed here is another daemon's to do now.
        (Some(last), ..) if is_here => {
            let why = last.error.as_deref().unwrap_or("no reason is known");
            (Standing::Failing, format!("the last run failed: {why}"))
        }
        (_, None, _) => (Standing::Unprotected, "no schedule that is on backs it up".into()),
        (_, Some(_), None) => {
            let places: Vec<String> = schedules_of(config, name)
                .flat_map(|schedule| schedule.repositories(config))
                .collect();
            let problem = known
                .seen
                .iter()
                .filter(|(name, _)| places.contains(name))
                .find_map(|(name, seen)| problem(name, seen));
            (Standing::Unknown, problem.unwrap_or_else(|| "there is no backup of it yet".into()))
        }
        (_, Some((objective, _)), Some(age)) if age > objective => {
            (Standing::Late, "its newest backup is older than two of its runs are apart".into())
        }
        _ if !is_here => (Standing::Elsewhere, "it is left to another daemon of the fleet".into()),
        // Before the first backup of a watch it is not known what came before.
        _ => match watched.filter(|watch| watch.backups > 0) {
            Some(watch) => (
                Standing::Protected,
                format!(
                    "watched: all that was committed until {} ago is in backups",
                    time(watch.exposed())
                ),
            ),
            None => (Standing::Protected, "its newest backup is as young as it should be".into()),
        },
    };
    let strip: Vec<Run> = ended.map(Run::from).collect();
    Source {
        name: name.to_owned(),
        path: path.to_owned(),
        standing,
        because,
        newest: newest.as_ref().map(format_seconds),
        age_seconds: age,
        objective_seconds: promise.map(|(objective, _)| objective),
        next: promise.map(|(_, next)| format_seconds(&next)),
        watched: watched.cloned(),
        backups: backups.len() as u64,
        bytes_stored: backups.iter().map(|backup| backup.bytes_stored).fold(0, u64::saturating_add),
        runs: strip.split_at(strip.len().saturating_sub(STRIP)).1.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_named;

    #[test]
    fn dates_and_times_are_left_open() {
        for (template, name, fits) in [
            ("app", "app", true),
            ("app", "app2", false),
            ("app-{date}", "app-2026-11-27", true),
            ("app-{date}", "other-2026-11-27", false),
            ("{date}-app", "2026-11-27-app", true),
            ("app-{date}-{time}-x", "app-2026-11-27-0100-x", true),
            ("app-{date}-{time}-x", "app-2026-x", false),
            ("", "app", false),
        ] {
            assert_eq!(is_named(template, name), fits, "{template} {name}");
        }
    }
}
