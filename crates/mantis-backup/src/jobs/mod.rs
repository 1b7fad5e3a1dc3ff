//! One backup, one restore, one drill, one prune and so on: each read from top to bottom.

mod backup;
mod clean_up;
mod copy;
#[cfg(feature = "sqlite")]
mod diff_rows;
mod drill;
mod expire;
mod exposure;
mod figures;
#[cfg(feature = "sqlite")]
mod interruptible;
mod prune;
mod queued_moment;
#[cfg(feature = "sqlite")]
mod rescue;
#[cfg(feature = "sqlite")]
mod rescue_table;
mod restore;
mod salvage;
mod shared_rules;
mod transfer;
mod turns;
mod watch;
mod watch_catch_up;
mod watch_queue;

#[cfg(feature = "daemon")]
pub(crate) use backup::LOOKS_GOOD_FOR;
pub use backup::{BackupJob, backup};
pub use copy::{Copied, CopyJob, copy};
#[cfg(feature = "sqlite")]
pub use diff_rows::{DiffRowsJob, DifferentRow, DifferentRows, diff_rows};
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
pub use shared_rules::SharedRules;
pub use transfer::{ImportJob, export_to, export_to_file, import};
pub use turns::Turns;
pub use watch::{Admission, WatchEvent, WatchJob, watch};
