//! The daemon's metrics: their names, and where they are shown.
//!
//! What stores report (`mantis_store_…`) comes from `mantis-sink`, what backups report from this crate's jobs; all of it goes
//! through the `metrics` facade, so that a program of its own may show it in its own way.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::Error;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Its values are counted by size.
    Histogram,
}

/// Names of metrics.
pub mod name {
    pub(crate) use crate::jobs::{COW_SAVED, COW_SPILLED, STALL};

    /// Tries of runs that ended, by schedule, source, action and outcome.
    pub const RUNS: &str = "mantis_runs_total";
    /// How long tries took.
    pub const RUN_SECONDS: &str = "mantis_run_duration_seconds";
    /// Tries after a failed one.
    pub const RETRIES: &str = "mantis_run_retries_total";
    /// Runs that were missed.
    pub const MISSED: &str = "mantis_runs_missed_total";
    /// Runs that were dropped as the one before had not ended.
    pub const SKIPPED: &str = "mantis_runs_skipped_total";
    /// Whether a job's last run did what it should.
    pub const OK: &str = "mantis_job_ok";
    /// When a job last did what it should.
    pub const LAST_SUCCESS: &str = "mantis_last_success_timestamp_seconds";
    /// When a job runs next.
    pub const NEXT_RUN: &str = "mantis_next_run_timestamp_seconds";
    /// Whether a job is paused.
    pub const PAUSED: &str = "mantis_job_paused";
    /// Runs under way.
    pub const RUNNING: &str = "mantis_running";
    /// Runs that are due and wait.
    pub const QUEUED: &str = "mantis_queued";
    /// Backups that were made.
    pub const BACKUPS: &str = "mantis_backups_total";
    /// How long backups took, from the freeze to the commit.
    pub const BACKUP_SECONDS: &str = "mantis_backup_duration_seconds";
    /// Bytes read from sources.
    pub const READ: &str = "mantis_backup_read_bytes_total";
    /// Bytes that backups added to repositories.
    pub const STORED: &str = "mantis_backup_stored_bytes_total";
    /// Bytes sent to replicas.
    pub const SENT: &str = "mantis_copy_sent_bytes_total";
    /// Bytes of changed pages over bytes stored, of the last backup.
    pub const COMPRESSION: &str = "mantis_backup_compression_ratio";
    /// Bytes of the source over bytes of changed pages, of the last backup.
    pub const DEDUP: &str = "mantis_backup_dedup_ratio";
    /// The source's length at the last backup.
    pub const SOURCE_BYTES: &str = "mantis_source_bytes";
    /// When the newest good backup was made.
    pub const NEWEST: &str = "mantis_newest_backup_timestamp_seconds";
    /// How old it is.
    pub const AGE: &str = "mantis_newest_backup_age_seconds";
    /// How much would be lost now of a source that is watched.
    pub const RPO: &str = "mantis_rpo_seconds";
    /// How much of it may be.
    pub const RPO_LIMIT: &str = "mantis_rpo_limit_seconds";
    /// Tries of a watch that failed.
    pub const WATCH_FAILURES: &str = "mantis_watch_failures_total";
    /// How often a watch lost sight of what changed.
    pub const WATCH_GAPS: &str = "mantis_watch_gaps_total";
    /// Moments of a source that is watched that wait while the store is gone.
    pub const WATCH_QUEUED: &str = "mantis_watch_queued_moments";
    /// What they take.
    pub const WATCH_QUEUED_BYTES: &str = "mantis_watch_queued_bytes";
    /// Databases that a pattern found.
    pub const FOUND: &str = "mantis_sources_found";
    /// Members of the fleet that are alive, this daemon among them.
    pub const FLEET_MEMBERS: &str = "mantis_fleet_members";
    /// Databases of the fleet that this daemon protects.
    pub const FLEET_PROTECTED: &str = "mantis_fleet_protected";
    /// Leases of this daemon that ended before it could tell of itself again.
    pub const FLEET_LAPSES: &str = "mantis_fleet_lapses_total";
    /// How many backups there are.
    pub const COUNT: &str = "mantis_repository_backups";
    /// Bytes that a repository holds.
    pub const REPOSITORY_BYTES: &str = "mantis_repository_bytes";
    /// Bytes that are free where a repository is.
    pub const FREE: &str = "mantis_repository_free_bytes";
    /// Bytes that prunes freed.
    pub const FREED: &str = "mantis_prune_freed_bytes_total";
    /// Backups that retention removed.
    pub const EXPIRED: &str = "mantis_backups_expired_total";
    /// Damaged objects that the last verify found.
    pub const DAMAGED: &str = "mantis_verify_damaged_objects";
    /// When a repository was last proved whole.
    pub const VERIFIED: &str = "mantis_last_verify_timestamp_seconds";
    /// When a source's newest backup was last restored and checked.
    pub const DRILLED: &str = "mantis_last_drill_timestamp_seconds";
    /// Notifications, by who was told and whether that worked.
    pub const NOTIFICATIONS: &str = "mantis_notifications_total";
    /// Whether the configuration was right when it was last read.
    pub const CONFIG_OK: &str = "mantis_config_ok";
    /// Whether what is due could be kept on disk.
    pub const STATE_OK: &str = "mantis_state_ok";
    /// The version, as a label.
    pub const BUILD: &str = "mantis_build_info";
}

/// Every metric that the daemon shows: name, kind, unit, and what it says.
pub const METRICS: &[(&str, Kind, Option<Unit>, &str)] = &[
    (
        name::RUNS,
        Kind::Counter,
        None,
        "Tries of runs that ended, by schedule, source, action and outcome",
    ),
    (name::RUN_SECONDS, Kind::Histogram, Some(Unit::Seconds), "How long tries of runs took"),
    (name::RETRIES, Kind::Counter, None, "Tries after a failed one"),
    (
        name::MISSED,
        Kind::Counter,
        None,
        "Runs that were missed while nobody was there to begin them",
    ),
    (name::SKIPPED, Kind::Counter, None, "Runs that were dropped as the one before had not ended"),
    (
        name::OK,
        Kind::Gauge,
        None,
        "1 where a job's last run did all that it should, 0 where it failed, in part or wholly",
    ),
    (
        name::LAST_SUCCESS,
        Kind::Gauge,
        Some(Unit::Seconds),
        "When a job last did what it should, if in part, in Unix time",
    ),
    (name::NEXT_RUN, Kind::Gauge, Some(Unit::Seconds), "When a job runs next, in Unix time"),
    (name::PAUSED, Kind::Gauge, None, "1 where a job is paused"),
    (name::RUNNING, Kind::Gauge, None, "Runs under way"),
    (name::QUEUED, Kind::Gauge, None, "Runs that are due and wait for their turn"),
    (name::BACKUPS, Kind::Counter, None, "Backups that were made, by source and kind"),
    (
        name::BACKUP_SECONDS,
        Kind::Histogram,
        Some(Unit::Seconds),
        "How long backups took, from the freeze to the last segment",
    ),
    (name::READ, Kind::Counter, Some(Unit::Bytes), "Bytes read from sources"),
    (name::STORED, Kind::Counter, Some(Unit::Bytes), "Bytes that backups added to repositories"),
    (name::SENT, Kind::Counter, Some(Unit::Bytes), "Bytes sent to replicas"),
    (
        name::COMPRESSION,
        Kind::Gauge,
        None,
        "Bytes of changed pages over bytes stored, of a source's last backup",
    ),
    (
        name::DEDUP,
        Kind::Gauge,
        None,
        "Bytes of the source over bytes of changed pages, of its last backup",
    ),
    (name::SOURCE_BYTES, Kind::Gauge, Some(Unit::Bytes), "A source's length at its last backup"),
    (
        name::STALL,
        Kind::Histogram,
        Some(Unit::Seconds),
        "How long writers were kept from committing for a backup",
    ),
    (
        name::COW_SAVED,
        Kind::Counter,
        None,
        "Pages whose before-images were saved for a backup, or that were spooled",
    ),
    (name::COW_SPILLED, Kind::Counter, None, "Pages that went to a temporary file for a backup"),
    (
        name::NEWEST,
        Kind::Gauge,
        Some(Unit::Seconds),
        "When a source's newest good backup was made, in Unix time",
    ),
    (name::AGE, Kind::Gauge, Some(Unit::Seconds), "How old a source's newest good backup is"),
    (
        name::RPO,
        Kind::Gauge,
        Some(Unit::Seconds),
        "How much would be lost now of a source that is watched: the time since the last moment of which all is in backups",
    ),
    (
        name::RPO_LIMIT,
        Kind::Gauge,
        Some(Unit::Seconds),
        "How much may be lost of a source that is watched before that is told",
    ),
    (
        name::WATCH_FAILURES,
        Kind::Counter,
        None,
        "Backups of a watch that failed, and tries to begin one",
    ),
    (
        name::WATCH_GAPS,
        Kind::Counter,
        None,
        "How often a watch lost sight of what changed, and compared all pages",
    ),
    (
        name::WATCH_QUEUED,
        Kind::Gauge,
        None,
        "Moments of a source that is watched that wait on the local disk while the store is gone",
    ),
    (
        name::WATCH_QUEUED_BYTES,
        Kind::Gauge,
        Some(Unit::Bytes),
        "Bytes that such moments take on the local disk",
    ),
    (name::FOUND, Kind::Gauge, None, "Databases that a source's pattern found"),
    (name::FLEET_MEMBERS, Kind::Gauge, None, "Members of the fleet that are alive, this one too"),
    (name::FLEET_PROTECTED, Kind::Gauge, None, "Databases of the fleet that are protected here"),
    (
        name::FLEET_LAPSES,
        Kind::Counter,
        None,
        "Leases of this member of the fleet that ended before it could tell of itself",
    ),
    (name::COUNT, Kind::Gauge, None, "Backups of a source in a repository"),
    (
        name::REPOSITORY_BYTES,
        Kind::Gauge,
        Some(Unit::Bytes),
        "Bytes that a repository holds, looked at once an hour at most",
    ),
    (
        name::FREE,
        Kind::Gauge,
        Some(Unit::Bytes),
        "Bytes that are free where a repository is, for folders on this machine",
    ),
    (name::FREED, Kind::Counter, Some(Unit::Bytes), "Bytes that prunes freed"),
    (name::EXPIRED, Kind::Counter, None, "Backups that retention removed"),
    (
        name::DAMAGED,
        Kind::Gauge,
        None,
        "Damaged objects that the last verify of a repository found",
    ),
    (
        name::VERIFIED,
        Kind::Gauge,
        Some(Unit::Seconds),
        "When a repository was last proved whole, in Unix time",
    ),
    (
        name::DRILLED,
        Kind::Gauge,
        Some(Unit::Seconds),
        "When a source's newest backup was last restored and checked, in Unix time",
    ),
    (
        name::NOTIFICATIONS,
        Kind::Counter,
        None,
        "Notifications, by name and outcome: told, failed, left out",
    ),
    (
        name::CONFIG_OK,
        Kind::Gauge,
        None,
        "1 where the configuration was right when it was last read",
    ),
    (name::STATE_OK, Kind::Gauge, None, "1 where what is due could be kept on disk"),
    (name::BUILD, Kind::Gauge, None, "1, with the version as a label"),
    (
        "mantis_store_calls_total",
        Kind::Counter,
        None,
        "Calls to stores over a network, by call and outcome",
    ),
    (
        "mantis_store_requests_total",
        Kind::Counter,
        None,
        "Requests to stores by HTTP, by method and status",
    ),
    (
        "mantis_store_bytes_total",
        Kind::Counter,
        Some(Unit::Bytes),
        "Bytes to and from stores over a network, by direction",
    ),
];

/// From a tenth of a millisecond, which a freeze takes, to hours.
const SECONDS: [f64; 16] = [
    0.0001, 0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0,
    7200.0, 21600.0,
];

/// Shows metrics to Prometheus from here on, for the whole process.
///
/// # Errors
/// Where they are shown in another way already.
pub fn install() -> Result<PrometheusHandle, Error> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Other {
        doing: "show metrics".into(),
        source,
        help: None,
    };
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .map_err(|error: BuildError| failed(error.into()))?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| failed(error.to_string().into()))?;
    describe();
    Ok(handle)
}

fn describe() {
    for (name, kind, unit, help) in METRICS {
        // Units would be put behind names that have them already.
        let _ = unit;
        match kind {
            Kind::Counter => describe_counter!(*name, *help),
            Kind::Gauge => describe_gauge!(*name, *help),
            Kind::Histogram => describe_histogram!(*name, *help),
        }
    }
    metrics::gauge!(name::BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_as_prometheus_wants_them() {
        let names: BTreeSet<&str> = METRICS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names.len(), METRICS.len(), "each once");
        for (name, kind, unit, help) in METRICS {
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            let stem = name.trim_end_matches("_total");
            let suffix = match unit {
                Some(Unit::Seconds) => "_seconds",
                Some(Unit::Bytes) => "_bytes",
                _ => "",
            };
            assert!(stem.ends_with(suffix) && !help.is_empty(), "{name}");
        }
    }
}
