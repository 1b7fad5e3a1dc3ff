//! Prunes by schedule.

use super::Jobs;
use super::verify::place_of;
use crate::Error;
use crate::daemon::telemetry::name;
use crate::daemon::{Order, Report};
use crate::human::size;
use crate::jobs;

/// Frees what nothing refers to.
pub(super) async fn prune(jobs: &Jobs, order: &Order) -> Result<Report, Error> {
    let place = place_of(order)?;
    let repo = place.open().await?;
    let done = jobs::prune(place.prune_job(repo, false, order.cancel.clone())).await?;
    let of = || place.name.clone();
    metrics::counter!(name::FREED, "repository" => of()).increment(done.freed.freed_bytes);
    jobs.freshness.measured(&place.name);
    metrics::gauge!(name::REPOSITORY_BYTES, "repository" => of())
        .set(place.measure().await? as f64);
    // Also shows how much is free now.
    let full = place.check_space().err().as_ref().map_or_else(Vec::new, super::full);
    let summary = format!(
        "freed {} in {} objects; backups need {}, {} wait",
        size(done.freed.freed_bytes),
        done.freed.freed_objects,
        size(done.freed.kept_bytes),
        size(done.freed.graced_bytes + done.freed.waiting_bytes),
    );
    Ok(Report { repository: Some(of()), full, ..Report::done(summary) })
}
