//! What rules would keep, before they are the configuration's: of the backups that there are, and of a simulated year.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Form, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use mantis_retention::{Candidate, Circumstances, Policy, check, plan};
use mantis_schedule::CronSchedule;
use serde::Deserialize;

use super::config_file::{NotSaved, change};
use super::rules::Rules;
use super::visitor::Visitor;
use super::{Board, charts, config_file, gather, login, pages, show, words};
use crate::candidates::candidate;
use crate::clock;
use crate::config::Config;
use crate::config::edit::{fault, with_retention};
use crate::simulated_year::{Bounds, simulated_year};

/// What a page may have simulated: a backup each hour, and not so many kept that it takes long.
const BOUNDS: Bounds = Bounds { made: 9000, kept: 2000 };
/// Backups of a source whose fate is listed.
const LISTED: usize = 300;

/// What becomes of one backup.
#[derive(Debug)]
struct Fate {
    id: String,
    taken: String,
    kept: bool,
    why: String,
}

/// What becomes of the backups of a source.
#[derive(Debug)]
struct Effect {
    repository: String,
    source: String,
    kept: usize,
    removed: usize,
    /// Bytes that those that go had added; newer ones may rely on some of them.
    bytes: u64,
    fates: Vec<Fate>,
}

/// What is left of a year.
#[derive(Debug)]
struct Year {
    made: usize,
    kept: usize,
    words: String,
    calendar: String,
}

#[derive(Template)]
#[template(path = "retention.html")]
struct RetentionPage {
    visitor: Visitor,
    names: Vec<String>,
    asked: Rules,
    faults: Vec<String>,
    warnings: Vec<String>,
    effects: Vec<Effect>,
    problems: Vec<String>,
    year: Option<Result<Year, String>>,
    toml: String,
    /// What the file was when this was made.
    version: String,
}

/// What rules do with what there is, each source by itself.
async fn effects(board: &Board, config: &Config, policy: &Policy) -> (Vec<Effect>, Vec<String>) {
    let (backups, problems) = gather::infos(board).await;
    let mut groups: BTreeMap<(String, String), Vec<Candidate<mantis_repo::BackupId>>> =
        BTreeMap::new();
    for (repository, backup) in &backups {
        let key = (backup.meta.source.clone(), repository.clone());
        groups.entry(key).or_default().push(candidate(backup));
    }
    let (now, zone) = (clock::calendar_now(), config.zone());
    let effect =
        |((source, repository), all): ((String, String), Vec<Candidate<mantis_repo::BackupId>>)| {
            let plan = plan(policy, &all, Circumstances { now, zone: &zone, free: None });
            let of = |id: &mantis_repo::BackupId| all.iter().find(|candidate| candidate.id == *id);
            let taken = |id: &mantis_repo::BackupId| {
                of(id).map(|it| it.time().format("%Y-%m-%d %H:%M:%S").to_string())
            };
            let texts = |reasons: &[mantis_retention::Reason]| {
                reasons.iter().map(ToString::to_string).collect::<Vec<String>>().join(", ")
            };
            let kept = plan.kept.iter().map(|it| (it.id, true, texts(&it.reasons)));
            let gone = plan.removed.iter().map(|it| (it.id, false, it.why.to_string()));
            let mut fates: Vec<Fate> = kept
                .chain(gone)
                .map(|(id, kept, why)| Fate {
                    id: id.to_string(),
                    taken: taken(&id).unwrap_or_default(),
                    kept,
                    why,
                })
                .collect();
            fates.sort_by(|a, b| b.taken.cmp(&a.taken));
            fates.truncate(LISTED);
            let freed = plan.removed.iter().filter_map(|it| of(&it.id)).map(|it| it.bytes);
            Effect {
                repository,
                source,
                kept: plan.kept.len(),
                removed: plan.removed.len(),
                bytes: freed.fold(0, u64::saturating_add),
                fates,
            }
        };
    (groups.into_iter().map(effect).collect(), problems)
}

fn year(config: &Config, policy: &Policy, cron: &str) -> Result<Year, String> {
    let schedule: CronSchedule =
        cron.parse().map_err(|error: mantis_schedule::InvalidCron| error.to_string())?;
    let now = clock::calendar_now();
    let (left, made) = simulated_year(&schedule, policy, (now, config.zone()), BOUNDS)
        .map_err(|error| error.chain_and_help())?;
    let days = left.iter().map(|candidate| candidate.time().date_naive());
    Ok(Year {
        made,
        kept: left.len(),
        words: words::explain(schedule.text()).unwrap_or_default(),
        calendar: charts::calendar(days, now.date_naive()),
    })
}

/// The schedule that keeps by these rules, if there is one.
fn cron_of(config: &Config, policy: &str) -> Option<String> {
    let keeps = |schedule: &&crate::config::ScheduleConfig| {
        schedule.retention.as_ref().is_some_and(|name| name.get_ref() == policy)
    };
    Some(config.schedules.values().find(keeps)?.cron.0.text().to_owned())
}

async fn retention(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Query(mut asked): Query<Rules>,
) -> Response {
    let config = board.config();
    if asked.own.is_empty() {
        let first = || config.retention.iter().next();
        let named = config.retention.get_key_value(&asked.policy).or_else(first);
        if let Some((name, rules)) = named {
            asked = Rules::of(name, rules, cron_of(&config, name).unwrap_or_default());
        }
    }
    if asked.cron.is_empty() {
        "@daily".clone_into(&mut asked.cron);
    }
    let (policy, faults) = asked.policy();
    let (mut found, mut problems, mut simulated) = (Vec::new(), Vec::new(), None);
    if faults.is_empty() && !policy.is_empty() {
        (found, problems) = effects(&board, &config, &policy).await;
        // One at a time: it takes a core for a moment.
        let turn = Arc::clone(&board.simulations).acquire_owned().await;
        let (of_year, cron) = (policy.clone(), asked.cron.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            year(&config, &of_year, &cron)
        });
        simulated = Some(work.await.unwrap_or_else(|error| Err(error.to_string())));
    }
    let config = board.config();
    let version = config_file::read(&board).await.map(|text| config_file::version(&text));
    pages::page(Ok(RetentionPage {
        visitor,
        version: version.unwrap_or_default(),
        names: config.retention.keys().cloned().collect(),
        warnings: check(&policy).iter().map(ToString::to_string).collect(),
        toml: asked.as_toml(),
        asked,
        faults,
        effects: found,
        problems,
        year: simulated,
    }))
}

/// Rules to be saved.
#[derive(Debug, Deserialize)]
struct Saved {
    #[serde(flatten)]
    asked: Rules,
    #[serde(default)]
    version: String,
}

async fn save(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Form(Saved { asked, version }): Form<Saved>,
) -> Response {
    let saved =
        change(&board, &visitor, Some(&version), ("retention", &asked.policy), |text, _| {
            let (policy, faults) = asked.policy();
            if let Some(first) = faults.into_iter().next() {
                return Err(fault(first));
            }
            if policy.is_empty() {
                return Err(fault("there is no rule and no cap: it would remove nothing"));
            }
            with_retention(text, &asked.policy, asked.rules()).map(|(changed, _)| changed)
        });
    match saved.await {
        Ok(()) => login::to(&format!("/retention?policy={}", show::encoded(&asked.policy))),
        Err(NotSaved::Failed(error)) => pages::failed(&visitor, &error),
        Err(NotSaved::Refused { faults, .. }) => {
            let help = "go back, and try it out again before you save";
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let why = faults.join("; ");
            pages::problem(status, "The rules were not saved", &visitor, &why, help)
        }
    }
}

pub(super) fn routes() -> Router<Board> {
    Router::new().route("/retention", get(retention)).route("/retention/save", post(save))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_year_is_drawn_and_too_much_work_is_refused() {
        let config = parse("").unwrap();
        let policy = Policy { keep_daily: Some(30), ..Policy::default() };
        let drawn = year(&config, &policy, "@daily").unwrap();
        assert!(drawn.made >= 365 && drawn.kept == 30 && drawn.words.contains("00:00"));
        assert!(year(&config, &policy, "* * * * *").unwrap_err().contains("9000"));
        assert!(year(&config, &policy, "nonsense").is_err());
    }
}
