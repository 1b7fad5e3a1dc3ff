//! What the kernel asks of a mounted repository, answered. It asks on threads that may wait.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, Request,
};
use mantis_repo::{BackupInfo, Catalogue, Repository, UnixMillis};
use tokio::runtime::Handle;

use super::Mounted;
use super::open_file::OpenFile;
use super::tree::{Kind, Node, Tree};
use crate::Error;

/// How old what is shown may be, and how long the kernel may keep it.
const FRESH: Duration = Duration::from_secs(10);
/// How long a list waits for the store; then it is what it was.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is told of the length of a block, in bytes: reads of less are not worth while.
const BLOCK: u32 = 128 << 10;

/// What a folder has, as it was when it was opened.
type Entries = Arc<[(u64, FileType, String)]>;

/// A file that is open, and how often.
type Opened = (Arc<OpenFile>, u64);

/// The backups of a repository as files.
pub(super) struct BackupFiles {
    repo: Repository,
    source: Option<String>,
    exact: bool,
    runtime: Handle,
    tree: RwLock<Tree>,
    /// When it was made. Held by whoever makes it anew.
    made: Mutex<Instant>,
    /// By their numbers.
    files: Mutex<HashMap<u64, Opened>>,
    folders: Mutex<HashMap<u64, Entries>>,
    next_handle: AtomicU64,
    /// Whose the files are.
    owner: (u32, u32),
    /// Rights beyond the owner's.
    others: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn of_source(catalogue: Catalogue, source: Option<&str>) -> Vec<BackupInfo> {
    for unreadable in &catalogue.unreadable {
        tracing::warn!(session = %unreadable.session, error = %unreadable.error, "is not shown");
    }
    let mut backups = catalogue.backups;
    backups.retain(|backup| source.is_none_or(|source| backup.meta.source == source));
    backups
}

fn system_time(at: UnixMillis) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::Folder(_) => FileType::Directory,
        Kind::File(_) => FileType::RegularFile,
        Kind::Link(_) => FileType::Symlink,
    }
}

impl BackupFiles {
    /// Those of one source, or of all. In a runtime of tokio's.
    pub(super) async fn of(
        repo: Repository,
        source: Option<String>,
        exact: bool,
        others: bool,
    ) -> Result<Self, Error> {
        let backups = of_source(repo.catalogue().await?, source.as_deref());
        Ok(Self {
            tree: RwLock::new(Tree::of(&backups, &Tree::default())),
            repo,
            source,
            exact,
            runtime: Handle::current(),
            made: Mutex::new(Instant::now()),
            files: Mutex::default(),
            folders: Mutex::default(),
            next_handle: AtomicU64::new(1),
            owner: (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()),
            others,
        })
    }

    pub(super) fn count(&self) -> Mounted {
        let tree = self.tree();
        Mounted { backups: tree.files(), sources: tree.links() }
    }

    fn tree(&self) -> std::sync::RwLockReadGuard<'_, Tree> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks which backups there are, where that was not done for a while and nobody else does.
    fn freshen(&self) {
        let Ok(mut made) = self.made.try_lock() else { return };
        if made.elapsed() < FRESH {
            return;
        }
        let listed = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.repo.catalogue_again()).await });
        match listed {
            Ok(Ok(catalogue)) => {
                let backups = of_source(catalogue, self.source.as_deref());
                let fresh = Tree::of(&backups, &self.tree());
                *self.tree.write().unwrap_or_else(PoisonError::into_inner) = fresh;
            }
            Ok(Err(error)) => {
                let error = Error::from(error).chain();
                tracing::warn!(%error, "the repository cannot be listed: what was there before is shown");
            }
            Err(_) => {
                tracing::warn!("the repository does not answer: what was there before is shown");
            }
        }
        *made = Instant::now();
    }

    fn attributes(&self, number: u64, node: &Node) -> FileAttr {
        let (size, perm, nlink) = match &node.kind {
            Kind::Folder(_) => (0, if self.others { 0o555 } else { 0o500 }, 2),
            Kind::File(backup) => {
                (backup.meta.byte_len, if self.others { 0o444 } else { 0o400 }, 1)
            }
            Kind::Link(to) => (to.len() as u64, 0o777, 1),
        };
        let at = system_time(node.at);
        FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: at,
            mtime: at,
            ctime: at,
            crtime: at,
            kind: file_type(&node.kind),
            perm,
            nlink,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        }
    }

    fn child(&self, folder: u64, name: &OsStr) -> Option<FileAttr> {
        let tree = self.tree();
        let number = tree.child(folder, name.to_str()?)?;
        Some(self.attributes(number, tree.node(number)?))
    }

    fn entries(&self, folder: u64) -> Option<Entries> {
        let tree = self.tree();
        let entries = tree.entries(folder)?.into_iter();
        let with_type = entries
            .filter_map(|(number, name)| Some((number, file_type(&tree.node(number)?.kind), name)));
        Some(with_type.collect())
    }

    fn backup(&self, number: u64) -> Option<Arc<BackupInfo>> {
        match &self.tree().node(number)?.kind {
            Kind::File(backup) => Some(Arc::clone(backup)),
            Kind::Folder(_) | Kind::Link(_) => None,
        }
    }

    /// Opens a file, or once more one that is open.
    fn open_file(&self, number: u64) -> Result<(), Errno> {
        if let Some((_, times)) = lock(&self.files).get_mut(&number) {
            *times += 1;
            return Ok(());
        }
        let backup = self.backup(number).ok_or(Errno::ENOENT)?;
        let opened = self.runtime.block_on(OpenFile::of(&self.repo, &backup, self.exact));
        let opened = opened.map_err(|error| {
            tracing::error!(backup = %backup.id, error = %error.chain_and_help(), "cannot be opened");
            Errno::EIO
        })?;
        // Somebody else may have opened it meanwhile: one of the two is enough.
        let mut files = lock(&self.files);
        files.entry(number).or_insert_with(|| (Arc::new(opened), 0)).1 += 1;
        Ok(())
    }

    fn close_file(&self, number: u64) {
        let mut files = lock(&self.files);
        if let Some((_, times)) = files.get_mut(&number) {
            *times -= 1;
            if *times == 0 {
                files.remove(&number);
            }
        }
    }

    fn handle(&self) -> u64 {
        self.next_handle.fetch_add(1, Ordering::Relaxed)
    }
}

impl Filesystem for BackupFiles {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.freshen();
        match self.child(parent.0, name) {
            Some(attributes) => reply.entry(&FRESH, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.tree().node(number.0) {
            Some(node) => reply.attr(&FRESH, &self.attributes(number.0, node)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        match self.tree().node(number.0).map(|node| &node.kind) {
            Some(Kind::Link(to)) => reply.data(to.as_bytes()),
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn open(&self, _: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        match self.open_file(number.0) {
            // A backup never changes: what the kernel has of it is as good as ever.
            Ok(()) => reply.opened(FileHandle(self.handle()), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let file = lock(&self.files).get(&number.0).map(|(file, _)| Arc::clone(file));
        let Some(file) = file else { return reply.error(Errno::EBADF) };
        match file.read(offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => {
                let error = file.why(error);
                tracing::error!(error = %error.chain_and_help(), "a backup cannot be read");
                reply.error(Errno::EIO);
            }
        }
    }

    fn release(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.close_file(number.0);
        reply.ok();
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.freshen();
        let Some(entries) = self.entries(number.0) else { return reply.error(Errno::ENOENT) };
        let handle = self.handle();
        lock(&self.folders).insert(handle, entries);
        reply.opened(FileHandle(handle), FopenFlags::empty());
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = lock(&self.folders).get(&handle.0).cloned();
        let Some(entries) = entries else { return reply.error(Errno::EBADF) };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, (number, kind, name)) in entries.iter().enumerate().skip(from) {
            if reply.add(INodeNo(*number), at as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        lock(&self.folders).remove(&handle.0);
        reply.ok();
    }
}
