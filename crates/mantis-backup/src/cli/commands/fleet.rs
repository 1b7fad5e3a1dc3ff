//! `mantis fleet status`

use std::collections::BTreeMap;
use std::time::Duration;

use mantis_repo::{BackupInfo, Beat, Catalogue, MemberId, Repository, UnixMillis};
use serde_json::{Value, json};

use crate::cli::args::FleetCommand;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::{count, table};
use crate::human::time;
use crate::{Error, format_time};

/// How often a member is read that goes on meanwhile.
const TRIES: usize = 8;

/// A member, as far as it tells.
struct Member {
    id: MemberId,
    beat: Beat,
    silent: Duration,
}

impl Member {
    /// Whether its lease may still last, should its clock go as ours.
    fn is_alive(&self) -> bool {
        self.silent < Duration::from_millis(self.beat.lease_ms)
    }

    fn state(&self) -> &'static str {
        if self.is_alive() { "alive" } else { "silent" }
    }
}

/// What there is of a source.
struct Source<'a> {
    name: &'a str,
    backups: u64,
    newest: &'a BackupInfo,
    age: Duration,
}

fn since(then: UnixMillis) -> Duration {
    Duration::from_millis(u64::try_from(crate::now().0.saturating_sub(then.0)).unwrap_or(0))
}

/// A member's newest beat; none where it has left. A beat is gone a moment after the next one is there.
async fn newest_beat(repo: &Repository, id: MemberId) -> Result<Option<Beat>, Error> {
    for _ in 0..TRIES {
        let Some(number) = repo.fleet().await?.get(&id).copied() else { return Ok(None) };
        if let Some(beat) = repo.fleet_beat(id, number).await? {
            return Ok(Some(beat));
        }
    }
    let help = "ask again, or give the fleet a longer `lease`";
    Err(Error::usage(format!("the member {id} goes on faster than it can be read"), help))
}

async fn members(repo: &Repository) -> Result<Vec<Member>, Error> {
    let mut members = Vec::new();
    for (id, number) in repo.fleet().await? {
        let beat = match repo.fleet_beat(id, number).await? {
            Some(beat) => Some(beat),
            None => newest_beat(repo, id).await?,
        };
        members.extend(beat.map(|beat| Member { id, silent: since(beat.at), beat }));
    }
    members.sort_by(|a, b| (&a.beat.host, a.id).cmp(&(&b.beat.host, b.id)));
    Ok(members)
}

fn sources(catalogue: &Catalogue) -> Vec<Source<'_>> {
    let mut sources: BTreeMap<&str, Source<'_>> = BTreeMap::new();
    for info in &catalogue.backups {
        let age = since(info.meta.created_at);
        let name = info.meta.source.as_str();
        let source = sources.entry(name).or_insert(Source { name, backups: 0, newest: info, age });
        source.backups += 1;
        if age <= source.age {
            (source.newest, source.age) = (info, age);
        }
    }
    sources.into_values().collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn member_json(member: &Member) -> Value {
    let Beat { host, at, lease_ms, databases, protected, .. } = &member.beat;
    json!({
        "id": member.id.to_string(), "host": host, "state": member.state(), "told_at": format_time(*at),
        "silent_ms": millis(member.silent), "lease_ms": lease_ms, "databases": databases, "protected": protected,
    })
}

fn source_json(source: &Source<'_>) -> Value {
    json!({
        "source": source.name, "backups": source.backups, "newest": source.newest.id.to_string(),
        "taken_at": format_time(source.newest.meta.created_at), "age_ms": millis(source.age),
    })
}

fn show_members(context: &Context, members: &[Member]) -> Result<(), Error> {
    if members.is_empty() {
        return context
            .say("no daemon tells of itself here: those with [fleet] in their configuration do");
    }
    let mut rows = vec![
        ["MEMBER", "HOST", "STATE", "HEARD OF", "LEASE", "DATABASES", "PROTECTS"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(members.iter().map(|member| {
        vec![
            member.id.to_string()[..8].to_owned(),
            member.beat.host.clone(),
            member.state().to_owned(),
            time(member.silent) + " ago",
            time(Duration::from_millis(member.beat.lease_ms)),
            count(member.beat.databases),
            // What a silent one protected, others do.
            if member.is_alive() { count(member.beat.protected) } else { "-".to_owned() },
        ]
    }));
    context.say(table(&rows).trim_end())
}

fn show_sources(context: &Context, shown: &[&Source<'_>]) -> Result<(), Error> {
    if shown.is_empty() {
        return Ok(());
    }
    let mut rows =
        vec![["SOURCE", "BACKUPS", "NEWEST", "TAKEN", "AGE"].map(str::to_owned).to_vec()];
    rows.extend(shown.iter().map(|source| {
        vec![
            source.name.to_owned(),
            count(source.backups),
            source.newest.id.short(),
            format_time(source.newest.meta.created_at),
            time(source.age),
        ]
    }));
    context.say(table(&rows).trim_end())
}

pub(crate) async fn run(context: &Context, command: FleetCommand) -> Result<Ending, Error> {
    let FleetCommand::Status { all, older_than } = command;
    let repo = context.open().await?;
    let (members, catalogue) = (members(&repo).await?, repo.catalogue().await?);
    let sources = sources(&catalogue);
    let is_old = |source: &&Source<'_>| older_than.is_some_and(|limit| source.age > limit);
    let old: Vec<&Source<'_>> = sources.iter().filter(is_old).collect();
    context.result(&json!({
        "members": members.iter().map(member_json).collect::<Vec<_>>(),
        "sources": sources.iter().map(source_json).collect::<Vec<_>>(),
        "older": old.iter().map(|source| source.name).collect::<Vec<_>>(),
    }))?;
    show_members(context, &members)?;
    let oldest = sources.iter().max_by_key(|source| source.age);
    context.say(match oldest {
        Some(oldest) => format!(
            "{} sources with {} backups; the newest one of {} is the oldest of these, {} old",
            count(sources.len() as u64),
            count(catalogue.backups.len() as u64),
            oldest.name,
            time(oldest.age)
        ),
        None => "no backups".to_owned(),
    })?;
    show_sources(context, &if all { sources.iter().collect() } else { old.clone() })?;
    let is_whole = old.is_empty() && catalogue.unreadable.is_empty();
    for unreadable in catalogue.unreadable {
        crate::cli::report(&unreadable.error.into());
    }
    Ok(if is_whole { Ending::Done } else { Ending::InPart })
}
