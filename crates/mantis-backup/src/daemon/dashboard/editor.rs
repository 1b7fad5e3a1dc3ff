//! Schedules made and changed by operators.

use std::collections::BTreeMap;

use askama::Template;
use axum::Json;
use axum::Router;
use axum::extract::{Extension, Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mantis_schedule::CronSchedule;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::config_file::{NotSaved, change, read, version};
use super::visitor::Visitor;
use super::{Board, api, login, pages, words};
use crate::clock;
use crate::config::edit::{ScheduleEdit, fault, with_schedule};
use crate::config::{Action, Config, ScheduleConfig};
use crate::when::format_seconds;

pub(super) const ACTIONS: [Action; 4] =
    [Action::Backup, Action::Verify, Action::Drill, Action::Prune];
/// Fields for sources begin so.
const SOURCE: &str = "source.";

/// A choice, and whether it is made.
#[derive(Debug)]
struct Choice {
    name: String,
    chosen: bool,
}

fn choices<'a>(names: impl Iterator<Item = &'a String>, chosen: &[String]) -> Vec<Choice> {
    let choice = |name: &String| Choice { name: name.clone(), chosen: chosen.contains(name) };
    names.map(choice).collect()
}

#[derive(Template)]
#[template(path = "schedule.html")]
struct EditorPage {
    visitor: Visitor,
    is_new: bool,
    name: String,
    cron: String,
    watch: String,
    timezone: String,
    /// Whose times of day are meant without one.
    usual_timezone: String,
    actions: Vec<Choice>,
    /// None chosen: all of them.
    sources: Vec<Choice>,
    repositories: Vec<Choice>,
    retention: Vec<Choice>,
    enabled: bool,
    /// What the file was when this was made: what somebody changed meanwhile is not overwritten.
    version: String,
    faults: Vec<String>,
}

/// Which schedule is to be changed; a new one without a name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Which {
    name: String,
}

/// What comes of the form: fields by their names, as there is one for each source.
type Fields = BTreeMap<String, String>;

fn edit(fields: &Fields) -> ScheduleEdit {
    let field = |name: &str| fields.get(name).map(|text| text.trim()).unwrap_or_default();
    let optional = |name: &str| Some(field(name).to_owned()).filter(|text| !text.is_empty());
    let chosen = fields.keys().filter_map(|key| key.strip_prefix(SOURCE));
    let sources: Vec<String> = chosen.map(str::to_owned).collect();
    let action = ACTIONS.into_iter().find(|action| action.name() == field("do"));
    ScheduleEdit {
        name: field("name").to_owned(),
        cron: field("cron").to_owned(),
        action: action.unwrap_or_default(),
        watch: optional("watch"),
        sources: Some(sources).filter(|sources| !sources.is_empty()),
        repository: optional("repository"),
        retention: optional("retention"),
        timezone: optional("timezone"),
        enabled: !field("enabled").is_empty(),
    }
}

/// A schedule of the configuration as a form has it.
pub(super) fn edit_of(name: &str, schedule: &ScheduleConfig) -> ScheduleEdit {
    let name_of = |name: &toml::Spanned<String>| name.get_ref().clone();
    ScheduleEdit {
        name: name.to_owned(),
        cron: schedule.cron.0.text().to_owned(),
        action: schedule.action,
        watch: schedule.watched_every(),
        sources: schedule.sources.as_ref().map(|all| all.iter().map(name_of).collect()),
        repository: schedule.repository.as_ref().map(name_of),
        retention: schedule.retention.as_ref().map(name_of),
        timezone: schedule.timezone.map(|zone| zone.0.name().to_owned()),
        enabled: schedule.enabled,
    }
}

/// The form with what an edit has.
fn form(
    config: &Config,
    (visitor, is_new): (Visitor, bool),
    edit: ScheduleEdit,
    (version, faults): (String, Vec<String>),
) -> Response {
    let one = |name: Option<String>| name.into_iter().collect::<Vec<String>>();
    let actions = ACTIONS
        .map(|action| Choice { name: action.name().to_owned(), chosen: action == edit.action });
    pages::page(Ok(EditorPage {
        visitor,
        is_new,
        name: edit.name,
        cron: edit.cron,
        watch: edit.watch.unwrap_or_default(),
        timezone: edit.timezone.unwrap_or_default(),
        usual_timezone: config.zone().name().to_owned(),
        actions: actions.into(),
        sources: choices(config.sources.keys(), &edit.sources.unwrap_or_default()),
        repositories: choices(config.repositories.keys(), &one(edit.repository)),
        retention: choices(config.retention.keys(), &one(edit.retention)),
        enabled: edit.enabled,
        version,
        faults,
    }))
}

async fn open(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Query(Which { name }): Query<Which>,
) -> Response {
    let config = board.config();
    let is_new = name.is_empty();
    let edited = match config.schedules.get(&name) {
        Some(schedule) => edit_of(&name, schedule),
        None if is_new => ScheduleEdit {
            name,
            cron: "0 3 * * *".into(),
            action: Action::Backup,
            watch: None,
            sources: None,
            repository: None,
            retention: None,
            timezone: None,
            enabled: true,
        },
        None => {
            let error = format!("there is no schedule called {name:?}");
            return pages::problem(StatusCode::NOT_FOUND, "No such schedule", &visitor, &error, "");
        }
    };
    match read(&board).await {
        Ok(text) => form(&config, (visitor, is_new), edited, (version(&text), Vec::new())),
        Err(error) => pages::failed(&visitor, &error),
    }
}

async fn submit(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Form(fields): Form<Fields>,
) -> Response {
    let edited = edit(&fields);
    let is_new = fields.get("new").is_some_and(|new| !new.is_empty());
    let seen = fields.get("version").cloned().unwrap_or_default();
    let what = ("schedule", &*edited.name);
    let saved = change(&board, &visitor, Some(&seen), what, |text, config| {
        let there = config.schedules.contains_key(&edited.name);
        match (is_new, there) {
            (true, true) => {
                Err(fault(format!("there is a schedule called {} already", edited.name)))
            }
            (false, false) => {
                Err(fault(format!("there is no schedule called {} any more", edited.name)))
            }
            _ => with_schedule(text, &edited).map(|(changed, _)| changed),
        }
    });
    match saved.await {
        Ok(()) => login::to("/schedules"),
        Err(NotSaved::Failed(error)) => pages::failed(&visitor, &error),
        Err(NotSaved::Refused { version, faults, .. }) => {
            let config = board.config();
            let mut response = form(&config, (visitor, is_new), edited, (version, faults));
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            response
        }
    }
}

/// An expression to be explained.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Expression {
    /// As in crontab(5).
    cron: String,
    /// Whose times of day are meant; the configuration's without it.
    #[serde(default)]
    timezone: String,
}

/// An expression explained.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explained {
    /// In words; nothing where there are no plain ones.
    words: String,
    /// Its next five runs.
    next: Vec<String>,
}

/// Explains a cron expression: in words, and by its next five runs.
#[utoipa::path(get, path = "/cron", params(Expression), responses((status = 200, body = Explained), (status = 422, body = api::Problem)))]
pub(super) async fn explain(
    State(board): State<Board>,
    Query(asked): Query<Expression>,
) -> Response {
    let config = board.config();
    let zone = match asked.timezone.trim() {
        "" => Ok(config.zone()),
        zone => crate::parse_zone(zone),
    };
    let cron = asked.cron.parse::<CronSchedule>().map_err(|error| error.to_string());
    match (cron, zone) {
        (Ok(cron), Ok(zone)) => {
            let next = cron.after(clock::calendar_now(), zone).take(5);
            let next = next.map(|at| format_seconds(&at.with_timezone(&zone))).collect();
            let words = words::explain(cron.text()).unwrap_or_default();
            Json(Explained { words, next }).into_response()
        }
        (Err(error), _) | (_, Err(error)) => {
            api::problem(StatusCode::UNPROCESSABLE_ENTITY, &error, None)
        }
    }
}

pub(super) fn routes() -> Router<Board> {
    Router::new().route("/schedules/edit", get(open).post(submit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_says_what_the_schedule_says() {
        let text = "[repositories.main]\nurl = \"/r\"\n[sources.a]\npath = \"a\"\n[sources.b]\npath = \"b\"\n[schedules.x]\ncron = \"@daily\"\nsources = [\"b\"]\ndo = \"drill\"\nenabled = false\n";
        let config = crate::config::parse(text).unwrap();
        let edited = edit_of("x", &config.schedules["x"]);
        let fields = [("name", "x"), ("cron", " @daily "), ("do", "drill"), ("source.b", "yes")];
        let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        assert_eq!(edit(&fields.collect()), edited);
        assert_eq!(with_schedule(text, &edited).unwrap().0, text);
    }
}
