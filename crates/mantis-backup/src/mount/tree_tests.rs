//! What a mounted repository shows, by which names.

use mantis_repo::{BackupId, BackupKind, BackupMeta, Fingerprint, ObjectHash, SessionId};
use proptest::prelude::*;

use super::*;

fn backup(source: &str, engine: &str, at: i64, id: u8) -> BackupInfo {
    BackupInfo {
        id: BackupId([id; 16]),
        generation: 0,
        session: SessionId { sequence: 1, unique: [id; 16] },
        meta: BackupMeta {
            source: source.into(),
            engine: engine.into(),
            object: "a.db".into(),
            lsn: 7,
            timeline: String::new(),
            way: "closed".into(),
            created_at: UnixMillis(at),
            tags: BTreeMap::new(),
            page_size: 512,
            page_count: 10,
            byte_len: 5000,
        },
        kind: BackupKind::Full,
        parent: None,
        pages_changed: 10,
        pages_zero: 0,
        bytes_read: 5000,
        bytes_stored: 1000,
        duration_ms: 1,
        compression: "none".into(),
        fingerprint: Fingerprint(ObjectHash([8; 32])),
    }
}

fn tree(backups: &[BackupInfo]) -> Tree {
    Tree::of(backups, &Tree::default())
}

/// All that is there, by path.
fn paths(tree: &Tree) -> BTreeMap<String, u64> {
    let (mut found, mut rest) = (BTreeMap::new(), vec![(ROOT, String::new())]);
    while let Some((folder, path)) = rest.pop() {
        for (number, name) in tree.entries(folder).unwrap().into_iter().skip(2) {
            assert_eq!(tree.child(folder, &name), Some(number));
            let path = format!("{path}/{name}");
            if let Kind::Folder(_) = tree.node(number).unwrap().kind {
                rest.push((number, path.clone()));
            }
            assert_eq!(found.insert(path, number), None);
        }
    }
    found
}

#[test]
fn each_source_is_a_folder_with_its_backups_and_the_latest() {
    let tree = tree(&[
        backup("tenants/a.db", "sqlite", 1_764_338_587_000, 0xaa),
        backup("tenants/a.db", "sqlite", 1_764_338_588_000, 0xbb),
        backup("cache", "redb", 0, 0xcc),
    ]);
    let found: Vec<String> = paths(&tree).into_keys().collect();
    assert_eq!(
        found,
        [
            "/cache",
            "/cache/1970-01-01T00-00-00Z_cccccccc.redb",
            "/cache/latest.redb",
            "/tenants",
            "/tenants/a.db",
            "/tenants/a.db/2025-11-28T14-03-07Z_aaaaaaaa.db",
            "/tenants/a.db/2025-11-28T14-03-08Z_bbbbbbbb.db",
            "/tenants/a.db/latest.db",
        ]
    );
    assert_eq!((tree.files(), tree.links()), (3, 2));
    let latest = paths(&tree)["/tenants/a.db/latest.db"];
    let Kind::Link(to) = &tree.node(latest).unwrap().kind else { panic!("a link") };
    assert_eq!(to, "2025-11-28T14-03-08Z_bbbbbbbb.db");
    assert_eq!(tree.node(latest).unwrap().at, UnixMillis(1_764_338_588_000));
    assert_eq!(tree.node(ROOT).unwrap().at, UnixMillis(1_764_338_588_000));
    assert_eq!(tree.entries(ROOT).unwrap()[..2], [(ROOT, ".".into()), (ROOT, "..".into())]);
}

#[test]
fn what_stays_keeps_its_number_and_what_goes_leaves_none() {
    let old = backup("a", "sqlite", 1000, 1);
    let before = tree(&[old.clone(), backup("b", "sqlite", 2000, 2)]);
    let after = Tree::of(&[old, backup("a", "sqlite", 3000, 3)], &before);
    let (before, now) = (paths(&before), paths(&after));
    let file = "/a/1970-01-01T00-00-01Z_01010101.db";
    assert_eq!((now["/a"], now[file]), (before["/a"], before[file]));
    let new = now["/a/1970-01-01T00-00-03Z_03030303.db"];
    assert!(!before.values().any(|number| *number == new), "no number is given twice");
    assert!(!now.contains_key("/b"));
    assert!(after.node(before["/b"]).is_none());
}

#[test]
fn names_lead_nowhere_else() {
    let tree = tree(&[
        backup("../../etc/./passwd", "file", 0, 1),
        backup("///", "file", 0, 2),
        backup("nul\0l", "file", 0, 3),
    ]);
    let found = paths(&tree);
    assert!(found.contains_key("/%2E%2E/%2E%2E/etc/%2E/passwd/latest.pages"), "{found:?}");
    assert!(found.contains_key("/latest.pages") && found.contains_key("/nul%00l"), "{found:?}");
}

proptest! {
    #[test]
    fn every_backup_has_a_file_whatever_sources_are_called(
        sources in proptest::collection::vec("[a/.\0é]{0,5}|latest\\.db|é{150}|1970-01-01T00-00-00Z_0[0-5]0[0-5]0[0-5]0[0-5]\\.db(/x)?", 0..6),
    ) {
        let all: Vec<BackupInfo> = (0..).zip(&sources).map(|(id, source)| backup(source, "sqlite", 0, id)).collect();
        let tree = tree(&all);
        prop_assert_eq!(tree.files(), all.len());
        for path in paths(&tree).keys() {
            for name in path.split('/').skip(1) {
                prop_assert!(!name.is_empty() && name != "." && name != ".." && name.len() <= 255 && !name.contains('\0'));
            }
        }
    }
}
