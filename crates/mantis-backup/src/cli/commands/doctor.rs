//! `mantis doctor`

use mantis_sink::ProbeReport;
use serde_json::{Value, json};

use crate::cli::args::DoctorArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::table;
use crate::{Error, probe_store};

fn report_json(url: &str, report: &ProbeReport, repository: &Value) -> Value {
    let checks: Vec<Value> = report
        .steps
        .iter()
        .map(|step| match &step.found {
            Ok(found) => json!({ "name": step.name, "ok": true, "found": found }),
            Err(fault) => json!({
                "name": step.name, "ok": false, "found": fault.what, "help": fault.cure, "bearable": fault.bearable,
            }),
        })
        .collect();
    json!({ "url": url, "usable": report.is_usable(), "repository": repository, "checks": checks })
}

/// Prints what was found; what is wrong with its cure.
pub(crate) fn show(context: &Context, report: &ProbeReport) -> Result<(), Error> {
    let rows: Vec<Vec<String>> = report
        .steps
        .iter()
        .map(|step| match &step.found {
            Ok(found) => vec![step.name.to_owned(), "ok".to_owned(), found.clone()],
            Err(fault) => vec![step.name.to_owned(), "FAULT".to_owned(), fault.what.clone()],
        })
        .collect();
    context.say(table(&rows).trim_end())?;
    for (name, fault) in report.faults() {
        context.say(format!("help ({name}): {}", fault.cure))?;
    }
    Ok(())
}

pub(crate) async fn run(context: &Context, args: DoctorArgs) -> Result<Ending, Error> {
    let url = context.url()?;
    let report = probe_store(url, args.thorough).await?;
    show(context, &report)?;
    let (repository, opened) = if report.is_usable() {
        match context.open().await {
            Ok(repo) => {
                let id = repo.id().to_string();
                context.say(format!("the repository {id} opens"))?;
                (json!({ "id": id, "encrypted": repo.is_encrypted() }), true)
            }
            // A store that is to hold one some day is sound all the same.
            Err(Error::Repo(error)) if error.is_no_repository() => {
                context.say("there is no repository in it yet")?;
                (Value::Null, true)
            }
            Err(error) => {
                context.say(format!("the repository does not open: {}", error.chain()))?;
                (json!({ "error": error.chain() }), false)
            }
        }
    } else {
        (Value::Null, false)
    };
    let location = mantis_sink::open_url(url)?.location();
    context.result(&report_json(&location, &report, &repository))?;
    let fine = opened && report.faults().next().is_none();
    Ok(if fine { Ending::Done } else { Ending::Failed })
}
