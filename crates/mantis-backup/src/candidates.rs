//! A repository's backups, as retention sees them.

use mantis_repo::{BackupId, BackupInfo};
use mantis_retention::{Candidate, State};

/// A backup of a catalogue. All of those are good: what failed is not in it. What its removal frees is taken for what it
/// stored; newer backups may rely on that, so it is a bound, and no measure to make room by.
pub(crate) fn candidate(backup: &BackupInfo) -> Candidate<BackupId> {
    Candidate {
        id: backup.id,
        source: backup.meta.source.clone(),
        created_at: backup.meta.created_at.0,
        tags: backup.meta.tags.clone(),
        bytes: backup.bytes_stored,
        state: State::Good,
    }
}
