//! What a mounted repository shows: a folder for each source, a file for each of its backups, and `latest`.
//!
//! A source `tenants/a.db` is a folder in a folder. A backup's file is named by its moment in UTC and its id,
//! `2026-11-28T14-03-07Z_0a1b2c3d.db`, so that names sort by time, and hold nothing that programs read as something else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::DateTime;
use mantis_repo::{BackupInfo, UnixMillis};

/// The number of the folder that all is in.
pub(super) const ROOT: u64 = 1;
/// The longest part of a source's name that is a name here, in bytes: file systems end at 255.
const LONGEST: usize = 200;

/// What there is under a number.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Folder(BTreeMap<String, u64>),
    File(Arc<BackupInfo>),
    Link(String),
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    parent: u64,
    /// When the newest backup of it was taken.
    pub(super) at: UnixMillis,
    pub(super) kind: Kind,
}

/// What is shown. Numbers are those of one mount, and stay as long as their path is there.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: HashMap<u64, Node>,
    numbers: HashMap<String, u64>,
    next: u64,
}

/// A part of a source's name as the name of a folder.
fn part_name(part: &str) -> String {
    let name = match part {
        "." => "%2E".into(),
        ".." => "%2E%2E".into(),
        part => part.replace('\0', "%00"),
    };
    let end = (0..=LONGEST).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.get(..end).map_or(name.clone(), str::to_owned)
}

fn parts(source: &str) -> impl Iterator<Item = String> {
    source.split('/').filter(|part| !part.is_empty()).map(part_name)
}

fn extension(engine: &str) -> &'static str {
    match engine {
        "sqlite" => "db",
        "redb" => "redb",
        _ => "pages",
    }
}

/// The name of a backup's file.
pub(super) fn file_name(backup: &BackupInfo) -> String {
    let at = DateTime::from_timestamp_millis(backup.meta.created_at.0).unwrap_or_default();
    let (at, id) = (at.format("%Y-%m-%dT%H-%M-%SZ"), backup.id.short());
    format!("{at}_{id}.{}", extension(&backup.meta.engine))
}

impl Tree {
    /// A tree of these backups, where what was in another one keeps its number.
    pub(super) fn of(backups: &[BackupInfo], before: &Self) -> Self {
        let mut tree = Self { next: before.next.max(ROOT + 1), ..Self::default() };
        let root =
            Node { parent: ROOT, at: UnixMillis::default(), kind: Kind::Folder(BTreeMap::new()) };
        tree.nodes.insert(ROOT, root);
        let mut newest: BTreeMap<&str, (u64, String, &BackupInfo)> = BTreeMap::new();
        // Folders first: a file gives way to one of its name.
        for backup in backups {
            let source = backup.meta.source.as_str();
            if newest.contains_key(source) {
                continue;
            }
            let (mut folder, mut path) = (ROOT, String::new());
            for part in parts(source) {
                path = format!("{path}/{part}");
                folder = tree.add(folder, part, &path, before, || Kind::Folder(BTreeMap::new()));
            }
            newest.insert(source, (folder, path, backup));
        }
        for backup in backups {
            let Some((folder, path, newest)) = newest.get_mut(backup.meta.source.as_str()) else {
                continue;
            };
            if backup.meta.created_at >= newest.meta.created_at {
                *newest = backup;
            }
            tree.add_file(*folder, path, backup, before);
        }
        for (folder, path, backup) in newest.into_values() {
            let name = format!("latest.{}", extension(&backup.meta.engine));
            let path = format!("{path}/{name}");
            let link = tree.add(folder, name, &path, before, || Kind::Link(file_name(backup)));
            if let Some(node) = tree.nodes.get_mut(&link) {
                node.at = node.at.max(backup.meta.created_at);
            }
        }
        tree
    }

    /// Adds something, unless something of its name is there; the number of what is.
    fn add(
        &mut self,
        folder: u64,
        name: String,
        path: &str,
        before: &Self,
        kind: impl FnOnce() -> Kind,
    ) -> u64 {
        if let Some(there) = self.child(folder, &name) {
            return there;
        }
        let number = before.numbers.get(path).copied().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        self.numbers.insert(path.to_owned(), number);
        self.nodes.insert(number, Node { parent: folder, at: UnixMillis::default(), kind: kind() });
        if let Some(Node { kind: Kind::Folder(children), .. }) = self.nodes.get_mut(&folder) {
            children.insert(name, number);
        }
        number
    }

    fn add_file(&mut self, folder: u64, path: &str, backup: &BackupInfo, before: &Self) {
        let mut name = file_name(backup);
        while self.child(folder, &name).is_some() {
            name.insert(0, '_');
        }
        let path = format!("{path}/{name}");
        let mut number =
            self.add(folder, name, &path, before, || Kind::File(Arc::new(backup.clone())));
        // Its folders, too, are as new as it.
        while let Some(node) = self.nodes.get_mut(&number) {
            node.at = node.at.max(backup.meta.created_at);
            if number == ROOT {
                break;
            }
            number = node.parent;
        }
    }

    pub(super) fn node(&self, number: u64) -> Option<&Node> {
        self.nodes.get(&number)
    }

    /// What is called so in a folder.
    pub(super) fn child(&self, folder: u64, name: &str) -> Option<u64> {
        match &self.nodes.get(&folder)?.kind {
            Kind::Folder(children) => children.get(name).copied(),
            Kind::File(_) | Kind::Link(_) => None,
        }
    }

    /// All that is in a folder, itself and the one above it among that.
    pub(super) fn entries(&self, folder: u64) -> Option<Vec<(u64, String)>> {
        let node = self.nodes.get(&folder)?;
        let Kind::Folder(children) = &node.kind else { return None };
        let own = [(folder, ".".to_owned()), (node.parent, "..".to_owned())];
        let children = children.iter().map(|(name, number)| (*number, name.clone()));
        Some(own.into_iter().chain(children).collect())
    }

    /// How many files there are.
    pub(super) fn files(&self) -> usize {
        self.nodes.values().filter(|node| matches!(node.kind, Kind::File(_))).count()
    }

    /// How many links there are: one for each source, unless a folder is called so.
    pub(super) fn links(&self) -> usize {
        self.nodes.values().filter(|node| matches!(node.kind, Kind::Link(_))).count()
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
