//! Leaving the page cache as it was: what a backup reads once does not push out what the database reads again and again.
//!
//! Before a window of the source is read, the kernel is asked which of its pages are in the cache (`mincore(2)`). When the window has
//! been read, those that were not are let go of (`posix_fadvise(2)`, `POSIX_FADV_DONTNEED`); those that were stay. The windows after it
//! are looked at before as well, as the kernel reads ahead, and what that brought in would pass for what the database had read. Pages
//! that a writer changed meanwhile are dirty, and the kernel keeps them.
//!
//! All of this is advice: where it fails, or the system has none of it, the backup is the same.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Advice, fadvise};

#[cfg(feature = "sqlite")]
use crate::source_file::Identity;

/// Bytes that are looked at at once: a multiple of any page's size.
const WINDOW: u64 = 8 << 20;

/// Windows that are looked at beyond the one that is read: 64 MiB. The kernel is ahead of a reader by less than twice what it reads
/// ahead at once (`read_ahead_kb`: 128 KiB by default, 8 MiB on cloud disks, more on arrays).
const AHEAD: u64 = 8;

/// The page cache over one file, for a reader that goes through it once, upwards.
#[derive(Debug)]
pub(crate) struct PageCache {
    file: Arc<File>,
    /// Windows that were looked at and not read to their end yet: what of each was not in the cache.
    cold: Mutex<BTreeMap<u64, Vec<Range<u64>>>>,
}

/// The parts of a window that are not in the cache, in bytes from the file's start; `None` where that cannot be told.
#[expect(unsafe_code, reason = "no safe call tells which pages of a file are in the page cache")]
fn cold_parts(file: &File, window: Range<u64>) -> Option<Vec<Range<u64>>> {
    let page = u64::try_from(rustix::param::page_size())
        .ok()
        .filter(|page| WINDOW.is_multiple_of(*page))?;
    let len = usize::try_from(window.end - window.start).ok()?;
    let offset = libc::off_t::try_from(window.start).ok()?;
    let mut resident = vec![0u8; len.div_ceil(usize::try_from(page).ok()?)];
    // SAFETY: a new mapping at an address that the kernel chooses overlaps nothing of ours. It is of no access (`PROT_NONE`) and is
    // never touched, so that a file that becomes shorter meanwhile cannot end the process.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_NONE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            offset,
        )
    };
    if at == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: `at` and `len` are those of the mapping above, and `resident` has a byte for each of its pages.
    let asked = unsafe { libc::mincore(at, len, resident.as_mut_ptr()) };
    // SAFETY: the same mapping, which nothing else knows of.
    unsafe { libc::munmap(at, len) };
    if asked != 0 {
        return None;
    }
    let mut parts: Vec<Range<u64>> = Vec::new();
    let mut start = window.start;
    for state in resident {
        let end = (start + page).min(window.end);
        if state & 1 == 0 {
            match parts.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => parts.push(start..end),
            }
        }
        start = end;
    }
    Some(parts)
}

impl PageCache {
    /// Over a file. The descriptor stays open as long as this does.
    pub(crate) fn of(file: Arc<File>) -> Self {
        Self { file, cold: Mutex::default() }
    }

    /// Reads with `read` what is at an offset, and leaves the cache as it was before.
    pub(crate) fn around<T>(&self, offset: u64, len: usize, read: impl FnOnce() -> T) -> T {
        let end = offset.saturating_add(len as u64);
        self.look(offset, end);
        let done = read();
        self.let_go(|window_end| window_end <= end);
        done
    }

    fn look(&self, offset: u64, end: u64) {
        let file_len = self.file.metadata().map_or(0, |metadata| metadata.len());
        let mut cold = self.cold.lock().unwrap_or_else(PoisonError::into_inner);
        let windows = offset / WINDOW..=end / WINDOW + AHEAD;
        for window in windows {
            let start = window.saturating_mul(WINDOW);
            if start < file_len && !cold.contains_key(&start) {
                let range = start..file_len.min(start.saturating_add(WINDOW));
                cold.insert(start, cold_parts(&self.file, range).unwrap_or_default());
            }
        }
    }

    /// Lets go of windows by their ends.
    fn let_go(&self, passed: impl Fn(u64) -> bool) {
        let mut cold = self.cold.lock().unwrap_or_else(PoisonError::into_inner);
        cold.retain(|start, parts| {
            if !passed(start.saturating_add(WINDOW)) {
                return true;
            }
            for part in parts.drain(..) {
                let len = std::num::NonZeroU64::new(part.end - part.start);
                // Advice: what becomes of it changes nothing that is read.
                let _ = fadvise(self.file.as_fd(), part.start, len, Advice::DontNeed);
            }
            false
        });
    }
}

impl Drop for PageCache {
    fn drop(&mut self) {
        self.let_go(|_| true);
    }
}

/// Descriptors of databases that SQLite has open, for advice alone.
///
/// They are not closed as long as the file exists: closing any descriptor of a file lets go of all POSIX locks that the process has
/// on it, those of a backup or of the program itself that runs beside among them.
#[cfg(feature = "sqlite")]
pub(crate) fn descriptor_kept_open(path: &std::path::Path) -> Option<Arc<File>> {
    use std::os::unix::fs::MetadataExt;
    static OPEN: Mutex<Vec<(Identity, Arc<File>)>> = Mutex::new(Vec::new());
    let metadata = std::fs::metadata(path).ok()?;
    let identity = (metadata.dev(), metadata.ino());
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    // A file without a name is nobody's to lock any more, and must not take up its space for ever.
    open.retain(|(_, file)| {
        Arc::strong_count(file) > 1 || file.metadata().map_or(true, |metadata| metadata.nlink() > 0)
    });
    if let Some((_, file)) = open.iter().find(|(known, _)| *known == identity) {
        return Some(Arc::clone(file));
    }
    let file = Arc::new(File::open(path).ok()?);
    // Whatever was opened stays open, even if the name has come to lead elsewhere.
    let opened = file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    open.push((opened.unwrap_or(identity), Arc::clone(&file)));
    (opened == Some(identity)).then_some(file)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom, Write};

    use super::*;

    /// Bytes of a file that are in the cache; `None` where that cannot be told here.
    fn resident(file: &File) -> Option<u64> {
        let len = file.metadata().unwrap().len();
        let cold = cold_parts(file, 0..len)?;
        Some(len - cold.iter().map(|part| part.end - part.start).sum::<u64>())
    }

    /// A file beside the program of which nothing is in the cache; `None` where the file system does not tell, or does not let go.
    /// Not in the temporary folder, which may be in memory.
    fn cold_file(len: u64) -> Option<(tempfile::TempDir, std::path::PathBuf)> {
        let program = std::env::current_exe().unwrap();
        let folder = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let path = folder.path().join("file");
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.write_all(&vec![7; usize::try_from(len).unwrap()]).unwrap();
        file.sync_all().unwrap();
        fadvise(file.as_fd(), 0, None, Advice::DontNeed).unwrap();
        if resident(&file) != Some(0) {
            eprintln!("this file system does not tell, or does not let go: nothing to test");
            return None;
        }
        Some((folder, path))
    }

    /// Reads a file to its end as a backup does, with whatever reading ahead the kernel does here.
    fn read_around(path: &std::path::Path) -> u64 {
        let cache = PageCache::of(Arc::new(File::open(path).unwrap()));
        let mut source = File::open(path).unwrap();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        loop {
            let read = cache.around(at, buffer.len(), || source.read(&mut buffer).unwrap());
            if read == 0 {
                return at;
            }
            assert!(buffer[..read].iter().all(|byte| *byte == 7));
            at += read as u64;
            // What the kernel reads ahead comes in meanwhile: a page on its way does not count as one in the cache.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Bytes in the cache before and after a file is read, after `hot` was read from its middle.
    fn before_and_after(len: u64, hot: usize) -> Option<(u64, u64)> {
        let (_folder, path) = cold_file(len)?;
        let mut reader = File::open(&path).unwrap();
        fadvise(reader.as_fd(), 0, None, Advice::Random).unwrap();
        reader.seek(SeekFrom::Start(WINDOW - hot as u64 / 2)).unwrap();
        reader.read_exact(&mut vec![0; hot]).unwrap();
        let before = resident(&reader).unwrap();
        assert_eq!(read_around(&path), len);
        Some((before, resident(&reader).unwrap()))
    }

    /// The kernel may take pages for others, or move one, at any moment: what holds in one of a few tries is what we do, and what we
    /// do wrong is wrong in all of them.
    fn stays_as_it_was(len: u64, hot: usize) {
        let slack = 1 << 18;
        let mut seen = Vec::new();
        for _ in 0..5 {
            let Some((before, after)) = before_and_after(len, hot) else { return };
            if before + slack >= hot as u64 && before.abs_diff(after) < slack {
                return;
            }
            seen.push((before, after));
        }
        panic!("bytes in the cache before and after, of {len}, {hot} of them read: {seen:?}");
    }

    #[test]
    fn what_was_in_the_cache_stays_and_the_rest_goes() {
        stays_as_it_was(3 * WINDOW + 12_345, 1 << 20);
    }

    /// A kernel that reads 8 MiB ahead is up to 16 MiB beyond what was asked for: each of it was looked at before it came.
    #[test]
    fn what_the_kernel_read_far_ahead_goes_too() {
        stays_as_it_was(12 * WINDOW + 12_345, 0);
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn a_descriptor_is_kept_until_its_file_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let first = descriptor_kept_open(&path).unwrap();
        let number = first.as_raw_fd();
        drop(first);
        assert_eq!(descriptor_kept_open(&path).unwrap().as_raw_fd(), number);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(folder.path().join("other"), "y").unwrap();
        let other = descriptor_kept_open(&folder.path().join("other")).unwrap();
        assert!(descriptor_kept_open(&path).is_none());
        assert_eq!(other.metadata().unwrap().len(), 1);
    }
}
