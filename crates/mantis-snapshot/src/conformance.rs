//! The checks that every engine must pass, run over each with the same words.
//!
//! An engine's tests implement [`Subject`] for a database of theirs and call [`check_engine`].

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a suite of checks for tests fails by panicking"
)]

use std::collections::BTreeMap;

use mantis_page::{PageNo, PageSet};

use crate::{CancelFlag, Coordinator, Engine, Outcome, Snapshot, SnapshotConfig, SnapshotToken};

/// A database under test.
pub trait Subject {
    /// The engine over it.
    fn engine(&self) -> Box<dyn Engine>;

    /// Makes one commit that changes several pages, sometimes growing or shrinking the database;
    /// returns its number, each larger than the one before.
    fn commit(&mut self) -> u64;

    /// The number of the last commit in a restored image, having checked all that the engine and the
    /// data's own invariants let one check.
    ///
    /// # Errors
    /// What is wrong with the image.
    fn commit_of(&self, image: &[u8]) -> Result<u64, String>;
}

fn begin(
    coordinator: &Coordinator,
    subject: &dyn Subject,
    baseline: Option<SnapshotToken>,
) -> Snapshot {
    let began = coordinator.begin("subject", &*subject.engine(), baseline, &CancelFlag::new());
    began.expect("a snapshot of a healthy database")
}

/// Reads a whole snapshot in batches of `batch` pages.
fn image(snapshot: &Snapshot, batch: u64) -> Vec<u8> {
    let geometry = snapshot.geometry();
    let mut bytes = Vec::new();
    let mut next = 0;
    while next < geometry.page_count {
        let count = batch.min(geometry.page_count - next);
        let mut buf = vec![0xEE; (count * u64::from(geometry.page_size.get())) as usize];
        let first = PageNo::from_index(next).expect("a page number");
        snapshot.read_pages(first, &mut buf).expect("pages of a healthy snapshot");
        bytes.extend_from_slice(&buf);
        next += count;
    }
    assert!(bytes.len() as u64 >= geometry.byte_len, "the pages hold the whole source");
    bytes.truncate(geometry.byte_len as usize);
    bytes
}

/// Runs every check.
///
/// # Panics
/// Where the engine breaks a promise.
pub fn check_engine(subject: &mut dyn Subject) {
    let config = SnapshotConfig { max_concurrent: 4, ..SnapshotConfig::default() };
    let coordinator = Coordinator::new(config);
    a_snapshot_is_the_last_commit_and_stays_so(&coordinator, subject);
    what_is_read_no_more_changes_nothing_of_the_rest(&coordinator, subject);
    overlapping_snapshots_keep_apart(&coordinator, subject);
    changed_pages_are_never_missed(&coordinator, subject);
    reads_past_the_end_fail(&coordinator, subject);
    let open = coordinator.list().iter().filter(|status| !status.state.is_final()).count();
    assert_eq!(open, 0, "every snapshot was released");
}

fn expect_commit(subject: &dyn Subject, image: &[u8], commit: u64) {
    match subject.commit_of(image) {
        Ok(found) => assert_eq!(found, commit, "the snapshot holds exactly the last commit"),
        Err(fault) => panic!("the image of commit {commit} is broken: {fault}"),
    }
}

fn a_snapshot_is_the_last_commit_and_stays_so(
    coordinator: &Coordinator,
    subject: &mut dyn Subject,
) {
    for round in 0..6u64 {
        let commit = subject.commit();
        let snapshot = begin(coordinator, subject, None);
        let before = image(&snapshot, 1 + round * 7);
        expect_commit(subject, &before, commit);
        for _ in 0..=round {
            subject.commit();
        }
        assert!(before == image(&snapshot, 64), "a snapshot reads the same after later commits");
        snapshot.finish(Outcome::Committed).expect("a healthy snapshot ends well");
    }
}

fn what_is_read_no_more_changes_nothing_of_the_rest(
    coordinator: &Coordinator,
    subject: &mut dyn Subject,
) {
    let commit = subject.commit();
    let (snapshot, beside) = (begin(coordinator, subject, None), begin(coordinator, subject, None));
    let geometry = snapshot.geometry();
    let size = geometry.page_size.bytes();
    let mut bytes = Vec::new();
    for index in 0..geometry.page_count {
        let mut page = vec![0xEE; size];
        let first = PageNo::from_index(index).expect("a page number");
        snapshot.read_pages(first, &mut page).expect("a page that was not released");
        bytes.extend_from_slice(&page);
        let next = PageNo::from_index(index + 1).expect("a page number");
        snapshot.release_before(next);
        if index % 3 == 0 {
            subject.commit();
        }
    }
    bytes.truncate(geometry.byte_len as usize);
    expect_commit(subject, &bytes, commit);
    assert!(bytes == image(&beside, 16), "another snapshot has what one released");
    snapshot.finish(Outcome::Committed).expect("a healthy snapshot ends well");
}

fn overlapping_snapshots_keep_apart(coordinator: &Coordinator, subject: &mut dyn Subject) {
    let mut open = BTreeMap::new();
    for _ in 0..4 {
        let commit = subject.commit();
        open.insert(commit, begin(coordinator, subject, None));
        subject.commit();
    }
    let middle = open.keys().copied().nth(1);
    middle.and_then(|commit| open.remove(&commit));
    for (commit, snapshot) in &open {
        expect_commit(subject, &image(snapshot, 16), *commit);
    }
}

fn changed_pages_are_never_missed(coordinator: &Coordinator, subject: &mut dyn Subject) {
    subject.commit();
    let first = begin(coordinator, subject, None);
    let page_size = first.geometry().page_size.bytes();
    let mut old = image(&first, 16);
    let mut token = first.finish(Outcome::Committed).expect("a healthy snapshot ends well");
    for round in 0..5u64 {
        for _ in 0..round {
            subject.commit();
        }
        let snapshot = begin(coordinator, subject, token.clone());
        let new = image(&snapshot, 16);
        if let Some(changed) = snapshot.changed().expect("an open snapshot") {
            let differing: PageSet = old
                .chunks(page_size)
                .zip(new.chunks(page_size))
                .zip(0u64..)
                .filter(|((old, new), _)| old != new)
                .filter_map(|(_, index)| PageNo::from_index(index))
                .collect();
            let missed: Vec<PageNo> =
                differing.pages().filter(|page| !changed.contains(*page)).collect();
            assert!(missed.is_empty(), "changed but not reported: {missed:?}");
        }
        // Every other snapshot's backup fails: what it saw as changed must be seen again.
        if round % 2 == 0 {
            token = snapshot.finish(Outcome::Committed).expect("a healthy snapshot ends well");
            old = new;
        } else {
            drop(snapshot);
        }
    }
}

fn reads_past_the_end_fail(coordinator: &Coordinator, subject: &mut dyn Subject) {
    let snapshot = begin(coordinator, subject, None);
    let geometry = snapshot.geometry();
    let past = PageNo::from_index(geometry.page_count).expect("a page number");
    let mut page = vec![0; geometry.page_size.bytes()];
    assert!(snapshot.read_pages(past, &mut page).is_err(), "a page past the end cannot be read");
}
