//! Indexes and pages kept on the local disk: what a repository far away need not be asked for again.
//!
//! Outcomes, manifests, lists of segments, the indexes of segments and their frames never change, and their names are never used
//! twice. Frames are kept where single pages are asked for, in a folder within the folder and with a limit of their own, so that a
//! look at a database does not drive out what backups need. Their bytes are kept as they are stored: sealed, where the repository is encrypted; before them stands a
//! hash of them and of where they belong. What comes from here is proved by that, and then exactly as what comes from
//! the store, and is read there where it does not prove; which objects there are is always asked of the store. So the
//! folder may be removed, damaged or shared at any time: it costs time, never correctness. `verify` and `repair`,
//! which are there to tell what the store holds, go past it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use mantis_sink::{ObjectKey, Span};

use crate::{ObjectHash, RepoError, RepoId, Repository};

/// The most bytes of one entry: an index of a large segment has some hundred KiB.
const MAX_ENTRY: u64 = 4 << 20;
/// The hash before an entry's bytes.
const PROOF_LEN: u64 = 32;
/// Of so many processes, one looks how much there is when it first writes.
const TIDY_ONE_IN: u32 = 32;
/// How much is written between two looks at how much there is.
const TIDY_EVERY: u64 = 8 << 20;
/// The folder of frames in that of indexes.
const PAGES: &str = "pages";

/// A folder of indexes, and of pages that were looked at, on the local disk, for [`Repository::with_cache`]. May be removed at any time: what comes
/// from it is proved as what comes from the store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct IndexCache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    limit: u64,
    /// Of frames; none in that itself.
    pages: Option<IndexCache>,
    written: AtomicU64,
    /// A folder that cannot be written is not tried again.
    broken: AtomicBool,
}

/// What stands before an entry's bytes.
fn proof(repo: RepoId, name: &str, bytes: &[u8]) -> ObjectHash {
    ObjectHash::of([&repo.0[..], name.as_bytes(), bytes])
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn entry_name(key: &ObjectKey, span: &Span) -> String {
    let part = match span {
        Span::Whole { .. } => String::new(),
        Span::Part(range) => format!("\n{}\n{}", range.start, range.end),
    };
    let name = ObjectHash::of([key.as_str().as_bytes(), part.as_bytes()]).to_string();
    format!("{}/{}", &name[..2], &name[2..40])
}

impl IndexCache {
    /// How much is kept where nothing else is said, in bytes.
    pub const USUAL_LIMIT: u64 = 256 << 20;

    /// The cache in a folder, which need not exist, of at most `limit` bytes of indexes and as many of pages.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, limit: u64) -> Self {
        let folder = folder.into();
        let pages = Self::of(folder.join(PAGES), limit, None);
        Self::of(folder, limit, Some(pages))
    }

    fn of(folder: PathBuf, limit: u64, pages: Option<Self>) -> Self {
        // One process rarely writes that much: of many short ones, some look at once.
        let first = if std::process::id().is_multiple_of(TIDY_ONE_IN) { TIDY_EVERY } else { 0 };
        let (written, broken) = (AtomicU64::new(first), AtomicBool::new(false));
        Self(Arc::new(Inner { folder, limit, pages, written, broken }))
    }

    /// Where frames are kept.
    pub(crate) fn pages(&self) -> Option<Self> {
        self.0.pages.clone()
    }

    fn path(&self, repo: RepoId, name: &str) -> PathBuf {
        self.0.folder.join(repo.to_string()).join(name)
    }

    fn read(&self, repo: RepoId, name: &str, span: &Span) -> Option<Bytes> {
        let path = self.path(repo, name);
        let len = fs::metadata(&path).ok()?.len().checked_sub(PROOF_LEN)?;
        let fits = match span {
            Span::Whole { limit } => len <= *limit,
            Span::Part(range) => len == range.end.checked_sub(range.start)?,
        };
        if !fits || len > MAX_ENTRY {
            return None;
        }
        let mut entry = Bytes::from(fs::read(path).ok()?);
        if (entry.len() as u64) < PROOF_LEN {
            return None;
        }
        let before = entry.split_to(PROOF_LEN as usize);
        (before[..] == proof(repo, name, &entry).0).then_some(entry)
    }

    fn forget(&self, repo: RepoId, name: &str) {
        let _ = fs::remove_file(self.path(repo, name));
    }

    /// Nothing is synced: what a crash leaves torn does not prove, and is read from the store again.
    fn try_write(&self, repo: RepoId, name: &str, bytes: &Bytes) -> io::Result<()> {
        let path = self.path(repo, name);
        let folder = path.parent().unwrap_or(&self.0.folder);
        make_folder(folder)?;
        // Should another machine that shares the folder take the same name, what both write does not prove.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!("{}-{number}.tmp", std::process::id()));
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        let written = file
            .write_all(&proof(repo, name, bytes).0)
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn write(&self, repo: RepoId, name: &str, bytes: &Bytes) {
        let len = bytes.len() as u64;
        if self.0.broken.load(Ordering::Relaxed) || len > MAX_ENTRY {
            return;
        }
        if let Err(error) = self.try_write(repo, name, bytes) {
            tracing::info!(folder = %self.0.folder.display(), %error, "indexes are not kept");
            self.0.broken.store(true, Ordering::Relaxed);
            return;
        }
        if self.0.written.fetch_add(len, Ordering::Relaxed) + len >= TIDY_EVERY {
            self.0.written.store(0, Ordering::Relaxed);
            self.tidy();
        }
    }

    /// Removes what was written first, until half of the limit is left, where there is more than the limit.
    fn tidy(&self) {
        let mut found: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        let mut waiting = vec![self.0.folder.clone()];
        let others = self.0.pages.as_ref().map(|pages| pages.0.folder.clone());
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(_) if others.as_ref() == Some(&entry.path()) => {}
                    Ok(about) if about.is_dir() => waiting.push(entry.path()),
                    Ok(about) => {
                        let at = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                        found.push((at, about.len(), entry.path()));
                    }
                    Err(_) => {}
                }
            }
        }
        let mut total: u64 = found.iter().map(|(_, len, _)| len).sum();
        if total <= self.0.limit {
            return;
        }
        found.sort();
        for (_, len, path) in found {
            if total <= self.0.limit / 2 {
                break;
            }
            if fs::remove_file(path).is_ok() {
                total -= len;
            }
        }
    }
}

/// Runs blocking work on a thread for it; `None` where that thread died.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

impl Repository {
    /// What `prove` makes of bytes that never change: those that are kept here, if they prove, else the store's.
    pub(crate) async fn read_proved<T>(
        &self,
        key: &ObjectKey,
        span: Span,
        prove: impl Fn(&Bytes) -> Result<T, RepoError>,
    ) -> Result<T, RepoError> {
        Ok(self.read_proved_by(self.index_cache().cloned(), key, span, prove).await?.0)
    }

    /// As [`Self::read_proved`], by a cache; and whether the store was asked.
    pub(crate) async fn read_proved_by<T>(
        &self,
        cache: Option<IndexCache>,
        key: &ObjectKey,
        span: Span,
        prove: impl Fn(&Bytes) -> Result<T, RepoError>,
    ) -> Result<(T, bool), RepoError> {
        let Some(cache) = cache else {
            return Ok((prove(&self.sink().get(key, span).await?)?, true));
        };
        let (repo, name) = (self.id(), entry_name(key, &span));
        let reading = {
            let (cache, name, span) = (cache.clone(), name.clone(), span.clone());
            blocking(move || cache.read(repo, &name, &span))
        };
        if let Some(bytes) = reading.await.flatten() {
            match prove(&bytes) {
                Ok(proved) => return Ok((proved, false)),
                Err(error) => {
                    tracing::info!(%key, %error, "an index that was kept here is read again");
                    cache.forget(repo, &name);
                }
            }
        }
        let bytes = self.sink().get(key, span).await?;
        let proved = prove(&bytes)?;
        blocking(move || cache.write(repo, &name, &bytes)).await;
        Ok((proved, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPO: RepoId = RepoId([1; 16]);

    fn whole() -> Span {
        Span::Whole { limit: 100 }
    }

    #[test]
    fn keeps_each_span_of_each_object_of_each_repository_apart() {
        let key = |name: &str| ObjectKey::new(name).unwrap();
        let names = [
            entry_name(&key("out/a"), &whole()),
            entry_name(&key("out/b"), &whole()),
            entry_name(&key("out/a"), &Span::Part(0..5)),
            entry_name(&key("out/a"), &Span::Part(0..6)),
        ];
        let different: std::collections::HashSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len());
        let folder = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(folder.path(), 1000);
        cache.write(REPO, &names[0], &Bytes::from_static(b"bytes"));
        assert_eq!(cache.read(REPO, &names[0], &whole()).unwrap(), &b"bytes"[..]);
        assert!(cache.read(RepoId([2; 16]), &names[0], &whole()).is_none());
        assert!(cache.read(REPO, &names[0], &Span::Whole { limit: 4 }).is_none());
        assert!(cache.read(REPO, &names[0], &Span::Part(0..6)).is_none());
        cache.forget(REPO, &names[0]);
        assert!(cache.read(REPO, &names[0], &whole()).is_none());
    }

    #[test]
    fn stays_within_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(folder.path(), 1000);
        for number in 0..100 {
            cache.write(REPO, &format!("{:02}/{number}", number % 7), &vec![0; 50].into());
        }
        cache.tidy();
        let kept = (0..100).filter(|number| {
            cache.read(REPO, &format!("{:02}/{number}", number % 7), &whole()).is_some()
        });
        assert!((1..=12).contains(&kept.count()));
    }

    #[test]
    fn pages_do_not_drive_out_indexes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(folder.path(), 1000);
        let pages = cache.pages().unwrap();
        assert!(pages.pages().is_none());
        cache.write(REPO, "00/index", &vec![1; 500].into());
        for number in 0..9 {
            pages.write(REPO, &format!("00/{number}"), &vec![2; 500].into());
        }
        let kept =
            || (0..9).filter(|number| pages.path(REPO, &format!("00/{number}")).exists()).count();
        cache.tidy();
        assert_eq!(kept(), 9, "those are not its own");
        pages.tidy();
        assert_eq!(kept(), 0, "one and its proof are more than half of the limit");
        assert!(cache.path(REPO, "00/index").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_costs_nothing_but_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = IndexCache::new(file.path().join("below a file"), 1000);
        cache.write(REPO, "00/a", &Bytes::from_static(b"bytes"));
        assert!(cache.read(REPO, "00/a", &whole()).is_none());
        assert!(cache.0.broken.load(Ordering::Relaxed));
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_much_that_is_written_is_tidied() {
        let folder = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(folder.path(), 5 << 20);
        let large = Span::Whole { limit: u64::MAX };
        cache.write(REPO, "00/large", &vec![1; MAX_ENTRY as usize + 1].into());
        assert!(cache.read(REPO, "00/large", &large).is_none());
        // Three of 4 MiB are more than what is written between two looks, and than the limit.
        for name in ["00/a", "00/b", "00/c"] {
            cache.write(REPO, name, &vec![1; MAX_ENTRY as usize].into());
        }
        let kept = |name: &&str| cache.read(REPO, name, &large).is_some();
        assert!(["00/a", "00/b", "00/c"].iter().filter(|name| kept(name)).count() < 3);
    }

    #[test]
    fn an_entry_that_somebody_else_made_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(folder.path(), 1000);
        let path = cache.path(REPO, "00/a");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let large = Span::Whole { limit: u64::MAX };
        for len in [0, PROOF_LEN - 1, PROOF_LEN, PROOF_LEN + 5, PROOF_LEN + MAX_ENTRY + 1] {
            fs::write(&path, vec![0; len as usize]).unwrap();
            assert!(cache.read(REPO, "00/a", &large).is_none(), "{len} bytes");
        }
        // A span that ends before it begins asks for nothing.
        let none = std::ops::Range { start: 6, end: 5 };
        assert!(cache.read(REPO, "00/a", &Span::Part(none)).is_none());
        // A folder in its place cannot be replaced: nothing is left beside it, and nothing more is tried.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        cache.write(REPO, "00/a", &Bytes::from_static(b"bytes"));
        assert!(cache.read(REPO, "00/a", &whole()).is_none());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        cache.write(REPO, "00/b", &Bytes::from_static(b"bytes"));
        assert!(cache.read(REPO, "00/b", &whole()).is_none());
    }
}
