//! The demo from start to end.

use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use mantis_repo::{BackupInfo, RepoError, RestoreOptions};
use mantis_stream::CancellationToken;

use super::bank;
use super::figures::{Figures, Phase, Proof};
use super::writer::PhaseReport;
use crate::jobs::{RestoreJob, restore};
use crate::{BackupSystem, Error, Source, init_repository};

/// The writer's process; killed when dropped.
struct Writer {
    child: Child,
    phases: Option<ChildStdin>,
}

impl Writer {
    fn start(database: &Path) -> Result<Self, Error> {
        let program =
            std::env::current_exe().map_err(|error| Error::io("find this program", error))?;
        let child = Command::new(program)
            .arg("demo-writer")
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| Error::io("start the demo's writer", error))?;
        let phases = child.stdin.take();
        Ok(Self { child, phases })
    }

    fn begin(&mut self, phase: &str) -> Result<(), Error> {
        let told = self.phases.as_mut().map_or(Ok(()), |phases| writeln!(phases, "{phase}"));
        told.map_err(|error| Error::io("talk to the demo's writer", error))
    }

    /// Ends the writer and takes its report.
    fn stop(mut self) -> Result<Vec<PhaseReport>, Error> {
        drop(self.phases.take());
        let mut report = String::new();
        if let Some(mut output) = self.child.stdout.take() {
            let read = std::io::Read::read_to_string(&mut output, &mut report);
            read.map_err(|error| Error::io("hear the demo's writer", error))?;
        }
        serde_json::from_str(&report).map_err(|error| Error::Other {
            doing: "read the report of the demo's writer".into(),
            source: error.into(),
            help: Some("did its disk fill up? Try --dir on another one".into()),
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A backup and the transactions that were committed before and after it.
struct Taken {
    info: BackupInfo,
    after: u64,
    before: u64,
    time: Duration,
}

async fn pause(time: Duration, cancel: &CancellationToken) -> Result<(), Error> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        () = cancel.cancelled() => Err(RepoError::Cancelled.into()),
    }
}

/// Runs the demo in a folder, for `time` of writing.
pub(crate) async fn run(
    folder: &Path,
    time: Duration,
    cancel: &CancellationToken,
    say: &dyn Fn(&str) -> Result<(), Error>,
) -> Result<Figures, Error> {
    std::fs::create_dir_all(folder)
        .map_err(|error| Error::io(format!("make {}", folder.display()), error))?;
    let database = folder.join("bank.db");
    if database.exists() {
        let message = format!("{} exists already", database.display());
        return Err(Error::usage(message, "name a new folder with --dir"));
    }
    bank::create(&database)?;
    let len = std::fs::metadata(&database).map_or(0, |metadata| metadata.len());
    say(&format!(
        "A bank of {} MiB in SQLite; a process of its own transfers money without a pause.",
        len >> 20
    ))?;
    let repo = init_repository(&folder.join("repo").to_string_lossy(), None).await?;
    let system = BackupSystem::builder()
        .source("bank", Source::detect(&database)?)?
        .repository(repo.clone())
        .build()?;

    let mut writer = Writer::start(&database)?;
    // Not measured: the file system and the caches settle.
    pause(time / 10, cancel).await?;
    writer.begin("alone")?;
    pause(time * 4 / 10, cancel).await?;
    say("Now hot backups, one after another ...")?;
    writer.begin("hot")?;
    let until = Instant::now() + time / 2;
    let mut taken = Vec::new();
    while Instant::now() < until {
        let after = bank::last_transaction(&database)?;
        let start = Instant::now();
        let request = system.backup("bank").tag("by", "demo");
        let stop = request.canceller();
        let on_cancel = cancel.clone();
        let watch = tokio::spawn(async move {
            on_cancel.cancelled().await;
            stop.cancel();
        });
        let info = request.run().await;
        watch.abort();
        let info = info?;
        let time = start.elapsed();
        taken.push(Taken { info, after, before: bank::last_transaction(&database)?, time });
    }
    let phases = writer.stop()?;
    say("The writer rests. Every backup is restored and put to the proof ...")?;
    let mut proofs = Vec::new();
    for taken in taken {
        let target = folder.join(format!("restored-{}.db", taken.info.id.short()));
        let options = RestoreOptions { cancel: cancel.clone(), ..RestoreOptions::default() };
        let job = RestoreJob {
            repo: repo.clone(),
            backup: taken.info.clone(),
            target: target.clone(),
            replace: false,
            delta: false,
            check: false,
            options,
        };
        let restored = restore(job).await?;
        proofs.push(judge(&taken, &target, Duration::from_millis(restored.duration_ms)));
    }
    let phase = |name| {
        let found = phases.iter().find(|phase| phase.name == name).map(Phase::of);
        found.ok_or_else(|| {
            Error::usage("the demo was too short for figures", "give it more --seconds")
        })
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Figures { alone: phase("alone")?, hot: phase("hot")?, proofs, cores })
}

fn judge(taken: &Taken, target: &Path, restore_time: Duration) -> Proof {
    let (transaction, fault) = match bank::prove(target) {
        Ok(seq) if (taken.after..=taken.before).contains(&seq) => (seq, None),
        Ok(seq) => (
            seq,
            Some(format!(
                "it is not of its time: {} to {} were committed then",
                taken.after, taken.before
            )),
        ),
        Err(fault) => (0, Some(fault)),
    };
    Proof {
        id: taken.info.id.short(),
        incremental: taken.info.parent.is_some(),
        bytes: taken.info.meta.byte_len,
        bytes_stored: taken.info.bytes_stored,
        backup_time: taken.time,
        restore_time,
        transaction,
        fault,
    }
}
