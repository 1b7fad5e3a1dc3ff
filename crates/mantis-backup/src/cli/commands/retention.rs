//! `mantis retention`

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::Path;

use mantis_repo::UnixMillis;
use mantis_retention::{Candidate, Circumstances, State, calendar, calendar_time, plan};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::args::{RetentionCommand, SimulateArgs};
use crate::cli::context::Context;
use crate::cli::decisions::{self, Fate, fates};
use crate::cli::exit_code::Ending;
use crate::simulated_year::{Bounds, simulated_year};
use crate::{Error, clock, format_time, parse_time};

/// The largest file of backups, in bytes: a million backups fit.
const MAX_LEN: u64 = 256 << 20;
/// A simulated year has at most a backup each minute.
const BOUNDS: Bounds = Bounds { made: 600_000, kept: 20_000 };

/// A backup as it stands in the file. Other fields, such as `mantis list --json` prints, are not looked at.
#[derive(Deserialize)]
struct Given {
    id: GivenId,
    source: String,
    created_at: String,
    #[serde(default)]
    tags: GivenTags,
    #[serde(default)]
    state: GivenState,
}

/// A name, or a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum GivenId {
    Text(String),
    Number(i64),
}

/// An object, or a list of `key=value`.
#[derive(Deserialize)]
#[serde(untagged)]
enum GivenTags {
    Named(BTreeMap<String, String>),
    Listed(Vec<String>),
}

impl Default for GivenTags {
    fn default() -> Self {
        Self::Named(BTreeMap::new())
    }
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum GivenState {
    #[default]
    Good,
    Running,
    Failed,
}

impl Given {
    fn candidate(self) -> Result<Candidate<String>, Error> {
        let id = match self.id {
            GivenId::Text(text) => text,
            GivenId::Number(number) => number.to_string(),
        };
        let tags = match self.tags {
            GivenTags::Named(tags) => tags,
            GivenTags::Listed(tags) => {
                let pair = |tag: String| match tag.split_once('=') {
                    Some((key, value)) => (key.to_owned(), value.to_owned()),
                    None => (tag, String::new()),
                };
                tags.into_iter().map(pair).collect()
            }
        };
        let created_at = parse_time(&self.created_at).map_err(|error| {
            Error::usage(
                format!("the backup {id:?} has no time: {error}"),
                "created_at is a time in RFC 3339",
            )
        })?;
        let state = match self.state {
            GivenState::Good => State::Good,
            GivenState::Running => State::Running,
            GivenState::Failed => State::Failed,
        };
        let new = Candidate::new(id, self.source, created_at.0);
        Ok(Candidate { tags, state, ..new })
    }
}

fn read(path: &Path) -> Result<Vec<Candidate<String>>, Error> {
    let mut bytes = Vec::new();
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        Error::Other {
        doing: format!("read the backups in {}", path.display()),
        source,
        help: Some(
            "it holds a JSON array of objects with id, source and created_at, as `mantis list --json` prints it".into(),
        ),
    }
    };
    let opened: Result<Box<dyn Read>, std::io::Error> = if path == Path::new("-") {
        Ok(Box::new(std::io::stdin()))
    } else {
        std::fs::File::open(path).map(|file| Box::new(file) as Box<dyn Read>)
    };
    let read = opened.and_then(|file| file.take(MAX_LEN + 1).read_to_end(&mut bytes));
    read.map_err(|error| failed(error.into()))?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(failed("it is longer than 256 MiB".into()));
    }
    let given: Vec<Given> = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
    let candidates: Vec<_> = given.into_iter().map(Given::candidate).collect::<Result<_, _>>()?;
    let mut ids = HashSet::new();
    match candidates.iter().find(|candidate| !ids.insert(&candidate.id)) {
        None => Ok(candidates),
        Some(twice) => Err(failed(format!("two backups have the id {:?}", twice.id).into())),
    }
}

fn as_json(candidate: &Candidate<String>) -> Value {
    json!({
        "id": candidate.id,
        "source": candidate.source,
        "created_at": format_time(UnixMillis(candidate.created_at)),
        "tags": candidate.tags,
    })
}

fn line(candidate: &Candidate<String>) -> String {
    let time = format_time(UnixMillis(candidate.created_at));
    format!("{} {time} {}", candidate.id, candidate.source)
}

fn simulate(context: &Context, args: &SimulateArgs) -> Result<Ending, Error> {
    let (policy, zone) = (args.policy.policy(), args.policy.zone());
    if policy.is_empty() {
        return Err(super::forget::no_rule());
    }
    let now = calendar_time(args.now.unwrap_or_else(clock::now).0);
    let backups = match (&args.backups, &args.schedule) {
        (Some(path), _) => read(path)?,
        (None, Some(schedule)) => simulated_year(schedule, &policy, (now, zone), BOUNDS)?.0,
        (None, None) => Vec::new(),
    };
    let plan = plan(&policy, &backups, Circumstances { now, zone: &zone, free: None });
    let by_id: BTreeMap<&String, &Candidate<String>> =
        backups.iter().map(|candidate| (&candidate.id, candidate)).collect();
    let found = |id: &String| by_id.get(id).copied();
    let mut fates = fates(&plan);
    let kept = plan.kept.iter().map(|kept| &kept.id);
    let decided = kept.chain(plan.removed.iter().map(|removed| &removed.id));
    let decisions: Vec<(&Candidate<String>, Fate)> =
        decided.filter_map(|id| Some((found(id)?, fates.remove(id)?))).collect();
    let warnings: Vec<String> = plan.warnings.iter().map(ToString::to_string).collect();
    let values = decisions.iter().map(|(candidate, fate)| (as_json(candidate), fate));
    let mut result = decisions::as_json(values, &warnings);
    result["ignored"] = plan.ignored.iter().filter_map(found).map(as_json).collect();
    context.result(&result)?;
    if args.schedule.is_none() {
        let lines = decisions.iter().map(|(candidate, fate)| (line(candidate), fate));
        decisions::show(context, lines, true)?;
    }
    let kept =
        plan.kept.iter().filter_map(|kept| Some((found(&kept.id)?.time(), &kept.reasons[..])));
    context.say(format!("\n{}", calendar(kept, now, &zone).trim_end()))?;
    context.say(format!("\n{} kept, {} forgotten", plan.kept.len(), plan.removed.len()))?;
    decisions::warn(&warnings);
    Ok(Ending::Done)
}

pub(crate) fn run(context: &Context, what: &RetentionCommand) -> Result<Ending, Error> {
    match what {
        RetentionCommand::Simulate(args) => simulate(context, args),
    }
}
