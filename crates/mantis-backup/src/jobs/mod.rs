//! One backup, one restore, one salvage, one transfer: each read from top to bottom.

mod backup;
mod clean_up;
mod copy;
mod restore;
mod salvage;
mod transfer;

pub use backup::{BackupJob, backup};
pub use copy::{Copied, CopyJob, copy};
pub use restore::{RestoreJob, Restored, restore};
pub use salvage::salvage;
pub use transfer::{ImportJob, export_to, export_to_file, import};
