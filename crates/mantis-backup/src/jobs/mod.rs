//! One backup, one restore, one drill, one prune and so on: each read from top to bottom.

mod backup;
mod clean_up;
mod copy;
mod drill;
mod expire;
mod exposure;
mod figures;
mod prune;
#[cfg(feature = "sqlite")]
mod rescue;
#[cfg(feature = "sqlite")]
mod rescue_table;
mod restore;
mod salvage;
mod transfer;
mod watch;

pub use backup::{BackupJob, backup};
pub use copy::{Copied, CopyJob, copy};
pub use drill::{DrillJob, drill};
pub use expire::{expire, retention_plan};
pub use exposure::Exposure;
#[cfg(feature = "daemon")]
pub(crate) use figures::{COW_SAVED, COW_SPILLED, STALL};
pub use prune::{PruneJob, Pruned, prune};
#[cfg(feature = "sqlite")]
pub use rescue::{RescueJob, Rescued, rescue};
#[cfg(feature = "sqlite")]
pub use rescue_table::RowState;
pub use restore::{RestoreJob, Restored, restore};
pub use salvage::salvage;
pub use transfer::{ImportJob, export_to, export_to_file, import};
pub use watch::{Admission, WatchEvent, WatchJob, taking_turns, watch};
