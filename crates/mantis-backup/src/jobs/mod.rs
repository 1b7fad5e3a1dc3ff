//! One backup, one restore: each read from top to bottom.

mod backup;
mod restore;

pub use backup::{BackupJob, backup};
pub use restore::{RestoreJob, Restored, restore};
