//! `mantis demo`

use std::path::PathBuf;
use std::time::Duration;

use crate::Error;
use crate::cli::args::DemoArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::{count, size, table, time};
use crate::demo::{self, Figures, Phase, Proof};

pub(crate) async fn run(context: &Context, args: DemoArgs) -> Result<Ending, Error> {
    let temporary = match &args.dir {
        Some(_) => None,
        None => {
            Some(tempfile::tempdir().map_err(|error| Error::io("make a temporary folder", error))?)
        }
    };
    let kept: Option<PathBuf> = args.dir.clone();
    let folder =
        temporary.as_ref().map(|folder| folder.path().to_owned()).or(args.dir).unwrap_or_default();
    let say = |line: &str| context.say(line);
    let figures =
        demo::run(&folder, Duration::from_secs(args.seconds), &context.cancel, &say).await?;
    context.result(&figures.to_json())?;
    show(context, &figures)?;
    if let Some(folder) = kept {
        context.say(format!(
            "\nKept in {}: bank.db, the repository repo, and the restored files.",
            folder.display()
        ))?;
    }
    Ok(if figures.all_proved() { Ending::Done } else { Ending::Failed })
}

fn phase_row(name: &str, phase: &Phase) -> Vec<String> {
    vec![
        name.to_owned(),
        count(phase.transactions),
        count(phase.per_second as u64),
        time(phase.p50),
        time(phase.p99),
        time(phase.max),
    ]
}

fn proof_row(proof: &Proof) -> Vec<String> {
    let verdict = proof.fault.clone().unwrap_or_else(|| "one moment".into());
    vec![
        proof.id.clone(),
        (if proof.incremental { "incremental" } else { "full" }).to_owned(),
        size(proof.bytes),
        size(proof.bytes_stored),
        time(proof.backup_time),
        count(proof.transaction),
        time(proof.restore_time),
        verdict,
    ]
}

fn show(context: &Context, figures: &Figures) -> Result<(), Error> {
    let head =
        |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<String>>();
    let mut rows = vec![head(&[
        "BACKUP",
        "KIND",
        "SIZE",
        "STORED",
        "TOOK",
        "AS OF TRANSACTION",
        "RESTORED IN",
        "PROOF",
    ])];
    rows.extend(figures.proofs.iter().map(proof_row));
    context.say(format!("\n{}", table(&rows)))?;
    let proved = figures.proofs.iter().filter(|proof| proof.fault.is_none()).count();
    context.say(format!(
        "{proved} of {} restores are one consistent moment: SQLite's integrity check passes, no money was made \
         or lost,\nevery ledger entry is there exactly once, and the checksum chain over all {} transactions holds.\n",
        figures.proofs.len(),
        count(figures.proofs.last().map_or(0, |proof| proof.transaction)),
    ))?;
    let rows = vec![
        head(&["WRITER", "TRANSACTIONS", "PER SECOND", "P50", "P99", "MAX"]),
        phase_row("alone", &figures.alone),
        phase_row("during backups", &figures.hot),
    ];
    context.say(table(&rows).trim_end())?;
    let ratio = figures.hot.per_second / figures.alone.per_second.max(1.0);
    context.say(format!(
        "\nThe writer kept {:.0}% of its speed on {} cores while backups ran without a pause.",
        ratio * 100.0,
        figures.cores
    ))
}
