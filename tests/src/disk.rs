//! What a power cut may leave of a folder, by what POSIX promises and nothing more.
//!
//! Bytes are safe once their file was synced, and names once their folder was; whatever was not is there or not, each on its own, in
//! any order, and a write may be there by half. File systems promise more in practice (ext4 keeps the order of names); nothing may
//! rely on that.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::trace::{Effect, Operation};

/// The least that a disk writes at once, in bytes.
const SECTOR: usize = 512;

/// The contents of files, and `None` for folders, by their paths below the root.
pub type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// A disk with one folder on it.
#[derive(Debug, Clone)]
pub struct Disk {
    root: PathBuf,
    /// The first is the root.
    nodes: Vec<Node>,
    /// Changes so far, as their order.
    clock: u64,
}

#[derive(Debug, Clone)]
enum Node {
    Folder { names: BTreeMap<OsString, usize>, unsynced: Vec<(u64, Naming)> },
    File { bytes: Vec<u8>, unsynced: Vec<(u64, Change)> },
}

/// What a folder has not synced yet.
#[derive(Debug, Clone)]
enum Naming {
    Add(OsString, usize),
    Remove(OsString),
    /// A rename within one folder is one change.
    Move(OsString, OsString, usize),
}

/// What a file has not synced yet.
#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Resize(u64),
}

/// What becomes of one change in a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
    /// Only so many bytes of a write are there.
    Torn(usize),
    /// A write's length is there, and zeros in place of its bytes.
    Zeros,
}

fn rename(names: &mut BTreeMap<OsString, usize>, naming: &Naming) {
    match naming {
        Naming::Add(name, node) => {
            names.insert(name.clone(), *node);
        }
        Naming::Remove(name) => {
            names.remove(name);
        }
        Naming::Move(from, to, node) => {
            names.remove(from);
            names.insert(to.clone(), *node);
        }
    }
}

fn change(bytes: &mut Vec<u8>, change: &Change, fate: Fate) {
    match change {
        Change::Resize(len) => bytes.resize(*len as usize, 0),
        Change::Write(at, written) => {
            let at = *at as usize;
            let kept = match fate {
                Fate::Torn(len) => &written[..len.min(written.len())],
                _ => &written[..],
            };
            let end = at + kept.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            match fate {
                Fate::Zeros => bytes[at..end].fill(0),
                _ => bytes[at..end].copy_from_slice(kept),
            }
        }
    }
}

impl Disk {
    /// What is in a folder, all of it synced.
    ///
    /// # Panics
    /// Where it cannot be read.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        let empty = || Node::Folder { names: BTreeMap::new(), unsynced: Vec::new() };
        let mut disk = Self { root: root.to_owned(), nodes: vec![empty()], clock: 0 };
        let mut waiting = vec![(root.to_owned(), 0)];
        while let Some((folder, above)) = waiting.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let node = disk.nodes.len();
                if path.is_dir() {
                    disk.nodes.push(empty());
                    waiting.push((path.clone(), node));
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    disk.nodes.push(Node::File { bytes, unsynced: Vec::new() });
                }
                let Node::Folder { names, .. } = &mut disk.nodes[above] else { continue };
                names.insert(path.file_name().unwrap().to_owned(), node);
            }
        }
        disk
    }

    /// The same disk, with its folder under another path.
    #[must_use]
    pub fn at(mut self, root: &Path) -> Self {
        root.clone_into(&mut self.root);
        self
    }

    /// The names of a folder as they are seen while the machine runs.
    fn seen(
        names: &BTreeMap<OsString, usize>,
        unsynced: &[(u64, Naming)],
    ) -> BTreeMap<OsString, usize> {
        let mut names = names.clone();
        unsynced.iter().for_each(|(_, naming)| rename(&mut names, naming));
        names
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let mut node = 0;
        for part in path.strip_prefix(&self.root).ok()? {
            let Node::Folder { names, unsynced } = &self.nodes[node] else { return None };
            node = *Self::seen(names, unsynced).get(part)?;
        }
        Some(node)
    }

    /// A folder by a path in it, and the name there.
    fn place(&self, path: &Path) -> Option<(usize, OsString)> {
        Some((self.find(path.parent()?)?, path.file_name()?.to_owned()))
    }

    fn name(&mut self, folder: usize, naming: Naming) {
        self.clock += 1;
        if let Node::Folder { unsynced, .. } = &mut self.nodes[folder] {
            unsynced.push((self.clock, naming));
        }
    }

    fn add(&mut self, path: &Path, node: Node) {
        if let Some((folder, name)) = self.place(path) {
            self.nodes.push(node);
            self.name(folder, Naming::Add(name, self.nodes.len() - 1));
        }
    }

    fn write(&mut self, path: &Path, what: Change) {
        self.clock += 1;
        let found = self.find(path);
        if let Some(Node::File { unsynced, .. }) = found.map(|node| &mut self.nodes[node]) {
            unsynced.push((self.clock, what));
        }
    }

    /// Something is done to the folder; what is about other places changes nothing.
    pub fn apply(&mut self, effect: &Effect) {
        match &effect.operation {
            Operation::Read { .. } | Operation::Look { .. } => {}
            Operation::Open { path, create, truncate } => match self.find(path) {
                Some(_) if *truncate => self.write(path, Change::Resize(0)),
                None if *create => {
                    self.add(path, Node::File { bytes: Vec::new(), unsynced: Vec::new() });
                }
                _ => {}
            },
            Operation::Write { path, .. } => {
                if let Some((at, bytes)) = &effect.written {
                    self.write(path, Change::Write(*at, bytes.clone()));
                }
            }
            Operation::Resize { path, len } => self.write(path, Change::Resize(*len)),
            Operation::Sync { path } => self.sync(path),
            Operation::Rename { from, to } => {
                let (node, from, to) = (self.find(from), self.place(from), self.place(to));
                if let (Some(node), Some((old, from)), Some((new, to))) = (node, from, to) {
                    if old == new {
                        self.name(old, Naming::Move(from, to, node));
                    } else {
                        self.name(new, Naming::Add(to, node));
                        self.name(old, Naming::Remove(from));
                    }
                }
            }
            Operation::Link { from, to } => {
                if let (Some(node), Some((folder, name))) = (self.find(from), self.place(to)) {
                    self.name(folder, Naming::Add(name, node));
                }
            }
            Operation::Unlink { path } | Operation::RemoveFolder { path } => {
                if let Some((folder, name)) = self.place(path) {
                    self.name(folder, Naming::Remove(name));
                }
            }
            Operation::MakeFolder { path } => {
                self.add(path, Node::Folder { names: BTreeMap::new(), unsynced: Vec::new() });
            }
        }
    }

    fn sync(&mut self, path: &Path) {
        match self.find(path).map(|node| &mut self.nodes[node]) {
            Some(Node::Folder { names, unsynced }) => {
                unsynced.drain(..).for_each(|(_, naming)| rename(names, &naming));
            }
            Some(Node::File { bytes, unsynced }) => {
                unsynced.drain(..).for_each(|(_, what)| change(bytes, &what, Fate::Kept));
            }
            None => {}
        }
    }

    /// What is there when each change that was not synced has its fate.
    fn image(&self, fate: impl Fn(u64) -> Fate) -> Image {
        let mut image = Image::new();
        let mut waiting = vec![(PathBuf::new(), 0)];
        while let Some((path, node)) = waiting.pop() {
            match &self.nodes[node] {
                Node::Folder { names, unsynced } => {
                    let mut names = names.clone();
                    let kept = unsynced.iter().filter(|(at, _)| fate(*at) != Fate::Lost);
                    kept.for_each(|(_, naming)| rename(&mut names, naming));
                    waiting.extend(names.into_iter().map(|(name, node)| (path.join(name), node)));
                    image.insert(path, None);
                }
                Node::File { bytes, unsynced } => {
                    let mut bytes = bytes.clone();
                    for (at, what) in unsynced {
                        match fate(*at) {
                            Fate::Lost => {}
                            fate => change(&mut bytes, what, fate),
                        }
                    }
                    image.insert(path, Some(bytes));
                }
            }
        }
        image
    }

    /// Everything that may be there after the machine stops now: all changes, none, each one alone, all but each one; each write that
    /// was not synced torn after a sector, in its middle, before its last byte, and as zeros. With what it is, for people.
    #[must_use]
    pub fn after_a_crash(&self) -> Vec<(String, Image)> {
        let mut images = vec![
            ("all of it".to_owned(), self.image(|_| Fate::Kept)),
            ("nothing unsynced".to_owned(), self.image(|_| Fate::Lost)),
        ];
        for node in &self.nodes {
            let changes: Vec<(u64, String, usize)> = match node {
                Node::Folder { unsynced, .. } => {
                    unsynced.iter().map(|(at, naming)| (*at, format!("{naming:?}"), 0)).collect()
                }
                Node::File { unsynced, .. } => {
                    let size = |what: &Change| match what {
                        Change::Write(_, bytes) => bytes.len(),
                        Change::Resize(_) => 0,
                    };
                    let told = |what: &Change| format!("a change of {} bytes", size(what));
                    unsynced.iter().map(|(at, what)| (*at, told(what), size(what))).collect()
                }
            };
            for (this, what, len) in changes {
                let only = |at: u64| if at == this { Fate::Kept } else { Fate::Lost };
                let but = |at: u64| if at == this { Fate::Lost } else { Fate::Kept };
                images.push((format!("only {what}"), self.image(only)));
                images.push((format!("all but {what}"), self.image(but)));
                let torn = [SECTOR.min(len / 2), len / 2, len.saturating_sub(1)].map(Fate::Torn);
                for fate in torn.into_iter().chain([Fate::Zeros]).filter(|_| len > 0) {
                    let this = |at: u64| if at == this { fate } else { Fate::Kept };
                    images.push((format!("{what}: {fate:?}"), self.image(this)));
                }
            }
        }
        images
    }
}

/// Makes a folder hold what an image does.
///
/// # Panics
/// Where it cannot be written.
pub fn lay_out(image: &Image, folder: &Path) {
    for (path, bytes) in image {
        let path = folder.join(path);
        match bytes {
            None => std::fs::create_dir_all(path).unwrap(),
            Some(bytes) => std::fs::write(path, bytes).unwrap(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(operation: Operation) -> Effect {
        Effect { operation, written: None }
    }

    fn wrote(path: &Path, at: u64, bytes: &[u8]) -> Effect {
        let operation = Operation::Write { path: path.to_owned(), at: Some(at) };
        Effect { operation, written: Some((at, bytes.to_vec())) }
    }

    fn contents(disk: &Disk) -> Vec<Option<Vec<u8>>> {
        let images = disk.after_a_crash();
        images.iter().map(|(_, image)| image.get(Path::new("new")).cloned().flatten()).collect()
    }

    #[test]
    fn what_is_not_synced_may_be_there_or_not_and_what_is_synced_is() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        let mut disk = Disk::of(folder.path());
        disk.apply(&done(Operation::Open { path: old.clone(), create: true, truncate: false }));
        disk.apply(&wrote(&old, 0, &[1; 2000]));
        disk.apply(&done(Operation::Rename { from: old.clone(), to: new.clone() }));
        let seen = contents(&disk);
        for wanted in
            [None, Some(vec![]), Some(vec![1; 2000]), Some(vec![1; 512]), Some(vec![0; 2000])]
        {
            assert!(seen.contains(&wanted), "{wanted:?}");
        }
        disk.apply(&done(Operation::Sync { path: new.clone() }));
        let seen = contents(&disk);
        assert!(seen.iter().all(|bytes| bytes.as_ref().is_none_or(|bytes| *bytes == [1; 2000])));
        assert!(seen.contains(&None));
        disk.apply(&done(Operation::Sync { path: folder.path().to_owned() }));
        assert_eq!(contents(&disk), vec![Some(vec![1; 2000]); 2]);
        disk.apply(&done(Operation::Unlink { path: new }));
        assert!(contents(&disk).contains(&None) && contents(&disk).contains(&Some(vec![1; 2000])));
        assert!(
            disk.after_a_crash().iter().all(|(_, image)| !image.contains_key(Path::new("old")))
        );
    }
}
