//! Drills by schedule: the newest backup restored, and checked by its engine.

use std::sync::Arc;

use mantis_repo::{BackupId, RepoError, RestoreOptions, Selector};
use mantis_schedule::Outcome;
use mantis_snapshot::SnapshotError;

use super::Jobs;
use super::backup::Task;
use super::verify::place_of;
use crate::daemon::telemetry::name;
use crate::daemon::{Order, Proof, ProofKind, Report};
use crate::human::{size, time};
use crate::jobs::{self, DrillJob};
use crate::{Error, clock, format_time};

/// Whether it is the backup that is not sound, and not the place where it was tried out.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Repo(error) => error.is_damage(),
        Error::Snapshot(SnapshotError::Engine { doing, .. }) => *doing == "check",
        _ => false,
    }
}

/// Restores the newest backup of a source, and checks it.
pub(super) async fn drill(jobs: &Jobs, order: &Order) -> Result<Report, Error> {
    let task = Task::of(&order.config, &order.entry)?;
    let place = place_of(order)?;
    let repo = place.open().await?;
    let catalogue = repo.catalogue().await?;
    let there: Vec<BackupId> = catalogue.backups.iter().map(|backup| backup.id).collect();
    let selector = Selector { source: Some(task.name.clone()), ..Selector::default() };
    let backup = catalogue.select(&selector).last().cloned().ok_or_else(|| {
        Error::usage(
            format!("there is no backup of {} in {}", task.name, place.name),
            "a drill needs one: let a backup be due before it",
        )
    })?;
    let options = RestoreOptions {
        jobs: usize::try_from(task.schedule.jobs).unwrap_or(0),
        cancel: order.cancel.clone(),
        progress: Arc::clone(&order.progress),
        ..RestoreOptions::default()
    };
    let (id, taken) = (backup.id, format_time(backup.meta.created_at));
    let job = DrillJob {
        repo: repo.clone(),
        backup,
        temp_folder: Some(jobs.scratch.to_path_buf()),
        options,
    };
    let restored = jobs::drill(job).await;
    let ok = match &restored {
        Ok(_) => true,
        Err(error) if is_damage(error) => false,
        Err(_) => return restored.map(|_| Report::done("")),
    };
    let proof = Proof::now(ProofKind::Drill, ok);
    jobs.note_proofs(&repo, vec![(id, proof)], there).await;
    let report = Report {
        repository: Some(place.name.clone()),
        backup: Some(id.to_string()),
        ..Report::done("")
    };
    match restored {
        Ok(restored) => {
            let source = order.entry.source.clone().unwrap_or_default();
            metrics::gauge!(name::DRILLED, "source" => source, "repository" => place.name.clone())
                .set(clock::now().0 as f64 / 1000.0);
            let took = time(std::time::Duration::from_millis(restored.duration_ms));
            let checked = if restored.checked { ", checked by its engine" } else { "" };
            let summary = format!(
                "restored backup {} of {taken}: {}{checked}, in {took}",
                id.short(),
                size(restored.bytes)
            );
            Ok(Report { summary, ..report })
        }
        Err(error) => {
            let what = match &error {
                Error::Repo(RepoError::Damaged { object, what }) => format!("{object}: {what}"),
                error => error.chain(),
            };
            Ok(Report {
                outcome: Outcome::Hopeless,
                damage: vec![format!(
                    "backup {} of {} as of {taken}: {what}",
                    id.short(),
                    task.name
                )],
                error: Some(error.chain()),
                ..report
            })
        }
    }
}
