//! Verifies by schedule.

use std::sync::Arc;

use mantis_repo::{BackupId, Reach, VerifyOptions};
use mantis_schedule::Outcome;

use super::place::Place;
use super::{Jobs, no_such};
use crate::daemon::telemetry::name;
use crate::daemon::{Order, Report, proofs_of};
use crate::human::size;
use crate::{Error, clock};

/// The repository of an order that is not of a source.
pub(super) fn place_of(order: &Order) -> Result<Place, Error> {
    let named = &order.entry.schedule;
    let schedule = order.config.schedules.get(named).ok_or_else(|| no_such("schedule", named))?;
    let repositories = schedule.repositories(&order.config);
    let first = repositories.first().ok_or_else(|| no_such("repository of", named))?;
    Place::of(&order.config, first)
}

fn reach(order: &Order) -> Result<Reach, Error> {
    let schedule = order.config.schedules.get(&order.entry.schedule);
    Ok(match schedule.and_then(|schedule| schedule.sample) {
        None => Reach::Everything,
        Some(share) => {
            let [a, b, c, d, e, f, g, h, ..] = clock::entropy()?;
            Reach::Sample { share: share.0.0, seed: u64::from_le_bytes([a, b, c, d, e, f, g, h]) }
        }
    })
}

/// Reads a repository back and proves it.
pub(super) async fn verify(jobs: &Jobs, order: &Order) -> Result<Report, Error> {
    let place = place_of(order)?;
    let repo = place.open().await?;
    let schedule = order.config.schedules.get(&order.entry.schedule);
    let reach = reach(order)?;
    let options = VerifyOptions {
        jobs: schedule.map_or(0, |schedule| usize::try_from(schedule.jobs).unwrap_or(0)),
        reach,
        cancel: order.cancel.clone(),
        progress: Arc::clone(&order.progress),
    };
    let found = repo.verify(&[], &options).await?;
    let there: Vec<BackupId> =
        repo.catalogue().await?.backups.iter().map(|backup| backup.id).collect();
    jobs.note_proofs(&repo, proofs_of(&found, reach), there).await;
    let of = || place.name.clone();
    metrics::gauge!(name::DAMAGED, "repository" => of()).set(found.damaged.len() as f64);
    let summary = format!(
        "verified {} backups, {} segments, {} read",
        found.checked.len(),
        found.segments,
        size(found.bytes)
    );
    if found.damaged.is_empty() {
        metrics::gauge!(name::VERIFIED, "repository" => of()).set(clock::now().0 as f64 / 1000.0);
        return Ok(Report { repository: Some(of()), ..Report::done(summary) });
    }
    let damage: Vec<String> = found
        .damaged
        .iter()
        .map(|damage| {
            let backups: Vec<String> = damage.backups.iter().map(BackupId::short).collect();
            format!("{}: {} (backups: {})", damage.object, damage.what, backups.join(" "))
        })
        .collect();
    let error = format!(
        "{} damaged objects in {}; back the touched sources up again in full, then run `mantis repair`",
        damage.len(),
        place.name
    );
    Ok(Report {
        repository: Some(of()),
        summary,
        damage,
        error: Some(error),
        ..Report::new(Outcome::Hopeless)
    })
}
