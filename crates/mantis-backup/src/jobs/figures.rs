//! What backups report of the moment that they held, through the `metrics` facade.

use mantis_snapshot::Snapshot;

/// How long writers were kept from committing.
pub(crate) const STALL: &str = "mantis_writer_stall_seconds";
/// Pages whose before-images were saved for a backup, or that were spooled.
pub(crate) const COW_SAVED: &str = "mantis_cow_pages_saved_total";
/// Those of them that went to a temporary file.
pub(crate) const COW_SPILLED: &str = "mantis_cow_pages_spilled_total";

/// Reports what it took to hold a snapshot's moment: at its end, as pages are copied until then.
pub(super) fn report(source: &str, snapshot: &Snapshot) {
    let source = || source.to_owned();
    let held = snapshot.writers_held().as_secs_f64();
    metrics::histogram!(STALL, "source" => source()).record(held);
    if let Ok(taken) = snapshot.taken() {
        metrics::counter!(COW_SAVED, "source" => source()).increment(taken.saved);
        metrics::counter!(COW_SPILLED, "source" => source()).increment(taken.spilled);
    }
}
