//! Copy-on-write over a file of bytes, block by block.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use mantis_page::{PageNo, PageRange, PageSize};

use crate::{CowError, CowLimits, DirtyPages, Epoch, EpochTable, Image, Shelf, ShelfStats, Taken};

/// The file as it is now.
pub trait LiveFile {
    /// Fills `buf` with the bytes at `offset`; bytes past the end of the file read as zeros.
    ///
    /// # Errors
    /// What the file's storage reports.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

impl LiveFile for std::fs::File {
    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        while !buf.is_empty() {
            match FileExt::read_at(self, buf, offset) {
                Ok(0) => {
                    buf.fill(0);
                    break;
                }
                Ok(count) => {
                    offset += count as u64;
                    buf = &mut buf[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Held from before [`CowFile::before_write`] to the end of the write itself, so that no freeze falls
/// between the two. Costs nanoseconds; writers do not exclude each other.
#[derive(Debug)]
pub struct WriteGate<'a>(
    #[expect(dead_code, reason = "held for its drop")] RwLockReadGuard<'a, ()>,
);

/// The copy-on-write state of one live file.
#[derive(Debug)]
pub struct CowFile {
    block: PageSize,
    table: EpochTable<Arc<Image>>,
    shelf: Shelf,
    dirty: DirtyPages,
    gate: RwLock<()>,
}

impl CowFile {
    /// For a file that is followed in blocks of `block` bytes.
    #[must_use]
    pub fn new(block: PageSize, limits: CowLimits) -> Self {
        Self {
            block,
            table: EpochTable::new(),
            shelf: Shelf::new(block, limits),
            dirty: DirtyPages::new(),
            gate: RwLock::new(()),
        }
    }

    /// To be held around [`Self::before_write`] and the write, where no lock of the engine's own
    /// keeps freezes out.
    #[must_use]
    pub fn write_gate(&self) -> WriteGate<'_> {
        WriteGate(self.gate.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn blocks(&self, offset: u64, len: u64) -> Option<PageRange> {
        // A power of two: a division would be a third of what a write costs here.
        let shift = self.block.get().trailing_zeros();
        let first = offset >> shift;
        let end = offset.checked_add(len)?.checked_add(u64::from(self.block.get()) - 1)? >> shift;
        PageRange::new(PageNo::from_index(first)?, end.checked_sub(first)?)
    }

    /// To be called before `len` bytes at `offset` are written: saves the blocks that a snapshot
    /// needs and marks them changed. Never fails: a snapshot whose image cannot be saved is lost.
    #[inline]
    pub fn before_write(&self, live: &dyn LiveFile, offset: u64, len: u64) {
        // Most writes are of one block that is marked already, while nothing is frozen.
        let block = u64::from(self.block.get());
        let is_one = len.wrapping_sub(1) < block - (offset & (block - 1));
        let index = offset >> self.block.get().trailing_zeros();
        if !(is_one && self.table.is_idle() && self.dirty.is_marked(index)) {
            self.mark_and_save(live, offset, len);
        }
    }

    fn mark_and_save(&self, live: &dyn LiveFile, offset: u64, len: u64) {
        let Some(range) = self.blocks(offset, len) else { return };
        self.dirty.mark_range(range);
        self.save(live, range);
    }

    fn save(&self, live: &dyn LiveFile, range: PageRange) {
        if self.table.is_idle() {
            return;
        }
        let block = u64::from(self.block.get());
        for page in range.pages() {
            let index = page.index();
            // A failure marks the snapshots lost inside the table, which is all there is to do.
            let _ = self.table.save(index, || {
                self.shelf.put(|buffer| live.read_at(index * block, buffer)).map(Arc::new)
            });
        }
    }

    /// To be called before the file is cut from `old_len` to `new_len` bytes.
    pub fn before_truncate(&self, live: &dyn LiveFile, new_len: u64, old_len: u64) {
        if let Some(range) = self.blocks(new_len, old_len.saturating_sub(new_len)) {
            self.dirty.mark_range(range);
            self.save(live, range);
        }
    }

    /// Makes memory ready for the before-images that a burst of writes takes, so that writers need not wait for it. To be called before
    /// a freeze, while no writer waits; reads of a snapshot do it again.
    pub fn prepare(&self) {
        self.shelf.prepare();
    }

    /// Freezes the first `len` bytes as they are now, behind the gate.
    ///
    /// # Errors
    /// As [`EpochTable::open`].
    pub fn freeze(self: &Arc<Self>, len: u64) -> Result<FrozenFile, CowError> {
        self.freeze_with(|| Ok(len))
    }

    /// Freezes with the gate shut while `len` looks at the file; no write is under way then.
    ///
    /// # Errors
    /// As [`EpochTable::open`], or what `len` returned.
    pub fn freeze_with(
        self: &Arc<Self>,
        len: impl FnOnce() -> io::Result<u64>,
    ) -> Result<FrozenFile, CowError> {
        let _shut = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let len =
            len().map_err(|source| CowError::Io { doing: "ask for the file's length", source })?;
        let epoch = self.table.open(self.block.pages_for(len))?;
        let (before, released) = (self.shelf.taken(), AtomicU64::new(0));
        Ok(FrozenFile { cow: Arc::clone(self), epoch, len, before, released })
    }

    /// The blocks changed since the last seal.
    #[must_use]
    pub const fn dirty(&self) -> &DirtyPages {
        &self.dirty
    }

    /// What the before-images take now.
    #[must_use]
    pub fn stats(&self) -> ShelfStats {
        self.shelf.stats()
    }
}

/// A frozen file; dropping it releases its before-images at once.
#[derive(Debug)]
pub struct FrozenFile {
    cow: Arc<CowFile>,
    epoch: Epoch,
    len: u64,
    before: Taken,
    /// In bytes, a whole number of blocks.
    released: AtomicU64,
}

impl FrozenFile {
    /// Before-images taken since the freeze, for this snapshot or for others that were open beside it.
    #[must_use]
    pub fn taken(&self) -> Taken {
        self.cow.shelf.taken().since(self.before)
    }

    /// The length at the freeze, in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the length of a file, not of a collection")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether a before-image that this snapshot needs could not be saved.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.cow.table.is_lost(self.epoch)
    }

    /// Gives the snapshot up: all its reads fail from now on.
    pub fn mark_lost(&self) {
        self.cow.table.mark_lost(self.epoch);
    }

    /// What lies before `offset` is read no more: whole blocks of it are not saved from now on, and what was saved of them goes. Who reads
    /// in order calls it after each read; so a writer saves half of what it changes, and it takes hardly any memory.
    pub fn release_before(&self, offset: u64) {
        let block = self.cow.block.get();
        let index = offset.min(self.len) >> block.trailing_zeros();
        // Before anything is dropped: a read that is under way then fails.
        self.released.fetch_max(index * u64::from(block), Ordering::AcqRel);
        self.cow.table.release_before(self.epoch, index);
    }

    fn check_released(&self, offset: u64) -> Result<(), CowError> {
        let released = self.released.load(Ordering::Acquire);
        if offset < released { Err(CowError::Released { offset, released }) } else { Ok(()) }
    }

    /// Fills `buf` with the bytes at `offset` as they were at the freeze. Any thread, any order.
    ///
    /// One read of the live file, then the blocks that changed are laid over it.
    ///
    /// # Errors
    /// [`CowError::OutOfRange`], [`CowError::Released`], [`CowError::Lost`], or that the file or the spill cannot be read.
    pub fn read_at(
        &self,
        live: &dyn LiveFile,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<(), CowError> {
        let end = offset.saturating_add(buf.len() as u64);
        if end > self.len {
            return Err(CowError::OutOfRange { offset, end, len: self.len });
        }
        self.check_released(offset)?;
        self.cow.prepare();
        live.read_at(offset, buf)
            .map_err(|source| CowError::Io { doing: "read the live file", source })?;
        crate::sync::fence(Ordering::Acquire);
        let block = u64::from(self.cow.block.get());
        for page in self.cow.blocks(offset, buf.len() as u64).into_iter().flat_map(PageRange::pages)
        {
            let Some(image) = self.cow.table.saved(self.epoch, page.index()) else { continue };
            let start = (page.index() * block).max(offset);
            let stop = ((page.index() + 1) * block).min(end);
            let out = &mut buf[(start - offset) as usize..(stop - offset) as usize];
            image.copy_to((start % block) as usize, out)?;
        }
        self.check_released(offset)?;
        if self.is_lost() { Err(CowError::Lost) } else { Ok(()) }
    }
}

impl Drop for FrozenFile {
    fn drop(&mut self) {
        self.cow.table.close(self.epoch);
        if self.cow.table.is_idle() {
            self.cow.shelf.rest();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of which one read gives only a few.
    fn short_file(len: usize) -> std::fs::File {
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![7; len], 0).unwrap();
        file
    }

    #[test]
    fn past_its_end_a_file_reads_as_zeros() {
        let mut buf = [1; 600];
        LiveFile::read_at(&short_file(500), 0, &mut buf).unwrap();
        assert!(
            buf[..500].iter().all(|byte| *byte == 7) && buf[500..].iter().all(|byte| *byte == 0)
        );
        LiveFile::read_at(&short_file(500), 0, &mut []).unwrap();
        let folder = std::fs::File::open("/").unwrap();
        assert!(LiveFile::read_at(&folder, 0, &mut buf).is_err());
    }

    #[test]
    fn writes_of_nothing_and_beyond_all_pages_save_nothing() {
        let cow = Arc::new(CowFile::new(PageSize::MIN, CowLimits::default()));
        let live = short_file(2048);
        let frozen = cow.freeze(2048).unwrap();
        cow.before_write(&live, 0, 0);
        cow.before_write(&live, u64::MAX, 1);
        cow.before_truncate(&live, 2048, 2048);
        assert_eq!(cow.stats().images, 0);
        cow.before_truncate(&live, 1024, 2048);
        assert_eq!(cow.stats().images, 2);
        drop(frozen);
        assert_eq!(cow.stats().images, 0);
    }

    #[test]
    fn a_page_that_is_marked_is_saved_all_the_same_once_there_is_a_snapshot() {
        let cow = Arc::new(CowFile::new(PageSize::MIN, CowLimits::default()));
        let live = short_file(2048);
        let changed = |cow: &CowFile| cow.dirty().seal().since(&[]).is_some();
        (0..2).for_each(|_| cow.before_write(&live, 512, 512));
        let frozen = cow.freeze(2048).unwrap();
        cow.before_write(&live, 700, 100);
        assert_eq!(cow.stats().images, 1);
        // Two blocks, of which one is marked.
        cow.before_write(&live, 1023, 2);
        assert_eq!(cow.stats().images, 2);
        drop(frozen);
        cow.before_write(&live, 1535, 2);
        assert!(!changed(&cow), "no token stands");
        cow.prepare();
        let frozen = cow.freeze(2048).unwrap();
        cow.before_write(&live, 0, 2048);
        assert_eq!(cow.stats().images, 4);
        drop(frozen);
        assert_eq!(cow.stats().memory_bytes, 0);
    }
}
