//! Schedules and rules of retention, read and changed by programs.
//!
//! Answers name the version of the file that they are of in `ETag`; a change that sends it in `If-Match` is refused where the file is another one by
//! then.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use toml_edit::{Array, Value};
use utoipa::ToSchema;

use super::config_file::{NotSaved, change, read, version};
use super::editor::{ACTIONS, edit_of};
use super::visitor::Visitor;
use super::{Board, api};
use crate::config::RetentionConfig;
use crate::config::edit::{ScheduleEdit, fault, with_retention, with_schedule};

const fn yes() -> bool {
    true
}

/// A schedule, as far as it can be changed here. What else the file says of it stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Schedule {
    /// When: as in crontab(5).
    cron: String,
    /// What is done: `backup`, `verify`, `drill` or `prune`; `backup` without it.
    #[serde(default, rename = "do")]
    action: Option<String>,
    /// How often its sources are looked at between its runs, to be backed up where something was committed: `5s`; not at all without it.
    #[serde(default)]
    watch: Option<String>,
    /// Of which databases; of all without it.
    #[serde(default)]
    sources: Option<Vec<String>>,
    /// In which repository; the only one without it.
    #[serde(default)]
    repository: Option<String>,
    /// The rules of what is kept; all without them.
    #[serde(default)]
    retention: Option<String>,
    /// Whose times of day are meant; the configuration's without it.
    #[serde(default)]
    timezone: Option<String>,
    /// Whether it is on.
    #[serde(default = "yes")]
    enabled: bool,
}

/// Rules of what is kept: without a rule all that the caps leave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Retention {
    /// The last so many.
    keep_last: Option<u32>,
    /// The last of each minute, for so many minutes that have one.
    keep_minutely: Option<u32>,
    /// Likewise of each hour.
    keep_hourly: Option<u32>,
    /// Likewise of each day.
    keep_daily: Option<u32>,
    /// Likewise of each week.
    keep_weekly: Option<u32>,
    /// Likewise of each month.
    keep_monthly: Option<u32>,
    /// Likewise of each year.
    keep_yearly: Option<u32>,
    /// The oldest too, as long as a rule that counts minutes to years has some left to keep.
    keep_oldest: bool,
    /// All that are less than this much older than the newest: `48h`, `30d`.
    keep_within: Option<String>,
    /// All with one of these tags: `KEY=VALUE`, or `KEY` with any value.
    keep_tags: Vec<String>,
    /// None that is older than this.
    max_age: Option<String>,
    /// No more than the newest so many of each source.
    max_count: Option<u32>,
}

impl Schedule {
    fn of(edit: ScheduleEdit) -> Self {
        Self {
            cron: edit.cron,
            action: Some(edit.action.name().to_owned()),
            watch: edit.watch,
            sources: edit.sources,
            repository: edit.repository,
            retention: edit.retention,
            timezone: edit.timezone,
            enabled: edit.enabled,
        }
    }

    fn edit(self, name: String) -> Result<ScheduleEdit, String> {
        let named = self.action.unwrap_or_else(|| ACTIONS[0].name().to_owned());
        let action = ACTIONS.into_iter().find(|action| action.name() == named);
        Ok(ScheduleEdit {
            name,
            cron: self.cron,
            action: action
                .ok_or_else(|| format!("nothing is called {named:?} that could be done"))?,
            watch: self.watch,
            sources: self.sources,
            repository: self.repository,
            retention: self.retention,
            timezone: self.timezone,
            enabled: self.enabled,
        })
    }
}

impl Retention {
    fn of(rules: &RetentionConfig) -> Self {
        Self {
            keep_last: rules.keep_last,
            keep_minutely: rules.keep_minutely,
            keep_hourly: rules.keep_hourly,
            keep_daily: rules.keep_daily,
            keep_weekly: rules.keep_weekly,
            keep_monthly: rules.keep_monthly,
            keep_yearly: rules.keep_yearly,
            keep_oldest: rules.keep_oldest,
            keep_within: rules.keep_within.map(|span| span.0.to_string()),
            keep_tags: rules.keep_tags.clone(),
            max_age: rules.max_age.map(|span| span.0.to_string()),
            max_count: rules.max_count,
        }
    }

    /// The keys of the file, each with its value, or none.
    fn values(&self) -> Vec<(&'static str, Option<Value>)> {
        let number = |number: Option<u32>| number.map(|it| Value::from(i64::from(it)));
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let tags = || Value::from(self.keep_tags.iter().collect::<Array>());
        vec![
            ("keep_last", number(self.keep_last)),
            ("keep_minutely", number(self.keep_minutely)),
            ("keep_hourly", number(self.keep_hourly)),
            ("keep_daily", number(self.keep_daily)),
            ("keep_weekly", number(self.keep_weekly)),
            ("keep_monthly", number(self.keep_monthly)),
            ("keep_yearly", number(self.keep_yearly)),
            ("keep_oldest", self.keep_oldest.then(|| Value::from(true))),
            ("keep_within", text(&self.keep_within)),
            ("keep_tags", (!self.keep_tags.is_empty()).then(tags)),
            ("max_age", text(&self.max_age)),
            ("max_count", number(self.max_count)),
        ]
    }
}

/// Something of the configuration, with the version of the file that it is of.
async fn with_version<T: Serialize>(board: &Board, found: T) -> Response {
    match read(board).await {
        Ok(text) => ([(ETAG, format!("\"{}\"", version(&text)))], Json(found)).into_response(),
        Err(error) => api::failed(&error),
    }
}

/// The version that a change is meant for, if it says one.
fn meant_for(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(IF_MATCH)?.to_str().unwrap_or_default().trim();
    (tag != "*").then(|| tag.trim_matches('"').to_owned())
}

fn answer(saved: Result<(), NotSaved>) -> Response {
    match saved {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(NotSaved::Failed(error)) => api::failed(&error),
        Err(NotSaved::Refused { is_stale, faults, .. }) => {
            let status = if is_stale {
                StatusCode::PRECONDITION_FAILED
            } else {
                StatusCode::UNPROCESSABLE_ENTITY
            };
            api::problem(status, &faults.join("; "), Some("nothing was changed"))
        }
    }
}

/// Every schedule of the configuration, those that are off too, by their names.
#[utoipa::path(get, path = "/schedules", responses((status = 200, body = BTreeMap<String, Schedule>), (status = 500, body = api::Problem)))]
pub(super) async fn schedules(State(board): State<Board>) -> Response {
    let config = board.config();
    let all = config.schedules.iter();
    let all = all.map(|(name, it)| (name.clone(), Schedule::of(edit_of(name, it))));
    with_version(&board, all.collect::<BTreeMap<String, Schedule>>()).await
}

/// Changes a schedule, or makes it. For operators.
#[utoipa::path(put, path = "/schedules/{name}", request_body = Schedule, params(("name" = String, Path, description = "Its name"), ("If-Match" = Option<String>, Header, description = "The `ETag` that it is meant for")), responses((status = 204), (status = 401, body = api::Problem), (status = 403, body = api::Problem), (status = 412, body = api::Problem), (status = 422, body = api::Problem)))]
pub(super) async fn put_schedule(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(schedule): Json<Schedule>,
) -> Response {
    let seen = meant_for(&headers);
    let what = name.clone();
    let saved = change(&board, &visitor, seen.as_deref(), ("schedule", &what), |text, _| {
        let edit = schedule.edit(name).map_err(fault)?;
        with_schedule(text, &edit).map(|(changed, _)| changed)
    });
    answer(saved.await)
}

/// All rules of what is kept, by their names.
#[utoipa::path(get, path = "/retention", responses((status = 200, body = BTreeMap<String, Retention>), (status = 500, body = api::Problem)))]
pub(super) async fn retention(State(board): State<Board>) -> Response {
    let config = board.config();
    let all = config.retention.iter().map(|(name, rules)| (name.clone(), Retention::of(rules)));
    with_version(&board, all.collect::<BTreeMap<String, Retention>>()).await
}

/// Changes rules of what is kept, or makes them. For operators. They count for the schedules that name them, from their next backups on.
#[utoipa::path(put, path = "/retention/{name}", request_body = Retention, params(("name" = String, Path, description = "Their name"), ("If-Match" = Option<String>, Header, description = "The `ETag` that it is meant for")), responses((status = 204), (status = 401, body = api::Problem), (status = 403, body = api::Problem), (status = 412, body = api::Problem), (status = 422, body = api::Problem)))]
pub(super) async fn put_retention(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(rules): Json<Retention>,
) -> Response {
    let seen = meant_for(&headers);
    let saved = change(&board, &visitor, seen.as_deref(), ("retention", &name), |text, _| {
        with_retention(text, &name, rules.values()).map(|(changed, _)| changed)
    });
    answer(saved.await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EXAMPLE, parse};

    #[test]
    fn what_is_read_and_sent_back_changes_nothing() {
        let config = parse(EXAMPLE).unwrap();
        assert!(!config.schedules.is_empty() && !config.retention.is_empty());
        for (name, rules) in &config.retention {
            let sent = serde_json::to_string(&Retention::of(rules)).unwrap();
            let read: Retention = serde_json::from_str(&sent).unwrap();
            let (_, changed) = with_retention(EXAMPLE, name, read.values()).unwrap();
            assert_eq!(changed.retention, config.retention, "{name}");
        }
        for (name, schedule) in &config.schedules {
            let sent = serde_json::to_string(&Schedule::of(edit_of(name, schedule))).unwrap();
            let read: Schedule = serde_json::from_str(&sent).unwrap();
            assert_eq!(read.edit(name.clone()).unwrap(), edit_of(name, schedule));
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(serde_json::from_str::<Schedule>(r#"{"cron": "@daily", "dwim": 1}"#).is_err());
        assert!(serde_json::from_str::<Retention>(r#"{"keep_last": -1}"#).is_err());
        let all: Schedule = serde_json::from_str(r#"{"cron": "@daily"}"#).unwrap();
        assert!(all.enabled && all.clone().edit("x".into()).is_ok());
        assert!(Schedule { action: Some("guess".into()), ..all }.edit("x".into()).is_err());
    }
}
