//! The newest backup that is without a commit.

use std::collections::BTreeSet;

use crate::catalogue::newest;
use crate::{BackupInfo, RepoError};

/// Of the backups of one source the newest that is known to be without a commit.
///
/// Positions compare within one timeline only, and begin anew with the log, so the commit is first looked for: in the one timeline with a backup that
/// holds it. Before it are that timeline's backups of lower positions, or else those that were taken before the timeline's first one, by the
/// clock: where it was set back in between, that may be wrong, as it may for a restore by time.
pub(crate) fn before_commit<'a>(
    backups: &[&'a BackupInfo],
    lsn: u64,
) -> Result<Option<&'a BackupInfo>, RepoError> {
    let Some(first) = backups.first() else { return Ok(None) };
    if let Some(other) = backups.iter().find(|it| it.meta.source != first.meta.source) {
        let sources = [first.meta.source.clone(), other.meta.source.clone()];
        return Err(RepoError::ManySources { sources });
    }
    // The upper half tells the log's generations apart, where an engine has such.
    let holds = |it: &&&BackupInfo| it.meta.lsn >= lsn && it.meta.lsn >> 32 == lsn >> 32;
    let timelines: BTreeSet<&String> =
        backups.iter().filter(holds).map(|it| &it.meta.timeline).collect();
    let timeline = match timelines.first() {
        None => return Err(RepoError::UnknownCommit { lsn, why: "none holds it" }),
        Some(_) if timelines.len() > 1 => {
            let why = "several histories of the database have one of this number";
            return Err(RepoError::UnknownCommit { lsn, why });
        }
        Some(timeline) => *timeline,
    };
    let (of_it, others): (Vec<&BackupInfo>, Vec<&BackupInfo>) =
        backups.iter().partition(|it| it.meta.timeline == *timeline);
    let lower: Vec<&BackupInfo> = of_it.iter().copied().filter(|it| it.meta.lsn < lsn).collect();
    let began = of_it.iter().map(|it| it.meta.created_at).min();
    let older: Vec<&BackupInfo> =
        others.into_iter().filter(|it| Some(it.meta.created_at) < began).collect();
    Ok(newest(&lower).or_else(|| newest(&older)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UnixMillis;
    use crate::manifest::tests::whole;

    fn backup(source: &str, timeline: &str, lsn: u64, at: i64) -> BackupInfo {
        let mut info = whole().info;
        info.meta.source = source.into();
        info.meta.timeline = timeline.into();
        (info.meta.lsn, info.meta.created_at) = (lsn, UnixMillis(at));
        info
    }

    const fn at(generation: u64, frame: u64) -> u64 {
        generation << 32 | frame
    }

    #[test]
    fn before_a_commit_is_what_is_known_to_be_without_it() {
        let all = [
            backup("a", "t1", at(1, 50), 10),
            backup("a", "t1", at(1, 90), 20),
            backup("a", "t2", at(2, 10), 30),
            backup("a", "t2", at(2, 40), 40),
            backup("a", "t3", at(3, 5), 50),
        ];
        let all: Vec<&BackupInfo> = all.iter().collect();
        let before =
            |lsn| before_commit(&all, lsn).map(|found| found.map(|it| it.meta.created_at.0));
        for (lsn, found) in [
            (at(2, 40), Some(30)),
            (at(2, 11), Some(30)),
            (at(2, 10), Some(20)),
            (at(2, 1), Some(20)),
            (at(3, 5), Some(40)),
            (at(1, 90), Some(10)),
            (at(1, 50), None),
        ] {
            assert_eq!(before(lsn).unwrap(), found, "{lsn:#x}");
        }
        // After the last backup of its log's generation, or of a generation that no backup has.
        for lsn in [at(3, 6), at(2, 41), at(4, 1), 7] {
            assert!(matches!(before(lsn), Err(RepoError::UnknownCommit { .. })), "{lsn:#x}");
        }
        // The log began anew: both histories have such a commit.
        let again = backup("a", "t9", at(2, 99), 60);
        let twice = [&all[..], &[&again]].concat();
        assert!(matches!(before_commit(&twice, at(2, 20)), Err(RepoError::UnknownCommit { .. })));
        assert_eq!(before_commit(&twice, at(2, 50)).unwrap().unwrap().meta.created_at.0, 50);
        let other = backup("b", "t1", at(1, 60), 15);
        let two = [&all[..], &[&other]].concat();
        assert!(matches!(before_commit(&two, at(1, 60)), Err(RepoError::ManySources { .. })));
        assert!(before_commit(&[], 1).unwrap().is_none());
    }
}
