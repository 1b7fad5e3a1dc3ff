//! How sources stand.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

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
    schedule.action == Action::Backup && schedule.sources(config).iter().any(|name| name == source)
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

/// The watch of a source: there is one at most.
fn watch_of<'a>(name: &str, watched: &'a [Watched]) -> Option<&'a Watched> {
    let of_it =
        |watch: &&Watched| watch.job.rsplit_once('/').is_some_and(|(_, source)| source == name);
    watched.iter().find(of_it)
}

fn too_late(watch: &Watched) -> String {
    let why = watch.error.as_deref().unwrap_or("a backup takes that long");
    format!("what was committed within the last {} is in no backup: {why}", time(watch.exposed()))
}

/// How a source stands, by what its repositories hold, by its runs, and by its watch.
pub(super) fn stand(
    config: &Config,
    (name, path): (&str, &str),
    (seen, records): (&AllSeen, &VecDeque<Record>),
    watched: &[Watched],
) -> Source {
    let now = clock::calendar_now();
    let names = names_of(config, name);
    let backups = || {
        let all = seen.values().flat_map(|seen| &seen.backups);
        all.filter(|backup| names.iter().any(|name| is_named(name, &backup.meta.source)))
    };
    let newest = backups().map(taken_at).max();
    let age = newest.map(|newest| (now - newest).num_seconds());
    let promise = objective(config, name, now);
    let own = |record: &&Record| record.source.as_deref() == Some(name);
    let ended = records.iter().filter(own);
    // A run that failed and is tried again has not failed for good; it stands badly all the same.
    let tells = |record: &&Record| record.decides() || record.outcome == RunOutcome::Failed;
    let failed = ended.clone().rfind(tells).filter(|last| last.outcome == RunOutcome::Failed);
    let watched = watch_of(name, watched);
    let (standing, because) = match (failed, promise, age) {
        _ if watched.is_some_and(Watched::is_late) => {
            (Standing::Late, watched.map(too_late).unwrap_or_default())
        }
        (Some(last), ..) => {
            let why = last.error.as_deref().unwrap_or("no reason is known");
            (Standing::Failing, format!("the last run failed: {why}"))
        }
        (None, None, _) => (Standing::Unprotected, "no schedule that is on backs it up".into()),
        (None, Some(_), None) => {
            let places: Vec<String> = schedules_of(config, name)
                .flat_map(|schedule| schedule.repositories(config))
                .collect();
            let problem = seen
                .iter()
                .filter(|(name, _)| places.contains(name))
                .find_map(|(name, seen)| problem(name, seen));
            (Standing::Unknown, problem.unwrap_or_else(|| "there is no backup of it yet".into()))
        }
        (None, Some((objective, _)), Some(age)) if age > objective => {
            (Standing::Late, "its newest backup is older than two of its runs are apart".into())
        }
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
        backups: backups().count() as u64,
        bytes_stored: backups().map(|backup| backup.bytes_stored).fold(0, u64::saturating_add),
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
