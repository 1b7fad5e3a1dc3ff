//! Daemons that share databases, and how old the newest backups are: by what the repositories alone tell.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::catalogues::Seen;
use super::gather::{AllSeen, all_seen, problem};
use super::visitor::Visitor;
use super::{Board, api, pages, show};
use crate::fleet_status::{self, FleetMember};
use crate::format_time;
use crate::parse::duration;
use crate::when::format_seconds;

/// Databases that the page shows.
const SHOWN: usize = 200;
/// Ages that are counted, as they are asked for.
const AGES: [&str; 5] = ["1m", "10m", "1h", "1d", "7d"];

/// Of which databases the newest backup is asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct FleetFilter {
    /// Those with this in their name.
    name: String,
    /// Those whose newest backup is older: 90s, 10m, 2h, 1d.
    older_than: String,
}

/// A daemon that shares its databases with others.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Member {
    /// Its id, another one each time it begins.
    id: String,
    /// The machine that it runs on.
    host: String,
    /// `alive`, or `silent`: its lease has ended.
    state: &'static str,
    /// When it told of itself last, by its own clock.
    told_at: String,
    /// How long ago that was when the repository was looked at, in milliseconds.
    silent_ms: u64,
    /// How long it holds what it protects without telling again, in milliseconds.
    lease_ms: u64,
    /// How many databases it has.
    databases: u64,
    /// How many of them it protects; none where it is silent, as others do.
    protects: Option<u64>,
}

/// The daemons that share databases by one repository.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Fleet {
    /// The repository's name in the configuration.
    repository: String,
    /// When it was looked at: all of this is as of then.
    seen: Option<String>,
    /// By host.
    members: Vec<Member>,
    /// How many of them are alive.
    alive: usize,
    /// How many databases these protect.
    protected: u64,
    /// How many databases are protected by none, though one that is alive has them: at least so many.
    left: u64,
}

/// The newest backup of a database in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Newest {
    /// The repository's name in the configuration.
    repository: String,
    /// What the database is called in it.
    source: String,
    /// The backup's id.
    backup: String,
    /// When it was taken.
    taken_at: String,
    /// How old it is, in seconds.
    age_seconds: i64,
    /// How many backups of the database there are.
    backups: u64,
}

/// How many databases have no backup that is younger.
#[derive(Debug, PartialEq, Eq)]
struct Age {
    than: &'static str,
    databases: usize,
}

/// What the repositories tell of daemons and databases.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Fleets {
    /// By repository: those in which daemons tell of themselves, or are to.
    fleets: Vec<Fleet>,
    /// Those that are asked for, oldest first.
    newest: Vec<Newest>,
    /// What could not be read, and why.
    problems: Vec<String>,
    /// How many databases there are.
    #[serde(skip)]
    count: usize,
    /// How many of them are asked for.
    #[serde(skip)]
    found: usize,
    #[serde(skip)]
    ages: Vec<Age>,
}

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    visitor: Visitor,
    filter: FleetFilter,
    fleets: Fleets,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<&FleetMember> for Member {
    fn from(member: &FleetMember) -> Self {
        Self {
            id: member.id.to_string(),
            host: member.beat.host.clone(),
            state: member.state(),
            told_at: format_time(member.beat.at),
            silent_ms: millis(member.silent),
            lease_ms: member.beat.lease_ms,
            databases: member.beat.databases,
            protects: member.protects(),
        }
    }
}

impl Fleet {
    fn of(repository: &str, seen: Option<String>, members: &[FleetMember]) -> Self {
        let members: Vec<Member> = members.iter().map(Member::from).collect();
        let alive = || members.iter().filter_map(|member| Some((member, member.protects?)));
        let protected = alive().map(|(_, protects)| protects).fold(0, u64::saturating_add);
        let has = alive().map(|(member, _)| member.databases).max().unwrap_or(0);
        Self {
            repository: repository.to_owned(),
            seen,
            alive: alive().count(),
            protected,
            left: has.saturating_sub(protected),
            members,
        }
    }
}

fn newest_in(repository: &str, seen: &Seen) -> Vec<Newest> {
    let sources = fleet_status::sources(&seen.backups);
    let newest = sources.iter().map(|source| Newest {
        repository: repository.to_owned(),
        source: source.name.to_owned(),
        backup: source.newest.id.to_string(),
        taken_at: format_time(source.newest.meta.created_at),
        age_seconds: i64::try_from(source.age().as_secs()).unwrap_or(i64::MAX),
        backups: source.backups,
    });
    newest.collect()
}

/// The ages that are counted, of these databases.
fn ages(newest: &[Newest]) -> Vec<Age> {
    let count = |than: &&'static str| {
        let limit = seconds(than).unwrap_or(i64::MAX);
        let databases = newest.iter().filter(|one| one.age_seconds > limit).count();
        Age { than, databases }
    };
    AGES.iter().map(count).collect()
}

fn seconds(text: &str) -> Result<i64, String> {
    duration(text).map(|time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

impl Fleets {
    fn of(seen: &AllSeen, own: Option<&str>, filter: &FleetFilter) -> Result<Self, String> {
        let older_than = match filter.older_than.trim() {
            "" => -1,
            text => seconds(text)?,
        };
        let of = |(name, seen): (&String, &Arc<Seen>)| {
            let is_one = own == Some(name) && seen.at.is_some() || !seen.members.is_empty();
            is_one.then(|| Fleet::of(name, seen.at.as_ref().map(format_seconds), &seen.members))
        };
        let mut newest: Vec<Newest> =
            seen.iter().flat_map(|(name, seen)| newest_in(name, seen)).collect();
        let (count, ages) = (newest.len(), ages(&newest));
        newest.retain(|one| one.age_seconds > older_than && one.source.contains(&filter.name));
        newest.sort_by(|a, b| (b.age_seconds, &a.source).cmp(&(a.age_seconds, &b.source)));
        let untold = seen
            .iter()
            .flat_map(|(name, seen)| seen.untold.iter().map(move |why| format!("{name}: {why}")));
        let problems = seen.iter().filter_map(|(name, seen)| problem(name, seen));
        Ok(Self {
            fleets: seen.iter().filter_map(of).collect(),
            problems: problems.chain(untold).collect(),
            found: newest.len(),
            newest,
            count,
            ages,
        })
    }
}

async fn gather(board: &Board, filter: &FleetFilter) -> Result<Fleets, String> {
    let config = board.config();
    let own = config.fleet.as_ref().and_then(|fleet| fleet.repository_of(&config));
    Fleets::of(&all_seen(board, &config, "").await, own.as_deref(), filter)
}

async fn show_fleet(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Query(filter): Query<FleetFilter>,
) -> Response {
    match gather(&board, &filter).await {
        Ok(mut fleets) => {
            fleets.newest.truncate(SHOWN);
            pages::page(Ok(FleetPage { visitor, filter, fleets }))
        }
        Err(why) => {
            let (status, title) = (StatusCode::BAD_REQUEST, "That is no age");
            pages::problem(status, title, &visitor, &why, "write it as 90s, 10m, 2h or 1d")
        }
    }
}

/// The daemons that share databases, and the newest backup of each database, oldest first: by what the repositories alone tell.
#[utoipa::path(get, path = "/fleet", params(FleetFilter), responses((status = 200, body = Fleets), (status = 400, body = api::Problem)))]
pub(super) async fn fleet(
    State(board): State<Board>,
    Query(filter): Query<FleetFilter>,
) -> Response {
    match gather(&board, &filter).await {
        Ok(fleets) => Json(fleets).into_response(),
        Err(why) => api::problem(StatusCode::BAD_REQUEST, &why, None),
    }
}

pub(super) fn routes() -> Router<Board> {
    Router::new().route("/fleet", get(show_fleet))
}

#[cfg(test)]
mod tests {
    use mantis_repo::{Beat, MemberId, UnixMillis, hash_of_names};

    use super::*;

    fn member(number: u8, silent_ms: i64, databases: u64, protected: u64) -> FleetMember {
        let beat = Beat {
            host: format!("host-{number}"),
            at: UnixMillis(0),
            lease_ms: 30_000,
            names: hash_of_names([]),
            databases,
            protected,
            view: Default::default(),
        };
        let silent = Duration::from_millis(silent_ms as u64);
        FleetMember { id: MemberId([number; 16]), beat, silent }
    }

    #[test]
    fn what_a_silent_daemon_protected_is_protected_by_none() {
        let both = Fleet::of("main", None, &[member(1, 0, 10, 4), member(2, 0, 10, 6)]);
        assert_eq!((both.alive, both.protected, both.left), (2, 10, 0));
        let one = Fleet::of("main", None, &[member(1, 0, 10, 4), member(2, 60_000, 12, 6)]);
        assert_eq!((one.alive, one.protected, one.left), (1, 4, 6));
        assert_eq!(one.members[1].state, "silent");
        assert_eq!(one.members[1].protects, None);
        let none = Fleet::of("main", None, &[]);
        assert_eq!((none.alive, none.protected, none.left), (0, 0, 0));
    }

    #[test]
    fn a_member_may_tell_any_number() {
        let all = [member(1, 0, u64::MAX, u64::MAX), member(2, i64::MAX / 2, 1, 1)];
        let fleet = Fleet::of("main", None, &[&all[..], &all[..]].concat());
        assert_eq!((fleet.alive, fleet.protected, fleet.left), (2, u64::MAX, 0));
    }

    #[test]
    fn ages_are_counted_from_each_limit_on() {
        let newest = |age_seconds| Newest {
            repository: "main".into(),
            source: "s".into(),
            backup: "b".into(),
            taken_at: "2026-11-28T00:00:00Z".into(),
            age_seconds,
            backups: 1,
        };
        let counted = ages(&[0, 60, 61, 3601, 90_000].map(newest));
        let numbers: Vec<usize> = counted.iter().map(|age| age.databases).collect();
        assert_eq!(numbers, [3, 2, 2, 1, 0]);
    }

    #[test]
    fn what_is_no_age_is_told() {
        let of = |older_than: &str| {
            let filter = FleetFilter { older_than: older_than.into(), ..FleetFilter::default() };
            Fleets::of(&AllSeen::new(), None, &filter).map(|fleets| fleets.found)
        };
        assert_eq!((of(""), of(" 10m ")), (Ok(0), Ok(0)));
        assert!(of("soon").is_err());
    }
}
