//! A folder as a store: durable for real, and never half an object in sight.
//!
//! An object is written under a temporary name in `.tmp`, synced, renamed to its own name without
//! replacing anything, and then its folder is synced. What a crash leaves, step by step:
//!
//! 1. while writing or before the sync: a nameless rest in `.tmp`, which nobody reads, and which [`Sink::sweep`] removes;
//! 2. after the rename, before the folder's sync: the object, whole, or nothing: it was not
//!    acknowledged;
//! 3. after the folder's sync: the object.
//!
//! OpenDAL's own `fs` service checks and then renames, so two writers can both win, and it syncs no
//! folder; hence this one.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{Advice, fadvise};

use crate::anchor::{Anchor, gone};
use crate::direct;
use crate::temporary::{self, Temporary};
use crate::ways::{Way, Ways};
use crate::{Capabilities, ObjectInfo, ObjectKey, Payload, Sink, SinkError, SinkErrorKind, Span};

const TEMPORARY: &str = ".tmp";
/// How often a folder may vanish between being made and being used.
const FOLDER_RACES: u32 = 100;
/// Objects from this length on go past the page cache, as far as the file system can: segments, but not what is read again and again.
const LARGE: u64 = 1 << 20;
/// Pieces given to one vectored write.
const PIECES_AT_ONCE: usize = 512;

/// A folder as a store.
#[derive(Debug, Clone)]
pub struct LocalSink {
    root: Arc<PathBuf>,
    /// Folders that are durable in those above them, as far as we saw to it ourselves.
    durable: Arc<Mutex<HashSet<PathBuf>>>,
    ways: Arc<Ways>,
    anchor: Anchor,
}

/// Syncs a folder: names made, renamed or removed in it before are durable after.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder and those above it, each durable in the one above before anything is put in it.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above =
        folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(above)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(above),
    }
}

fn write_pieces(file: &mut File, pieces: &[Bytes]) -> io::Result<()> {
    for group in pieces.chunks(PIECES_AT_ONCE) {
        let mut slices: Vec<IoSlice<'_>> = group.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            match file.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut rest, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

impl LocalSink {
    /// The store in a folder, which need not exist before the first object is put.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: Arc::new(root.into()),
            durable: Arc::default(),
            ways: Arc::default(),
            anchor: Anchor::default(),
        }
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// A disk that is unmounted, or a folder that is moved away, must not become a new store under the old name, in which what
    /// follows would be told to be safe.
    fn check_anchor(&self) -> io::Result<()> {
        let Some(anchor) = self.anchor.get() else { return Ok(()) };
        match fs::metadata(self.path(&anchor)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(io::Error::new(io::ErrorKind::NotFound, gone(&anchor)))
            }
            there => there.map(drop),
        }
    }

    fn put(&self, key: &ObjectKey, payload: &Payload) -> io::Result<()> {
        self.check_anchor()?;
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.root);
        let temporaries = self.root.join(TEMPORARY);
        make_folder(&temporaries)?;
        let mut temporary = Temporary::new(&temporaries)?;
        let file = temporary.file();
        let way = (payload.len() >= LARGE).then(|| self.ways.choose());
        let began = Instant::now();
        let is_direct = way == Some(Way::Direct) && direct::write(file, payload)?;
        if !is_direct {
            write_pieces(file, payload.pieces())?;
        }
        // A sync that failed once proves nothing when it succeeds later: the file is given up.
        file.sync_data()?;
        if let Some(way) = way {
            let took = if is_direct { Way::Direct } else { Way::Cached };
            // Where there is no way past the cache, there is nothing to choose.
            if took == way {
                self.ways.took(way, payload.len(), began.elapsed());
            }
            // What went through the cache after all is not to push out what databases read now. Only advice.
            let _ = fadvise(&*file, 0, None, Advice::DontNeed);
        }
        // Someone may delete a folder's last object, and the folder, since it was made: then it is made again.
        for turn in 0.. {
            let renamed = make_folder(folder).and_then(|()| temporary.rename_new(&path));
            match renamed {
                Err(error) if error.kind() == io::ErrorKind::NotFound && turn < FOLDER_RACES => {}
                result => {
                    result?;
                    break;
                }
            }
        }
        sync_folder(folder)?;
        self.settle_once(folder)?;
        // Had the folder been exchanged meanwhile, the object would be in another one now.
        self.check_anchor()?;
        self.anchor.seen(key);
        Ok(())
    }

    /// The first time that an object is put in a folder: another writer may have made the folder, and not have synced
    /// those above it yet.
    fn settle_once(&self, folder: &Path) -> io::Result<()> {
        let durable = || self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable().contains(folder) {
            return Ok(());
        }
        for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&*self.root)) {
            sync_folder(above)?;
        }
        durable().insert(folder.to_owned());
        Ok(())
    }

    fn read(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        let fail = |error| SinkError::io("read", key, self.root.display(), error);
        let mut file = File::open(self.path(key)).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        let wrong = |wanted| Err(SinkError::wrong_length(key, self.root.display(), len, wanted));
        let (start, count) = match span.within(len) {
            Ok(found) => found,
            Err(wanted) => return wrong(wanted),
        };
        if start > 0 {
            file.seek(SeekFrom::Start(start)).map_err(fail)?;
        }
        let mut bytes = Vec::with_capacity(count as usize);
        file.take(count).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 != count {
            return wrong(start + count);
        }
        self.anchor.seen(key);
        Ok(bytes.into())
    }

    fn walk(&self, folder: &str) -> io::Result<Vec<ObjectInfo>> {
        // An unmounted disk is no empty store: the root must be there, and be what it was.
        fs::read_dir(&*self.root)?;
        self.check_anchor()?;
        let mut found = Vec::new();
        let mut waiting = vec![folder.to_owned()];
        while let Some(folder) = waiting.pop() {
            let entries = match fs::read_dir(self.root.join(&folder)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                // Names that are no keys (`.tmp`, `lost+found`) are none of ours.
                let Ok(key) = ObjectKey::new(name.clone()) else { continue };
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    waiting.push(name);
                } else if kind.is_file() {
                    match entry.metadata() {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        metadata => found.push(ObjectInfo { key, len: metadata?.len() }),
                    }
                }
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    fn remove(&self, key: &ObjectKey) -> io::Result<()> {
        self.check_anchor()?;
        self.anchor.forget(key);
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result?,
        }
        let Some(folder) = path.parent() else { return Ok(()) };
        let removed = folder != &**self.root && fs::remove_dir(folder).is_ok();
        if removed {
            self.durable.lock().unwrap_or_else(PoisonError::into_inner).remove(folder);
        }
        // Others delete objects and folders meanwhile: the name is gone for good once the nearest folder that is still
        // there is synced.
        for above in folder.ancestors().skip(removed.into()) {
            match sync_folder(above) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && above != &**self.root => {}
                result => return result,
            }
        }
        Ok(())
    }

    /// Syncs the folders from one up to the root. An object's bytes are synced before it has its name.
    fn settle_folders(&self, folder: &str) -> io::Result<()> {
        let folder = self.root.join(folder);
        for folder in folder.ancestors().take_while(|above| above.starts_with(&*self.root)) {
            match sync_folder(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && folder != &**self.root => {
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// Runs blocking work of this store on a thread for it.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, SinkError> {
        let sink = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&sink)).await;
        done.map_err(|error| {
            SinkError::new(SinkErrorKind::Other, "work on", "an object", self.root.display())
                .caused_by(error)
        })
    }
}

#[async_trait]
impl Sink for LocalSink {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { exclusive_create: true, durable: true, remote: false }
    }

    async fn put_new(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError> {
        let name = key.clone();
        let done = self.blocking(move |sink| sink.put(&name, &payload)).await?;
        done.map_err(|error| SinkError::io("create", key, self.root.display(), error))
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        let key = key.clone();
        self.blocking(move |sink| sink.read(&key, span)).await?
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        let path = self.path(key);
        let metadata = self.blocking(move |_| fs::metadata(path)).await?;
        let len = metadata.map(|metadata| metadata.len());
        len.map_err(|error| SinkError::io("look at", key, self.root.display(), error))
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        let name = folder.to_owned();
        let found = self.blocking(move |sink| sink.walk(&name)).await?;
        let what = if folder.is_empty() { "the objects" } else { folder };
        found.map_err(|error| SinkError::io("list", what, self.root.display(), error))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        let name = key.clone();
        let done = self.blocking(move |sink| sink.remove(&name)).await?;
        done.map_err(|error| SinkError::io("delete", key, self.root.display(), error))
    }

    async fn settle(&self, folder: &str) -> Result<(), SinkError> {
        let name = folder.to_owned();
        let done = self.blocking(move |sink| sink.settle_folders(&name)).await?;
        let what = if folder.is_empty() { "all objects" } else { folder };
        done.map_err(|error| SinkError::io("settle", what, self.root.display(), error))
    }

    async fn sweep(&self, _before: SystemTime) -> Result<u64, SinkError> {
        let temporaries = self.root.join(TEMPORARY);
        let swept = self.blocking(move |_| temporary::sweep(&temporaries)).await?;
        swept.map_err(|error| SinkError::io("tidy up", TEMPORARY, self.root.display(), error))
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
