//! `mantis fleet status`

use std::time::Duration;

use mantis_repo::Beat;
use serde_json::{Value, json};

use crate::cli::args::FleetCommand;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::{count, counted, table};
use crate::fleet_status::{FleetMember, FleetSource, members, sources};
use crate::human::time;
use crate::{Error, format_time};

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn member_json(member: &FleetMember) -> Value {
    let Beat { host, at, lease_ms, databases, protected, .. } = &member.beat;
    json!({
        "id": member.id.to_string(), "host": host, "state": member.state(), "told_at": format_time(*at),
        "silent_ms": millis(member.silent), "lease_ms": lease_ms, "databases": databases, "protected": protected,
    })
}

fn source_json(source: &FleetSource<'_>) -> Value {
    json!({
        "source": source.name, "backups": source.backups, "newest": source.newest.id.to_string(),
        "taken_at": format_time(source.newest.meta.created_at), "age_ms": millis(source.age()),
    })
}

fn show_members(context: &Context, members: &[FleetMember]) -> Result<(), Error> {
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
            time(member.lease()),
            count(member.beat.databases),
            member.protects().map_or_else(|| "-".to_owned(), count),
        ]
    }));
    context.say(table(&rows).trim_end())
}

fn show_sources(context: &Context, shown: &[&FleetSource<'_>]) -> Result<(), Error> {
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
            time(source.age()),
        ]
    }));
    context.say(table(&rows).trim_end())
}

pub(crate) async fn run(context: &Context, command: FleetCommand) -> Result<Ending, Error> {
    let FleetCommand::Status { all, older_than } = command;
    let repo = context.open().await?;
    let ((members, damaged), catalogue) = (members(&repo).await?, repo.catalogue().await?);
    let sources = sources(&catalogue.backups);
    let is_old = |source: &&FleetSource<'_>| older_than.is_some_and(|limit| source.age() > limit);
    let old: Vec<&FleetSource<'_>> = sources.iter().filter(is_old).collect();
    context.result(&json!({
        "members": members.iter().map(member_json).collect::<Vec<_>>(),
        "sources": sources.iter().map(source_json).collect::<Vec<_>>(),
        "older": old.iter().map(|source| source.name).collect::<Vec<_>>(),
    }))?;
    show_members(context, &members)?;
    let oldest = sources.iter().min_by_key(|source| source.newest.meta.created_at);
    context.say(match oldest {
        Some(oldest) => format!(
            "{} with {}; {} has gone without one for longest, {}",
            counted(sources.len() as u64, "source", "sources"),
            counted(catalogue.backups.len() as u64, "backup", "backups"),
            oldest.name,
            time(oldest.age())
        ),
        None => "no backups".to_owned(),
    })?;
    show_sources(context, &if all { sources.iter().collect() } else { old.clone() })?;
    let is_whole = old.is_empty() && damaged.is_empty() && catalogue.unreadable.is_empty();
    let unreadable = catalogue.unreadable.into_iter().map(|unreadable| unreadable.error.into());
    for error in damaged.into_iter().chain(unreadable) {
        crate::cli::report(&error);
    }
    Ok(if is_whole { Ending::Done } else { Ending::InPart })
}
