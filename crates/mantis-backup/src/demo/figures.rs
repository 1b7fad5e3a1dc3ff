//! What the demo found.

use std::time::Duration;

use serde_json::{Value, json};

use super::writer::PhaseReport;

/// The writer in one phase.
#[derive(Debug, Clone)]
pub(crate) struct Phase {
    pub(crate) transactions: u64,
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

impl Phase {
    pub(crate) fn of(report: &PhaseReport) -> Self {
        Self {
            transactions: report.transactions,
            per_second: report.transactions as f64 / report.seconds.max(0.001),
            p50: Duration::from_micros(report.p50),
            p99: Duration::from_micros(report.p99),
            max: Duration::from_micros(report.max),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "transactions": self.transactions,
            "per_second": self.per_second,
            "p50_us": self.p50.as_micros() as u64,
            "p99_us": self.p99.as_micros() as u64,
            "max_us": self.max.as_micros() as u64,
        })
    }
}

/// One backup, restored and put to the proof.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    pub(crate) id: String,
    pub(crate) incremental: bool,
    pub(crate) bytes: u64,
    pub(crate) bytes_stored: u64,
    pub(crate) backup_time: Duration,
    pub(crate) restore_time: Duration,
    /// The last transaction in it.
    pub(crate) transaction: u64,
    /// What is wrong with it, if anything is.
    pub(crate) fault: Option<String>,
}

/// What the demo found.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) alone: Phase,
    pub(crate) hot: Phase,
    pub(crate) proofs: Vec<Proof>,
    pub(crate) cores: usize,
}

impl Figures {
    pub(crate) fn all_proved(&self) -> bool {
        !self.proofs.is_empty() && self.proofs.iter().all(|proof| proof.fault.is_none())
    }

    pub(crate) fn to_json(&self) -> Value {
        let proof = |proof: &Proof| {
            json!({
                "id": proof.id,
                "kind": if proof.incremental { "incremental" } else { "full" },
                "bytes": proof.bytes,
                "bytes_stored": proof.bytes_stored,
                "backup_ms": proof.backup_time.as_millis() as u64,
                "restore_ms": proof.restore_time.as_millis() as u64,
                "transaction": proof.transaction,
                "consistent": proof.fault.is_none(),
                "fault": proof.fault,
            })
        };
        json!({
            "backups": self.proofs.len(),
            "consistent": self.proofs.iter().filter(|proof| proof.fault.is_none()).count(),
            "restores": self.proofs.iter().map(proof).collect::<Vec<Value>>(),
            "writer": {
                "alone": self.alone.to_json(),
                "during_backups": self.hot.to_json(),
                "throughput_ratio": self.hot.per_second / self.alone.per_second.max(1.0),
            },
            "cores": self.cores,
        })
    }
}
